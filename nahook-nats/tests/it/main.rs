//! The publisher and the queue on real servers. One binary for all of it, because linking takes longer than most of these
//! tests.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod authentication;
mod certificates;
mod cluster;
mod conformance;
mod opening;
mod publishable;
mod publishing;
mod retries;
mod rights;
mod sharing;
mod supervision;
mod support;
