//! The worker over the in-memory back end: in paused time with scripted endpoints, and in real time with real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bookkeeping;
mod changes;
mod faulty;
mod isolation;
mod lack;
mod model;
mod outcomes;
mod reasons;
mod restarts;
mod sockets;
mod stopping;
mod support;
