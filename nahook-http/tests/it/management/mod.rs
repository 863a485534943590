//! The management routes over a back end in memory.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

mod applications;
mod audit;
mod deliveries;
mod document;
mod endpoints;
mod events;
#[path = "../http/logging.rs"]
mod logging;
mod operators;
mod secrets;
mod support;
mod tenants;
mod test_event;
mod told;
