//! The edges of the wire, byte by byte: what clients do that a server must bear (contract, sections 1 and 5).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod checks;
mod clients;
mod large;
mod routes;
mod wire;
