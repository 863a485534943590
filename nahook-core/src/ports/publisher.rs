//! The way to the queue.

use super::erase;
use crate::{Delivery, Event};

/// Puts deliveries on a queue.
pub trait DeliveryPublisher: Send + Sync {
    /// Queues `deliveries` of `event`, resolving each slot in place as soon as its fate is known.
    ///
    /// # Behaviour
    /// * A slot is marked [published](Delivery::mark_published) only once the queue would still hold it after whatever the
    ///   adapter promises to survive.
    /// * A slot is marked with a failure that [may not be queued](crate::FailureKind::may_be_queued) only if the queue
    ///   does not hold the delivery and never will.
    /// * Slots are independent: what happens to one says nothing about its siblings.
    /// * A slot left alone stays *unconfirmed*, which is true until more is known.
    /// * The payload and the metadata are stored unchanged, once for all deliveries where the back end allows it.
    ///
    /// # Idempotency
    /// An event with an [idempotency key](Event::idempotency_key) has one delivery, with the ordinal 0.
    /// * The key stands for the first delivery that was queued with it for its endpoint, for
    ///   [24 hours](crate::IdempotencyKey::WINDOW) by the back end's clock. Until then every other slot with the key is
    ///   marked [replayed](Delivery::mark_replayed) with that delivery's id, whatever its payload, and nothing is queued
    ///   for it. An endpoint belongs to one environment of one workspace, so endpoint and key are the whole scope.
    /// * That holds for concurrent calls and for calls in other processes alike: there is never a second delivery, and
    ///   never a replay of one that the queue does not hold. A first that is rolled back lets the next one in.
    /// * The log shows the key as it was given, for as long as it shows the delivery.
    /// * A back end that keeps no keys resolves such a slot as [`QueueUnavailable`](crate::FailureKind::QueueUnavailable),
    ///   and queues nothing.
    ///
    /// # Cancellation
    /// The engine drops the future at its deadline and keeps what was resolved by then. A publisher that can still
    /// prevent the write does so when dropped and resolves its slots as
    /// [`QueueUnavailable`](crate::FailureKind::QueueUnavailable): only then may the caller be told to try again.
    ///
    /// # Panics
    /// A panic is caught by the engine and leaves unresolved slots unconfirmed.
    fn publish(
        &self,
        event: &Event,
        deliveries: &mut [Delivery],
    ) -> impl Future<Output = ()> + Send;
}

erase! {
    /// [`DeliveryPublisher`] as a trait object.
    DeliveryPublisher as DynDeliveryPublisher {
        fn publish / publish_dyn(event: &Event, deliveries: &mut [Delivery]);
    }
}
