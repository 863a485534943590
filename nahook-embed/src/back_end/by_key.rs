//! Publishing where the queue keeps no idempotency keys and the store does.

use nahook_core::{Delivery, DeliveryPublisher, Event};

/// Puts events with an idempotency key on the store's own queue, whose transaction makes them happen once, and all others on
/// the other queue.
#[derive(Clone, Debug)]
pub(crate) struct ByKey<S, P> {
    pub(crate) store: S,
    pub(crate) queue: P,
}

impl<S: DeliveryPublisher, P: DeliveryPublisher> DeliveryPublisher for ByKey<S, P> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if event.idempotency_key.is_some() {
            self.store.publish(event, deliveries).await;
        } else {
            self.queue.publish(event, deliveries).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::{Clock as _, Outcome};
    use nahook_testkit::declare::{nth_endpoint_id, single_send};
    use nahook_testkit::{ManualClock, RecordingPublisher, SingleSend, publish_each};

    use super::*;

    #[tokio::test]
    async fn what_has_a_key_goes_to_the_store_and_the_rest_to_the_queue() {
        let (store, queue) = (RecordingPublisher::default(), RecordingPublisher::default());
        let by_key = ByKey {
            store: store.clone(),
            queue: queue.clone(),
        };
        let now = ManualClock::default().now();
        let slot = |number, key| single_send("ws", nth_endpoint_id(0), key, number, now);
        let mut sends = [
            slot(1, None),
            slot(2, Some("k")),
            slot(3, None),
            slot(4, Some("k")),
        ];
        publish_each(&by_key, &mut sends).await;
        let replayed = Outcome::Replayed(sends[1].id());
        let published = Outcome::Published;
        let outcomes = sends.each_ref().map(SingleSend::outcome);
        assert_eq!(outcomes, [published, published, published, replayed]);
        assert_eq!(store.held(), [sends[1].held()]);
        assert_eq!(queue.held(), [sends[0].held(), sends[2].held()]);
    }
}
