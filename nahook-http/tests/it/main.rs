//! The routes over back ends in memory, and the server over real sockets. What needs a process of its own is beside this.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

mod ingestion;
mod logging;
mod management;
