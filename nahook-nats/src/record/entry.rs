//! Events and deliveries as records have them.

use std::sync::Arc;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Event, Timestamp};

/// Version of the format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// A delivery as a record has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Item {
    pub(crate) delivery: DeliveryId,
    pub(crate) endpoint: EndpointId,
    /// Number of attempts that were settled before.
    pub(crate) attempts: u32,
    /// Due time. Absent if it has been due since the event was accepted.
    pub(crate) due_at: Option<Timestamp>,
}

/// An event with some of its deliveries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) event: Arc<Event>,
    pub(crate) items: Vec<Item>,
}
