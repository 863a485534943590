//! nahook-sqlite
