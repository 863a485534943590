//! The kit itself: it passes what is right, notices what is wrong, and generates what it says.
#![cfg(test)]

mod back_ends;
mod broken;
mod clauses;
mod faults;
mod formed;
mod memory;
#[cfg(feature = "proptest")]
mod strategies;
mod wrappers;
