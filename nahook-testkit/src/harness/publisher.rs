//! The harness of a publisher.

use nahook_control::Manifest;
use nahook_core::DeliveryPublisher;

use crate::HeldDelivery;

/// Starts a [`DeliveryPublisher`] with an empty queue behind it.
pub trait PublisherHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same queue.
    type Publisher: DeliveryPublisher + Clone + 'static;

    /// Starts the back end, its queue empty.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn publisher(&self) -> Self::Publisher;

    /// Makes the declared endpoints exist. A queue that knows nothing of endpoints has nothing to do; one that does
    /// panics if that fails.
    fn apply(&self, manifest: &Manifest) -> impl Future<Output = ()> + Send;

    /// Everything the queue holds, in any order, read past the publisher. Reading changes nothing.
    fn held(&self) -> impl Future<Output = Vec<HeldDelivery>> + Send;

    /// Stops the back end in an orderly way and starts it again on what it has kept. `None` says that it promises to
    /// survive no restart.
    fn restart(self) -> impl Future<Output = Option<Self>> + Send;

    /// Makes the back end unreachable for the publisher, while [`held`](Self::held) goes on. `false` says that this
    /// cannot happen to it.
    fn make_unreachable(&self) -> impl Future<Output = bool> + Send;
}
