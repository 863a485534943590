//! Publisher and queue, with an eye on what calls come to.

use std::time::Duration;

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome, StoreError};
use nahook_queue::{DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};

use super::latest_call::LatestCall;

/// Latest calls, by operation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LatestCalls {
    /// Of publishing.
    pub publish: LatestCall,
    /// Of leasing.
    pub lease: LatestCall,
    /// Of extending leases.
    pub extend: LatestCall,
    /// Of settling.
    pub settle: LatestCall,
}

/// Passes calls on and notes what they come to.
#[derive(Clone, Debug)]
pub(crate) struct Watched<T> {
    pub(crate) inner: T,
    pub(crate) latest_calls: LatestCalls,
}

impl<P: DeliveryPublisher> DeliveryPublisher for Watched<P> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let publish = &self.latest_calls.publish;
        let call = publish.begin();
        self.inner.publish(event, deliveries).await;
        call.end();
        note(publish, deliveries.iter().map(Delivery::outcome));
    }
}

/// One that was queued shows that the queue works; what fails for a reason of its own says nothing of it.
fn note(publish: &LatestCall, outcomes: impl Iterator<Item = Outcome>) {
    let mut has_failed = false;
    for outcome in outcomes {
        match outcome {
            Outcome::Published | Outcome::Replayed(_) => return publish.succeeded(),
            Outcome::Failed(FailureKind::EndpointGone | FailureKind::PayloadTooLarge) => {}
            Outcome::Failed(_) => has_failed = true,
        }
    }
    if has_failed {
        publish.failed();
    }
}

#[async_trait::async_trait]
impl<Q: DeliveryQueue> DeliveryQueue for Watched<Q> {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        noted(&self.latest_calls.lease, self.inner.lease(request)).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        noted(
            &self.latest_calls.extend,
            self.inner.extend(leases, duration),
        )
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        noted(&self.latest_calls.settle, self.inner.settle(settlements)).await
    }

    async fn changed(&self, generation: u64) {
        self.inner.changed(generation).await;
    }
}

async fn noted<T>(
    latest: &LatestCall,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let under_way = latest.begin();
    let result = call.await;
    under_way.end();
    latest.note(&result);
    result
}
