//! Lists of events, for people who ask.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{EventTypeId, MessageId, WorkspaceId};
use nahook_core::{IdempotencyKey, Metadata, StoreError, Timestamp};

use crate::DeliveryRecord;

/// A query for a workspace's events.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventQuery {
    /// Workspace of the events.
    pub workspace: WorkspaceId,
    /// Only events of this type.
    pub event_type: Option<EventTypeId>,
    /// Only events that have one of these labels; all if there are none.
    pub labels: Vec<(String, String)>,
    /// Only those that were sent with this key, which are found however old they are.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only those that were queued before this one, or before what has a smaller id where this one is not there.
    pub before: Option<MessageId>,
    /// Largest number of them.
    pub limit: usize,
}

/// An event as a list shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventRecord {
    /// Its id.
    pub id: MessageId,
    /// The event type; absent where a payload was sent to an endpoint directly.
    pub event_type: Option<EventTypeId>,
    /// Its labels.
    pub metadata: Metadata,
    /// Time at which it was accepted.
    pub accepted_at: Timestamp,
    /// Number of its deliveries; at most [`EventRecord::COUNTED_MAX`].
    pub deliveries: u32,
    /// Number of these that a receiver took.
    pub delivered: u32,
    /// Number of these that were given up.
    pub given_up: u32,
}

impl EventRecord {
    /// Number of an event's deliveries from which on a list stops counting.
    pub const COUNTED_MAX: u32 = 1_000;
}

/// The answer to an [`EventQuery`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventPage {
    /// The events, the one queued last first. There may be none on a page although there are on later ones.
    pub events: Vec<EventRecord>,
    /// `before` of the next page; absent at the end.
    pub next: Option<MessageId>,
}

/// Lists events and their deliveries.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait EventSearch: Send + Sync {
    /// Lists the workspace's events. A page looks at no more than [`LOOKED_AT_MAX`] events of all workspaces, so that its time does
    /// not grow with their number; publishing pays for no index.
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError>;

    /// Returns the first `limit` of the event's deliveries, in the order of subscribing. None if the workspace has no such event.
    async fn event_deliveries(
        &self,
        event: MessageId,
        workspace: &WorkspaceId,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;
}

/// Number of events that one page of [`EventSearch::events`] looks at.
pub const LOOKED_AT_MAX: u32 = 10_000;
