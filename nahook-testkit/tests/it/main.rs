//! The kit itself: it passes what is right, notices what is wrong, and generates what it says.
#![expect(
    clippy::unwrap_used,
    reason = "test code outside of the test functions"
)]

mod back_ends;
mod broken;
mod clauses;
mod faults;
mod formed;
mod memory;
#[cfg(feature = "proptest")]
mod strategies;
mod wrappers;
