//! Broken publishers, before a queue in memory.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use nahook_control::Manifest;
use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Metadata, Payload};
use nahook_testkit::{
    Answer, Fault, FaultScript, FaultyPublisher, HeldDelivery, PublisherHarness, RecordingPublisher,
};

use crate::broken::catches;

/// A way to publish wrongly.
trait Bug: Send + Sync + 'static {
    fn publish(
        queue: &RecordingPublisher,
        shared: &Mutex<Option<Event>>,
        event: &Event,
        deliveries: &mut [Delivery],
    ) -> impl Future<Output = ()> + Send;
}

struct Broken<B> {
    queue: RecordingPublisher,
    shared: Arc<Mutex<Option<Event>>>,
    bug: PhantomData<B>,
}

impl<B> Broken<B> {
    fn new() -> Self {
        Self {
            queue: RecordingPublisher::default(),
            shared: Arc::default(),
            bug: PhantomData,
        }
    }
}

impl<B> Clone for Broken<B> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            shared: Arc::clone(&self.shared),
            bug: PhantomData,
        }
    }
}

impl<B: Bug> DeliveryPublisher for Broken<B> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        B::publish(&self.queue, &self.shared, event, deliveries).await;
    }
}

impl<B: Bug> PublisherHarness for Broken<B> {
    type Publisher = Self;

    async fn start() -> Self {
        Self::new()
    }

    fn publisher(&self) -> Self {
        self.clone()
    }

    async fn apply(&self, _: &Manifest) {}

    async fn held(&self) -> Vec<HeldDelivery> {
        self.queue.held()
    }

    async fn restart(self) -> Option<Self> {
        // Everything is forgotten, although it claims to survive.
        Some(Self::new())
    }

    async fn make_unreachable(&self) -> bool {
        true
    }
}

/// Defines a bug by what it does instead of publishing.
macro_rules! bug {
    ($name:ident, |$queue:ident, $shared:ident, $event:ident, $deliveries:ident| $body:expr) => {
        struct $name;

        impl Bug for $name {
            async fn publish(
                $queue: &RecordingPublisher,
                $shared: &Mutex<Option<Event>>,
                $event: &Event,
                $deliveries: &mut [Delivery],
            ) {
                $body
            }
        }
    };
}

/// Publishes with this fault for the second slot.
async fn with_second(
    queue: &RecordingPublisher,
    fault: Fault,
    event: &Event,
    deliveries: &mut [Delivery],
) {
    let script = FaultScript::new([Fault::NONE, fault]);
    let faulty = FaultyPublisher::new(queue.clone(), script);
    faulty.publish(event, deliveries).await;
}

bug!(
    AcknowledgesWhatItDropped,
    |queue, _shared, event, deliveries| {
        with_second(
            queue,
            Fault::new(false, Answer::Acknowledge),
            event,
            deliveries,
        )
        .await;
    }
);
bug!(FailsWhatItQueued, |queue, _shared, event, deliveries| {
    let fault = Fault::new(true, Answer::Fail(FailureKind::QueueUnavailable));
    with_second(queue, fault, event, deliveries).await;
});
bug!(LeavesASlotAlone, |queue, _shared, event, deliveries| {
    with_second(queue, Fault::new(true, Answer::Omit), event, deliveries).await;
});
bug!(QueuesTwice, |queue, _shared, event, deliveries| {
    queue.publish(event, deliveries).await;
    queue
        .publish(event, &mut deliveries[..1.min(deliveries.len())].to_vec())
        .await;
});
bug!(PromisesTooEarly, |queue, _shared, event, deliveries| {
    let mut promised = deliveries.to_vec();
    for delivery in &mut *deliveries {
        delivery.mark_published();
    }
    tokio::task::yield_now().await;
    queue.publish(event, &mut promised).await;
});
bug!(GivesUpTooEarly, |queue, _shared, event, deliveries| {
    queue.publish(event, &mut deliveries.to_vec()).await;
    for delivery in &mut *deliveries {
        delivery.mark_failed(FailureKind::QueueUnavailable);
    }
    tokio::task::yield_now().await;
    for delivery in deliveries {
        delivery.mark_published();
    }
});
bug!(
    StopsAtTheFirstFailure,
    |queue, _shared, event, deliveries| {
        for delivery in deliveries {
            if delivery.endpoint().as_str() == "ep_gone" {
                return delivery.mark_failed(FailureKind::EndpointGone);
            }
            queue.publish(event, std::slice::from_mut(delivery)).await;
        }
    }
);
bug!(
    TakesNoMoreThanAThousand,
    |queue, _shared, event, deliveries| {
        let (first, rest) = deliveries.split_at_mut(deliveries.len().min(1_000));
        queue.publish(event, first).await;
        for delivery in rest {
            delivery.mark_failed(FailureKind::QueueUnavailable);
        }
    }
);
bug!(WritesThePayloadAnew, |queue, _shared, event, deliveries| {
    let mut event = event.clone();
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(event.payload.as_bytes()) {
        event.payload = Payload::of(&value).unwrap();
    }
    queue.publish(&event, deliveries).await;
});
bug!(DropsTheMetadata, |queue, _shared, event, deliveries| {
    let mut event = event.clone();
    event.metadata = Metadata::default();
    queue.publish(&event, deliveries).await;
});
bug!(IgnoresKeys, |queue, _shared, event, deliveries| {
    let mut event = event.clone();
    event.idempotency_key = None;
    queue.publish(&event, deliveries).await;
});
bug!(MixesEvents, |queue, shared, event, deliveries| {
    *shared.lock().unwrap() = Some(event.clone());
    tokio::task::yield_now().await;
    let event = shared.lock().unwrap().clone();
    queue.publish(&event.unwrap(), deliveries).await;
});
bug!(PublishesNothing, |_queue, _shared, _event, _deliveries| {
    tokio::task::yield_now().await;
});
bug!(PanicsOnNothing, |queue, _shared, event, deliveries| {
    assert!(!deliveries.is_empty(), "there is no first delivery");
    queue.publish(event, deliveries).await;
});
bug!(NothingWrong, |queue, _shared, event, deliveries| {
    queue.publish(event, deliveries).await;
});

catches! { publisher:
    ignores_keys in Broken<IgnoresKeys> => a_keyed_event_is_queued_once_or_refused;
    acknowledges_what_it_dropped in Broken<AcknowledgesWhatItDropped> =>
        published_means_queued, a_definite_failure_is_not_queued, concurrent_publishes_do_not_mix;
    fails_what_it_queued in Broken<FailsWhatItQueued> =>
        every_delivery_is_resolved, published_means_queued, a_definite_failure_is_not_queued;
    leaves_a_slot_alone in Broken<LeavesASlotAlone> =>
        every_delivery_is_resolved, a_definite_failure_is_not_queued, siblings_are_independent;
    queues_twice in Broken<QueuesTwice> => published_means_queued, a_wide_batch_is_published;
    promises_too_early in Broken<PromisesTooEarly> => a_dropped_future_keeps_what_it_resolved;
    gives_up_too_early in Broken<GivesUpTooEarly> => a_dropped_future_keeps_what_it_resolved;
    stops_at_the_first_failure in Broken<StopsAtTheFirstFailure> => siblings_are_independent;
    takes_no_more_than_a_thousand in Broken<TakesNoMoreThanAThousand> => a_wide_batch_is_published;
    writes_the_payload_anew in Broken<WritesThePayloadAnew> => payload_and_metadata_arrive_unchanged;
    drops_the_metadata in Broken<DropsTheMetadata> => payload_and_metadata_arrive_unchanged;
    mixes_events in Broken<MixesEvents> => concurrent_publishes_do_not_mix;
    publishes_nothing in Broken<PublishesNothing> =>
        every_delivery_is_resolved, an_empty_batch_is_fine;
    panics_on_nothing in Broken<PanicsOnNothing> => an_empty_batch_is_fine;
    // It says that it is out of reach and publishes all the same, and that it survives a restart and does not.
    nothing_wrong in Broken<NothingWrong> =>
        unreachable_is_not_published, what_was_published_survives_a_restart;
}
