//! The worker in paused time, over the in-memory back end and scripted endpoints.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bookkeeping;
mod faulty;
mod isolation;
mod model;
mod outcomes;
mod stopping;
mod support;
