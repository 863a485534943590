#![doc = include_str!("../README.md")]

mod exit;
mod fault;
mod loops;
pub mod metric;
mod restart;
mod supervisor;
mod task;
#[cfg(test)]
mod tests;
mod thread;

pub use self::exit::Exit;
pub use self::fault::{Death, Pulse};
pub use self::loops::Loop;
pub use self::supervisor::{LoopStatus, Supervisor};
