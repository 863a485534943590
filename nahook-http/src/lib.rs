//! nahook-http
