//! What happened: the event, before and after it is accepted.

use crate::{EventTypeId, EventTypeName, MessageId, Metadata, Payload, Timestamp, WorkspaceId};

/// What a caller asks to fan out.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the caller's own input, made with a literal"
)]
pub struct NewEvent {
    /// The name of its event type.
    pub event_type: EventTypeName,
    /// What every endpoint receives.
    pub payload: Payload,
    /// Labels for filtering and debugging; endpoints do not receive them.
    pub metadata: Metadata,
}

/// An event on its way to the queue: a [`NewEvent`] with the identity the engine gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The message's id: one per trigger.
    pub id: MessageId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// Its event type.
    pub event_type: EventTypeId,
    /// The event type's name.
    pub event_type_name: EventTypeName,
    /// What every endpoint receives.
    pub payload: Payload,
    /// Labels for filtering and debugging.
    pub metadata: Metadata,
    /// When the engine accepted it.
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
        let NewEvent {
            event_type: event_type_name,
            payload,
            metadata,
        } = event;
        Self {
            id,
            workspace,
            event_type,
            event_type_name,
            payload,
            metadata,
            accepted_at,
        }
    }
}
