//! nahook-testkit
