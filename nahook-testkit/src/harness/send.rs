//! The harness of a publisher that keeps idempotency keys.

use std::time::Duration;

use nahook_control::Manifest;
use nahook_core::DeliveryPublisher;
use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_queue::DeliveryRecord;

use crate::HeldDelivery;

/// Starts a [`DeliveryPublisher`] with an empty queue behind it, on a clock that stands still unless told to go on.
pub trait SendHarness: Sized + Send + Sync + 'static {
    /// The publisher under test; clones are handles to the same queue and the same keys.
    type Sender: DeliveryPublisher + Clone + 'static;

    /// Starts the back end, its queue empty.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn sender(&self) -> Self::Sender;

    /// Makes the declared endpoints exist. A queue that knows nothing of endpoints has nothing to do; one that does
    /// panics if that fails.
    fn apply(&self, manifest: &Manifest) -> impl Future<Output = ()> + Send;

    /// Everything the queue holds, in any order, read past the publisher. Reading changes nothing.
    fn held(&self) -> impl Future<Output = Vec<HeldDelivery>> + Send;

    /// Returns the log's record of a delivery. `None` for one that the queue does not hold; a back end without a log answers
    /// with what its queue knows.
    fn record(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> impl Future<Output = Option<DeliveryRecord>> + Send;

    /// Lets time pass, to the nanosecond.
    fn advance(&self, by: Duration);

    /// Stops the back end in an orderly way and starts it again on what it has kept and on the same clock. `None` says
    /// that it promises to survive no restart.
    fn restart(self) -> impl Future<Output = Option<Self>> + Send;
}
