//! Callers, their limits, and the layer that holds them to these before anything is fanned out.
//!
//! An app that embeds the fan-out leaves all of this out.

mod allowance;
mod caller;
pub(crate) mod gcra;
pub(crate) mod layer;
pub(crate) mod port;

pub use self::allowance::Allowance;
pub use self::caller::{Caller, Plan, Rate};
pub use self::gcra::LimiterKey;
pub use self::layer::LimiterDown;
pub use self::port::{Grant, Verdict};
pub use crate::error::NotWorkspaceScoped;
