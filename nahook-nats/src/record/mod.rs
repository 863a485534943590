//! The format of what the streams hold: records of events and their deliveries (see `FORMAT.md`).

mod headers;
mod read;
mod room;
mod write;

use std::sync::Arc;

use nahook_core::{DeliveryId, EndpointId, Event, Timestamp};

pub(crate) use self::headers::headers;
pub(crate) use self::read::{Malformed, read};
pub(crate) use self::room::{LOG_ROW_LEN_MAX, MAX_PAYLOAD_MIN, Room};
pub(crate) use self::write::{Part, body, part_len, part_of};

/// The version of the format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// A delivery as a record has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Item {
    pub(crate) delivery: DeliveryId,
    pub(crate) endpoint: EndpointId,
    /// How many attempts were settled before.
    pub(crate) attempts: u32,
    /// When it is due; absent where it has been since the event was accepted.
    pub(crate) due_at: Option<Timestamp>,
}

/// An event with some of its deliveries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) event: Arc<Event>,
    pub(crate) items: Vec<Item>,
}

#[cfg(test)]
mod tests;
