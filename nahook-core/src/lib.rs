#![doc = include_str!("../README.md")]

mod catalog;
mod engine;
mod error;
mod limiter;
pub mod limits;
mod management;
pub mod memory;
mod ports;
mod recording;
mod value;

pub use self::catalog::*;
pub use self::engine::*;
pub use self::error::{Causes, SendError, StoreError, StoreErrorKind, TriggerError};
pub use self::limiter::{GcraLimiter, LimiterKey};
pub use self::management::*;
pub use self::ports::*;
pub use self::recording::*;
pub use self::value::*;
