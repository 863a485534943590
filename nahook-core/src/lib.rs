#![doc = include_str!("../README.md")]

mod engine;
mod error;
mod limiter;
mod ports;
mod value;

pub use self::engine::*;
pub use self::error::{Causes, SendError, StoreError, StoreErrorKind, TriggerError};
pub use self::limiter::{GcraLimiter, LimiterKey};
pub use self::ports::*;
pub use self::value::*;
