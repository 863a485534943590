//! From request bytes to an event, and from a receipt to response bytes.
//!
//! Both are pure functions, so that they can be measured and fuzzed alone.

mod receipt;
mod trigger;

pub use self::receipt::write_receipt;
pub use self::trigger::{BodyError, TriggerBody, parse_trigger};
