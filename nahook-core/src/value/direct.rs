//! One payload for one endpoint, what became of queueing it, and what its caller is told.

use crate::{DeliveryId, EndpointId, Event, FailureKind, IdempotencyKey, MessageId};

/// A slot for a payload that is sent to one endpoint, which a publisher resolves as it resolves a [`Delivery`](crate::Delivery): it starts
/// [`Unconfirmed`](FailureKind::Unconfirmed) and tells its fate as soon as that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectDelivery {
    event: Event,
    endpoint: EndpointId,
    outcome: DirectOutcome,
}

/// What is known of a direct delivery's way to the queue.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DirectOutcome {
    /// Not queued, or not known to be.
    Failed(FailureKind),
    /// The queue has acknowledged it.
    Published,
    /// Its idempotency key stands for this earlier delivery, which the queue has acknowledged: nothing was queued anew.
    Replayed(DeliveryId),
}

impl DirectDelivery {
    /// An unresolved slot for `event`'s only delivery.
    pub fn new(event: Event, endpoint: EndpointId) -> Self {
        Self {
            event,
            endpoint,
            outcome: DirectOutcome::Failed(FailureKind::Unconfirmed),
        }
    }

    /// Records that the queue has acknowledged it.
    pub fn published(&mut self) {
        self.outcome = DirectOutcome::Published;
    }

    /// Records that its key stands for an earlier delivery.
    pub fn replayed(&mut self, original: DeliveryId) {
        self.outcome = DirectOutcome::Replayed(original);
    }

    /// Records why it was not queued, or that this is not known.
    pub fn failed(&mut self, kind: FailureKind) {
        self.outcome = DirectOutcome::Failed(kind);
    }

    /// Records `outcome`.
    pub fn resolve(&mut self, outcome: DirectOutcome) {
        self.outcome = outcome;
    }

    /// The id it has if it is queued.
    pub fn id(&self) -> DeliveryId {
        DeliveryId::nth(self.event.id, 0)
    }

    /// What is sent.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The endpoint it is for.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// What its caller knows it by, if it gave a key.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.event.idempotency_key.as_ref()
    }

    /// What is known of it.
    pub fn outcome(&self) -> DirectOutcome {
        self.outcome
    }
}

/// What became of a Send.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Sent {
    /// The delivery that the key stands for: this Send's own, or that of the first one with the same key.
    pub delivery: DeliveryId,
    /// The message that was drawn for this Send; nothing of it was queued if it was replayed.
    pub message: MessageId,
    /// The caller's key, or the delivery's own.
    pub idempotency_key: IdempotencyKey,
    /// Whether an earlier Send has queued it.
    pub is_replay: bool,
    /// Whether it was let in because the rate limiter did not answer.
    pub limiter_bypassed: bool,
}
