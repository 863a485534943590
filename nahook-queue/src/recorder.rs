//! The port by which a queue that is not the store writes the [`DeliveryLog`](crate::DeliveryLog).

use std::sync::Arc;

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Event, StoreError, Timestamp};

use crate::{Attempt, DeliveryState};

/// One thing that happened to a delivery, complete in itself: it brings its event, so that none depends on another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// The event.
    pub event: Arc<Event>,
    /// The delivery of it.
    pub delivery: DeliveryId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// Number of attempts made by then, this entry's included.
    pub attempts: u32,
    /// The last of them, if it is news.
    pub attempt: Option<Attempt>,
    /// State of the delivery at that time.
    pub state: DeliveryState,
    /// Time at which it came to that state.
    pub at: Timestamp,
}

/// Records what a queue elsewhere does, so that [`DeliveryLog`](crate::DeliveryLog) shows its deliveries as it shows those
/// of the store's own queue, which never leases them.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait DeliveryRecorder: Send + Sync {
    /// Records the entries, all of them or none.
    ///
    /// # Behaviour
    /// * Entries may be repeated and may come in any order, across calls, too: the log shows the same in the end. The
    ///   state after most attempts counts, by [`rank`](DeliveryState::rank) where those are equally many; of two attempts
    ///   with the same number the one that began first; the earliest first attempt, and the latest change.
    /// * What belongs to a workspace or an endpoint that the store has never had is dropped, and its siblings are recorded.
    ///   An endpoint that was deleted, and an event type, are remembered.
    /// * An event whose payload is [not kept](nahook_core::Payload::not_kept) is shown without one.
    /// * Given ids are kept: a delivery that is the first of its message is found by its id, whatever its bits.
    /// * A delivery of the store's own queue is left alone.
    ///
    /// An error means that nothing is known: record them again.
    async fn record(&self, entries: &[LogEntry]) -> Result<(), StoreError>;
}
