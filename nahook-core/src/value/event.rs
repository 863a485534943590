//! Events, before and after they are accepted.

use crate::id::{EndpointId, EventTypeId, MessageId, WorkspaceId};
use crate::{EventTypeName, IdempotencyKey, Metadata, Payload, Timestamp};

/// An event that a caller asks to fan out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewEvent {
    /// The name of its event type.
    pub event_type: EventTypeName,
    /// Payload that every endpoint receives.
    pub payload: Payload,
    /// Labels for filtering and debugging; endpoints do not receive them.
    pub metadata: Metadata,
}

impl NewEvent {
    /// An event of this type with this payload and without metadata.
    pub fn new(event_type: EventTypeName, payload: Payload) -> Self {
        Self {
            event_type,
            payload,
            metadata: Metadata::default(),
        }
    }
}

/// A payload that a caller asks to send to one endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewSend {
    /// Endpoint that receives it.
    pub endpoint: EndpointId,
    /// Payload that the endpoint receives.
    pub payload: Payload,
    /// The caller's key for this Send: the same key again within a day is answered with the first delivery.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An event type as an event carries it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventTypeRef {
    /// Its id.
    pub id: EventTypeId,
    /// Its name.
    pub name: EventTypeName,
}

/// An event on its way to the queue, with the identity the engine gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The message's id: one per Trigger or Send.
    pub id: MessageId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// Its event type; absent where a payload is sent to an endpoint directly.
    pub event_type: Option<EventTypeRef>,
    /// Payload that every endpoint receives.
    pub payload: Payload,
    /// Labels for filtering and debugging.
    pub metadata: Metadata,
    /// The key that the caller of a Send gave, if any.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Time at which the engine accepted it.
    pub accepted_at: Timestamp,
}

impl Event {
    /// Gives `event` its identity; the engine does this, and tests of publishers.
    pub fn new(
        event: NewEvent,
        id: MessageId,
        event_type: EventTypeId,
        workspace: WorkspaceId,
        accepted_at: Timestamp,
    ) -> Self {
        Self {
            id,
            workspace,
            event_type: Some(EventTypeRef {
                id: event_type,
                name: event.event_type,
            }),
            payload: event.payload,
            metadata: event.metadata,
            idempotency_key: None,
            accepted_at,
        }
    }

    /// An event without a type, for one endpoint; the engine makes these, and tests of publishers.
    pub fn direct(
        payload: Payload,
        id: MessageId,
        workspace: WorkspaceId,
        idempotency_key: Option<IdempotencyKey>,
        accepted_at: Timestamp,
    ) -> Self {
        Self {
            id,
            workspace,
            event_type: None,
            payload,
            metadata: Metadata::default(),
            idempotency_key,
            accepted_at,
        }
    }
}
