//! Sending to single endpoints where the queue knows no idempotency keys and the store does.

use nahook_core::{Delivery, DeliveryPublisher, DirectDelivery, DirectPublisher, Outcome};

/// Puts what has an idempotency key on the store's own queue, whose transaction makes it happen once, and the rest on the
/// other queue, as fan-outs of one.
#[derive(Clone, Debug)]
pub(crate) struct ByKey<S, P> {
    pub(crate) store: S,
    pub(crate) publisher: P,
}

impl<S: DirectPublisher, P: DeliveryPublisher> DirectPublisher for ByKey<S, P> {
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        let mut keyed = Keyed::of(deliveries);
        if !keyed.copies.is_empty() {
            self.store.publish_direct(&mut keyed.copies).await;
        }
        drop(keyed);
        for slot in deliveries {
            if slot.idempotency_key().is_some() {
                continue;
            }
            let mut delivery = [Delivery::new(slot.event().id, 0, slot.endpoint())];
            let event = slot.event().clone();
            let publishing = Publishing {
                slot,
                delivery: &mut delivery,
            };
            self.publisher.publish(&event, publishing.delivery).await;
        }
    }
}

/// The slots that have a key, side by side; what becomes of them is told to the slots when this is dropped.
struct Keyed<'a> {
    slots: &'a mut [DirectDelivery],
    places: Vec<usize>,
    copies: Vec<DirectDelivery>,
}

impl<'a> Keyed<'a> {
    fn of(slots: &'a mut [DirectDelivery]) -> Self {
        let keyed = |(_, slot): &(usize, &DirectDelivery)| slot.idempotency_key().is_some();
        let found = slots.iter().enumerate().filter(keyed);
        let (places, copies) = found.map(|(place, slot)| (place, slot.clone())).unzip();
        Self {
            slots,
            places,
            copies,
        }
    }
}

impl Drop for Keyed<'_> {
    fn drop(&mut self) {
        for (place, copy) in self.places.iter().zip(self.copies.drain(..)) {
            self.slots[*place] = copy;
        }
    }
}

/// Tells the slot what the publisher has said when it is dropped, be that while it publishes.
struct Publishing<'a> {
    slot: &'a mut DirectDelivery,
    delivery: &'a mut [Delivery; 1],
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        match self.delivery[0].outcome() {
            Outcome::Failed(kind) => self.slot.failed(kind),
            Outcome::Published => self.slot.published(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nahook_control::{ApplyMode, Catalog as _};
    use nahook_memory::MemoryStore;

    use nahook_core::{DirectOutcome, FailureKind};
    use nahook_testkit::declare::{Workspace, direct, nth_endpoint_id};
    use nahook_testkit::{Answer, Fault, FaultScript, FaultyPublisher, ManualClock};

    use super::*;

    fn slot(number: u64, key: Option<&str>) -> DirectDelivery {
        let now = nahook_core::Clock::now(&ManualClock::default());
        direct("ws", nth_endpoint_id(0), key, number, now)
    }

    async fn store() -> MemoryStore {
        let store = MemoryStore::default();
        let manifest = Workspace::new("ws").endpoints(1).manifest();
        store.apply(&manifest, ApplyMode::Commit).await.unwrap();
        store
    }

    #[tokio::test]
    async fn each_goes_its_way_and_is_told_in_its_place() {
        let queue = FaultyPublisher::recording(FaultScript::default());
        let by_key = ByKey {
            store: store().await,
            publisher: queue.clone(),
        };
        let mut slots = [
            slot(1, None),
            slot(2, Some("k")),
            slot(3, None),
            slot(4, Some("k")),
        ];
        by_key.publish_direct(&mut slots).await;
        let published = DirectOutcome::Published;
        let replayed = DirectOutcome::Replayed(slots[1].id());
        let outcomes = slots.each_ref().map(DirectDelivery::outcome);
        assert_eq!(outcomes, [published, published, published, replayed]);
        let mut held: Vec<_> = queue.held().iter().map(|held| held.delivery).collect();
        held.sort();
        assert_eq!(held, [slots[0].id(), slots[2].id()]);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_it_keeps_what_is_known() {
        let silent = Fault::new(true, Answer::Silence);
        let by_key = ByKey {
            store: store().await,
            publisher: FaultyPublisher::recording(FaultScript::uniform(silent, 1)),
        };
        let mut slots = [slot(1, None), slot(2, Some("k"))];
        let publishing = by_key.publish_direct(&mut slots);
        let in_time = tokio::time::timeout(Duration::from_secs(1), publishing).await;
        assert!(in_time.is_err(), "the publisher is silent");
        let outcomes = slots.each_ref().map(DirectDelivery::outcome);
        let unconfirmed = DirectOutcome::Failed(FailureKind::Unconfirmed);
        assert_eq!(outcomes, [unconfirmed, DirectOutcome::Published]);
    }
}
