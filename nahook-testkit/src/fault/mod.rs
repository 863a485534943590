//! Faults, scripted or drawn from a seed, between a caller and an adapter.
//!
//! [`FaultyPublisher`] injects them delivery by delivery: whether the queue *takes* it times whether it is *acknowledged*,
//! plus silence, delay, panics and answers out of order. [`Faulty`] injects them call by call, into every other port.

mod calls;
mod publisher;
mod script;

pub use self::calls::{CallAnswer, CallFault, CallScript, Faulty};
pub use self::publisher::FaultyPublisher;
pub use self::script::{Answer, Fault, FaultScript, Order};
