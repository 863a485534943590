//! The port of the delivery log: deliveries and their attempts.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{IdempotencyKey, Metadata, Payload, StoreError, Timestamp};

use crate::{Attempt, DeliveryStatus};

/// A delivery as the log shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryRecord {
    /// Its id.
    pub id: DeliveryId,
    /// Its message.
    pub message: MessageId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// The caller's key for it; the [delivery's own](IdempotencyKey::of) where the caller gave none.
    pub idempotency_key: IdempotencyKey,
    /// The event type; absent where a payload was sent to an endpoint directly.
    pub event_type: Option<EventTypeId>,
    /// The event's labels.
    pub metadata: Metadata,
    /// Its status.
    pub status: DeliveryStatus,
    /// Number of attempts made.
    pub attempts: u32,
    /// Time at which the first request began; absent until one was made.
    pub first_attempt_at: Option<Timestamp>,
    /// Time at which a receiver took it.
    pub delivered_at: Option<Timestamp>,
    /// Time at which the next attempt is due.
    pub next_retry_at: Option<Timestamp>,
    /// True if its payload is kept.
    pub has_payload: bool,
    /// Time at which the event was accepted.
    pub created_at: Timestamp,
    /// Time of the last change to any of this.
    pub updated_at: Timestamp,
}

/// An attempt as the log shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub number: u32,
    /// Result of the attempt.
    pub attempt: Attempt,
}

/// Shows deliveries and their attempts. Nothing of another workspace can be told from what is missing.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait DeliveryLog: Send + Sync {
    /// The delivery, if the workspace has it.
    async fn delivery(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError>;

    /// The delivery's attempts, the oldest first; `None` if the workspace has no such delivery.
    async fn attempts(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError>;

    /// The delivery's payload; `None` if the workspace has no such delivery.
    async fn payload(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Payload>, StoreError>;
}
