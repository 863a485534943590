//! From request bytes to events, and from receipts to response bytes.
//!
//! All are pure functions, so that they can be measured and fuzzed alone.

mod batch;
mod error;
mod fields;
mod receipt;
mod send;
mod trigger;

pub use self::batch::{SendItem, TriggerItem, parse_batch, parse_send_item, parse_trigger_item};
pub use self::error::BodyError;
pub use self::receipt::write_receipt;
pub(crate) use self::receipt::{write_receipt_fields, write_sent_fields, write_string};
pub use self::send::{SendBody, parse_send, write_sent};
pub use self::trigger::{TriggerBody, parse_trigger};

/// Upper bound on the items of a batch.
pub const ITEMS_MAX: usize = 20;
