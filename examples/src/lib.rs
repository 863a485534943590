//! nahook-examples
