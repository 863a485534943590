//! Sending to single endpoints through a queue that knows no idempotency keys.

use nahook_core::{
    Delivery, DeliveryPublisher, DirectDelivery, DirectPublisher, FailureKind, Outcome,
};

/// Publishes what is sent to single endpoints as fan-outs of one; refuses what has an idempotency key, since nothing
/// here could tell whether it is a repeat.
#[derive(Clone, Debug)]
pub(crate) struct Keyless<P>(pub(crate) P);

impl<P: DeliveryPublisher> DirectPublisher for Keyless<P> {
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        for slot in &mut *deliveries {
            if slot.idempotency_key().is_some() {
                slot.failed(FailureKind::QueueUnavailable);
            }
        }
        for slot in deliveries {
            if slot.idempotency_key().is_some() {
                continue;
            }
            let mut delivery = [Delivery::new(slot.event().id, 0, slot.endpoint())];
            let event = slot.event().clone();
            let mut publishing = Publishing {
                slot,
                delivery: &mut delivery,
            };
            self.0.publish(&event, publishing.delivery).await;
            publishing.tell();
        }
    }
}

/// Tells the slot what the publisher has said, also when it is dropped while it publishes.
struct Publishing<'a> {
    slot: &'a mut DirectDelivery,
    delivery: &'a mut [Delivery; 1],
}

impl Publishing<'_> {
    fn tell(&mut self) {
        match self.delivery[0].outcome() {
            Outcome::Failed(kind) => self.slot.failed(kind),
            Outcome::Published => self.slot.published(),
        }
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::DirectOutcome;
    use nahook_testkit::declare::{direct, endpoint_id};
    use nahook_testkit::{ManualClock, RecordingPublisher};

    use super::*;

    #[tokio::test]
    async fn what_has_a_key_is_refused_and_the_rest_is_published() {
        let queue = RecordingPublisher::default();
        let now = nahook_core::Clock::now(&ManualClock::default());
        let slot = |number, key| direct("ws", endpoint_id("ep_1"), key, number, now);
        let mut slots = [slot(1, None), slot(2, Some("k")), slot(3, None)];
        Keyless(queue.clone()).publish_direct(&mut slots).await;
        let refused = DirectOutcome::Failed(FailureKind::QueueUnavailable);
        let published = DirectOutcome::Published;
        let outcomes = slots.each_ref().map(DirectDelivery::outcome);
        assert_eq!(outcomes, [published, refused, published]);
        assert_eq!(queue.held().len(), 2);
    }
}
