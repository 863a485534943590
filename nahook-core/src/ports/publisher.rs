//! The way to the queue.

use super::erase;
use crate::{Delivery, Event};

/// Puts deliveries on a queue.
pub trait DeliveryPublisher: Send + Sync {
    /// Queues `deliveries` of `event`, resolving each slot in place as soon as its fate is known.
    ///
    /// # Behaviour
    /// * A slot is marked [`published`](Delivery::published) only once the queue would still hold it after whatever the
    ///   adapter promises to survive.
    /// * A slot is marked with a failure that [may not be queued](crate::FailureKind::may_be_queued) only if the queue
    ///   does not hold the delivery and never will.
    /// * Slots are independent: what happens to one says nothing about its siblings.
    /// * A slot left alone stays *unconfirmed*, which is true until more is known.
    /// * The payload and the metadata are stored unchanged, once for all deliveries where the back end allows it.
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
