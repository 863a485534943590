//! The crate as its users see it, with nahook's own sender on the other side. One binary, which links faster than many.
#![cfg(test)]

mod duplicates;
#[cfg(feature = "axum")]
mod extractor;
mod layer;
mod support;
mod tampering;
mod verification;
