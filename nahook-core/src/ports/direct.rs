//! The way to the queue for what is sent to one endpoint.

use super::erase;
use crate::DirectDelivery;

/// Puts payloads for single endpoints on a queue, each at most once for its idempotency key.
pub trait DirectPublisher: Send + Sync {
    /// Queues `deliveries`, resolving each slot in place as soon as its fate is known. What is handed over in one call
    /// takes one transaction, or one trip to the back end, where it has such things.
    ///
    /// # Behaviour
    /// * A slot is marked [`published`](DirectDelivery::published) only once the queue would still hold it after whatever
    ///   the adapter promises to survive; with a failure that [may not be queued](crate::FailureKind::may_be_queued)
    ///   only if the queue does not hold it and never will; a slot left alone stays *unconfirmed*.
    /// * Slots are independent: what happens to one says nothing about its siblings, but for those with the same key.
    /// * A key stands for the first delivery that was queued with it for its endpoint, for
    ///   [24 hours](crate::IdempotencyKey::WINDOW) by the back end's clock. Until then every other slot with the key is
    ///   marked [`replayed`](DirectDelivery::replayed) with that delivery's id, whatever its payload, and nothing is queued
    ///   for it. An endpoint belongs to one environment of one workspace, so endpoint and key are the whole scope.
    /// * That holds for slots of one call, of concurrent calls and of calls in other processes alike: there is never a
    ///   second delivery, and never a replay of one that the queue does not hold. A first that is rolled back lets the
    ///   next one in.
    /// * The payload is stored unchanged. The log shows the key as it was given, for as long as it shows the delivery.
    ///
    /// # Cancellation
    /// As for [`DeliveryPublisher::publish`](crate::DeliveryPublisher::publish): a publisher that can still prevent the
    /// write does so when dropped, and says so.
    ///
    /// # Panics
    /// A panic is caught by the engine and leaves unresolved slots unconfirmed.
    fn publish_direct(&self, deliveries: &mut [DirectDelivery]) -> impl Future<Output = ()> + Send;
}

erase! {
    /// [`DirectPublisher`] as a trait object.
    DirectPublisher as DynDirectPublisher {
        fn publish_direct / publish_direct_dyn(deliveries: &mut [DirectDelivery]);
    }
}
