//! nahook-server
