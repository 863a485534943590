//! The fan-out and its sibling for single endpoints: scope, size, admit, look up, publish, account.

mod admission;
mod contain;
mod direct_send;
mod fan_out;
mod join;
mod trigger_batch;

pub use self::direct_send::DirectSend;
pub use self::fan_out::{FanOut, FanOutSettings, LimiterDown};
