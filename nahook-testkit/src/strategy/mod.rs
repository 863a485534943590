//! Generators for property tests of adapters and engines.
//!
//! ```
//! use nahook_testkit::strategy;
//! use proptest::prelude::*;
//!
//! proptest!(|(name in strategy::event_type_name(), payload in strategy::payload())| {
//!     prop_assert!(name.as_str().len() <= 128);
//!     prop_assert!(payload.len() >= 2);
//! });
//! ```

mod faults;
mod json;
mod scopes;

pub use self::faults::{honest_fault, honest_fault_script};
pub use self::json::{json_object, metadata, payload};
pub use self::scopes::{
    caller, event_type_name, fan_out_scope, malformed_event_type_name, manifest, plan, width,
};
