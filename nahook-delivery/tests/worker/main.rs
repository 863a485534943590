//! The worker in paused time, over the in-memory back end and scripted endpoints.

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
mod stopping;
mod support;
