//! Events with one delivery.

use futures_util::future::join_all;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Delivery, DeliveryPublisher, Event, IdempotencyKey, Outcome};

use crate::HeldDelivery;

/// One payload for one endpoint: an event with its only delivery, as the engine makes it of a Send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SingleSend {
    event: Event,
    slot: [Delivery; 1],
}

impl SingleSend {
    /// An unresolved slot for the event's delivery to `endpoint`.
    pub fn new(event: Event, endpoint: EndpointId) -> Self {
        let slot = [Delivery::new(event.id, 0, endpoint)];
        Self { event, slot }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The delivery's id, if it is queued.
    pub fn id(&self) -> DeliveryId {
        DeliveryId::nth(self.event.id, 0)
    }

    /// The endpoint it is for.
    pub fn endpoint(&self) -> EndpointId {
        self.slot[0].endpoint()
    }

    /// The idempotency key, if it has one.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.event.idempotency_key.as_ref()
    }

    /// Outcome of publishing it.
    pub fn outcome(&self) -> Outcome {
        self.slot[0].outcome()
    }

    /// Records `outcome`.
    pub fn resolve(&mut self, outcome: Outcome) {
        self.slot[0].resolve(outcome);
    }

    /// Returns what a queue that took it holds.
    pub fn held(&self) -> HeldDelivery {
        HeldDelivery::of(&self.event, &self.slot[0])
    }

    /// Publishes it.
    pub async fn publish(&mut self, publisher: &impl DeliveryPublisher) {
        publisher.publish(&self.event, &mut self.slot).await;
    }
}

/// Publishes all of them side by side.
pub async fn publish_each(publisher: &impl DeliveryPublisher, sends: &mut [SingleSend]) {
    join_all(sends.iter_mut().map(|send| send.publish(publisher))).await;
}
