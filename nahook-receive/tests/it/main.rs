//! The crate as its users see it, with nahook's own sender on the other side. One binary, which links faster than many.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its support functions too"
)]

mod duplicates;
#[cfg(feature = "axum")]
mod extractor;
mod layer;
mod support;
mod tampering;
mod verification;
