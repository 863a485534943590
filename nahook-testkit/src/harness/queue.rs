//! The harnesses of a queue and of the log over it.

use std::time::Duration;

use nahook_control::Manifest;
use nahook_core::{Delivery, Event, Timestamp};
use nahook_queue::{
    DeliveryCounts, DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliverySearch, EventSearch,
    Redelivery,
};

/// Starts a [`DeliveryQueue`] whose time stands still unless told to go on.
pub trait QueueHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same queue.
    type Queue: DeliveryQueue + Clone + 'static;

    /// Starts an empty queue.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn queue(&self) -> Self::Queue;

    /// Makes the declared endpoints exist, where the queue knows of endpoints. Panics if that fails.
    fn apply(&self, manifest: &Manifest) -> impl Future<Output = ()> + Send;

    /// Puts deliveries on the queue, as the back end's publisher does.
    fn publish(
        &self,
        event: &Event,
        deliveries: &mut [Delivery],
    ) -> impl Future<Output = ()> + Send;

    /// Returns the present instant of the queue's clock.
    fn now(&self) -> Timestamp;

    /// Lets time pass, to the millisecond.
    fn advance(&self, by: Duration);

    /// Stops the back end in an orderly way and starts it again on what it has kept, at the same instant. `None` says
    /// that it promises to survive no restart.
    fn restart(self) -> impl Future<Output = Option<Self>> + Send;
}

/// Starts a [`DeliveryLog`] together with the queue whose deliveries it shows.
pub trait LogHarness: QueueHarness {
    /// The adapter under test; clones are handles to the same log.
    type Log: DeliveryLog + Clone + 'static;

    /// A handle to the adapter.
    fn log(&self) -> Self::Log;
}

/// Starts a [`DeliveryRecorder`] together with the log that shows what it records, and the store's own queue.
pub trait RecorderHarness: LogHarness {
    /// The adapter under test; clones are handles to the same log.
    type Recorder: DeliveryRecorder + Clone + 'static;

    /// A handle to the adapter.
    fn recorder(&self) -> Self::Recorder;
}

/// Starts a [`DeliveryCounts`].
pub trait CountsHarness: QueueHarness {
    /// The adapter under test; clones are handles to the same counts.
    type Counts: DeliveryCounts + Clone + 'static;

    /// A handle to the adapter.
    fn counts(&self) -> Self::Counts;
}

/// Starts a [`DeliverySearch`] together with the queue whose deliveries it lists.
pub trait SearchHarness: LogHarness {
    /// The adapter under test; clones are handles to the same log.
    type Search: DeliverySearch + Clone + 'static;

    /// A handle to the adapter.
    fn search(&self) -> Self::Search;
}

/// Starts an [`EventSearch`] together with the queue whose events it lists and the log of their deliveries.
pub trait EventSearchHarness: LogHarness {
    /// The adapter under test; clones are handles to the same log.
    type Events: EventSearch + Clone + 'static;

    /// A handle to the adapter.
    fn events(&self) -> Self::Events;
}

/// Starts a [`Redelivery`] together with the queue that it fills and the log whose deliveries it queues again.
pub trait RedeliveryHarness: RecorderHarness {
    /// The adapter under test; clones are handles to the same queue.
    type Redelivery: Redelivery + Clone + 'static;

    /// A handle to the adapter.
    fn redelivery(&self) -> Self::Redelivery;
}
