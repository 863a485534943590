#![doc = include_str!("../README.md")]

mod catalog;
mod engine;
mod error;
pub mod memory;
mod ports;
mod value;

pub use self::catalog::*;
pub use self::engine::*;
pub use self::error::{StoreError, StoreErrorKind, TriggerError};
pub use self::ports::*;
pub use self::value::*;
