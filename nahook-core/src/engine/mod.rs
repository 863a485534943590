//! The fan-out: look up, publish, account.

pub(crate) mod contain;
mod fan_out;
mod send;
mod spans;
mod trigger_batch;

pub use self::fan_out::FanOut;
