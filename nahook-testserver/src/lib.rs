//! Real servers for tests: started by the test itself, on a free port, and gone when it ends.
//!
//! A server that is not installed fails the test with what to install or to run; nothing is skipped.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test that cannot be set up fails by panicking; said once for the crate"
)]

mod account;
mod nats;
mod pgbouncer;
mod postgres;
mod programs;
mod small_disk;
mod supervisor;
mod tools;

pub use self::nats::{NatsCluster, NatsOptions, NatsServer};
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::PostgresServer;
pub use self::small_disk::SmallDisk;
pub use self::tools::{browser, nahook_python, python};
