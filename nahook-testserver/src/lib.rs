//! Real servers for tests: started by the test itself, on a free port, and gone when it ends.
//!
//! A server that is not installed fails the test with the name of its Debian package; nothing is skipped.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test that cannot be set up fails by panicking; said once for the crate"
)]

mod account;
mod postgres;

pub use self::postgres::PostgresServer;
