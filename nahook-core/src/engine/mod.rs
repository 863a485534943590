//! The fan-out: scope, size, admit, look up, publish, account.

mod contain;
mod fan_out;

pub use self::fan_out::{FanOut, FanOutSettings, LimiterDown};
