#![doc = include_str!("../README.md")]

mod oracle;
mod plan;
mod ports;
mod random;
mod receivers;
mod records;
mod run;
mod wire;
mod world;

pub use self::plan::{Faults, Plan};
pub use self::run::{Report, run};
