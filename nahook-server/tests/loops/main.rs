//! Every loop of every composition dies in every way: it is noticed, it comes back by itself, and nothing is lost.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod certificate;
mod composition;
mod dying;
mod promises;
