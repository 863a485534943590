//! A server works the same whatever becomes of its standard error and standard output.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod fault;
mod log;
