//! Outcomes of a Trigger and of a Send.

use crate::id::{DeliveryId, EndpointId, EventTypeId, MessageId};
use crate::{Delivery, FailureKind, IdempotencyKey, Outcome};

/// The outcome for every subscribed endpoint, in the order in which they subscribed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    message: MessageId,
    event_type: EventTypeId,
    deliveries: Vec<Delivery>,
    limiter_bypassed: bool,
}

/// One endpoint that was not queued, or is not known to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The delivery that may turn up after all if [`FailureKind::may_be_queued`].
    pub delivery: DeliveryId,
    /// Reason of the failure.
    pub kind: FailureKind,
}

/// Outcome of a Send: a fan-out to one endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Sent {
    /// The delivery that the key stands for: this Send's own, or that of the first one with the same key.
    pub delivery: DeliveryId,
    /// The message that was drawn for this Send; nothing of it was queued if it was replayed.
    pub message: MessageId,
    /// The caller's key, or the delivery's own.
    pub idempotency_key: IdempotencyKey,
    /// True if an earlier Send has queued it.
    pub is_replay: bool,
    /// True if it was let in because the rate limiter did not answer.
    pub limiter_bypassed: bool,
}

impl Sent {
    pub(crate) fn bypassing_limiter(mut self, bypassed: bool) -> Self {
        self.limiter_bypassed = bypassed;
        self
    }
}

impl Receipt {
    /// The receipt of a message with these deliveries; the engine makes these, and stores that queue in a caller's transaction.
    pub fn new(message: MessageId, event_type: EventTypeId, deliveries: Vec<Delivery>) -> Self {
        Self {
            message,
            event_type,
            deliveries,
            limiter_bypassed: false,
        }
    }

    pub(crate) fn bypassing_limiter(mut self, bypassed: bool) -> Self {
        self.limiter_bypassed = bypassed;
        self
    }

    /// The message's id, which receivers see as `webhook-id`.
    pub fn message(&self) -> MessageId {
        self.message
    }

    /// The event type.
    pub fn event_type(&self) -> EventTypeId {
        self.event_type
    }

    /// Every subscribed endpoint's delivery, queued or not.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The deliveries that the queue has acknowledged.
    pub fn delivery_ids(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.deliveries
            .iter()
            .filter(|d| d.outcome() == Outcome::Published)
            .map(Delivery::id)
    }

    /// The endpoints that were not queued, or are not known to be.
    pub fn failures(&self) -> impl Iterator<Item = Failure> + '_ {
        self.deliveries
            .iter()
            .filter_map(|delivery| match delivery.outcome() {
                Outcome::Published | Outcome::Replayed(_) => None,
                Outcome::Failed(kind) => Some(Failure {
                    endpoint: delivery.endpoint(),
                    delivery: delivery.id(),
                    kind,
                }),
            })
    }

    /// True if the event was let in because the rate limiter did not answer.
    pub fn limiter_bypassed(&self) -> bool {
        self.limiter_bypassed
    }
}
