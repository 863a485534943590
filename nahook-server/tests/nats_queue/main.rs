//! `--queue nats://…`: deliveries go over JetStream, and everything else is as it is without.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod credentials;
mod delivering;
mod outage;
mod starting;
