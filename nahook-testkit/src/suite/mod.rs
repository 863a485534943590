//! The suites: what every adapter of a port promises, one clause a function.
//!
//! The `*_conformance!` macros make one test of each; they can be called directly, too. Each starts a harness of its own
//! and panics when the adapter breaks the clause, saying what was expected.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a clause says that it is broken by panicking"
)]

pub mod catalog;
pub mod counts;
pub mod endpoints;
pub mod events;
pub mod keys;
pub mod limiter;
pub mod log;
pub mod management;
pub mod publisher;
pub mod queue;
pub mod recorder;
pub mod redelivery;
pub mod search;
pub mod send;
pub mod sessions;
pub mod subscriptions;
