//! Publisher and queue, with an eye on what calls come to.

use std::time::Duration;

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome as Fate, StoreError};
use nahook_queue::{DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};

use super::outcome::Outcome;

/// Outcomes of the latest calls, by operation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcomes {
    /// Of publishing.
    pub publish: Outcome,
    /// Of leasing.
    pub lease: Outcome,
    /// Of extending leases.
    pub extend: Outcome,
    /// Of settling.
    pub settle: Outcome,
}

/// Passes calls on and notes what they come to.
#[derive(Clone, Debug)]
pub(crate) struct Watched<T> {
    pub(crate) inner: T,
    pub(crate) outcomes: Outcomes,
}

impl<P: DeliveryPublisher> DeliveryPublisher for Watched<P> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let publish = &self.outcomes.publish;
        let call = publish.begin();
        self.inner.publish(event, deliveries).await;
        call.end();
        note(publish, deliveries.iter().map(Delivery::outcome));
    }
}

/// One that was queued shows that the queue works; what fails for a reason of its own says nothing of it.
fn note(publish: &Outcome, fates: impl Iterator<Item = Fate>) {
    let mut has_failed = false;
    for fate in fates {
        match fate {
            Fate::Published | Fate::Replayed(_) => return publish.succeeded(),
            Fate::Failed(FailureKind::EndpointGone | FailureKind::PayloadTooLarge) => {}
            Fate::Failed(_) => has_failed = true,
        }
    }
    if has_failed {
        publish.failed();
    }
}

#[async_trait::async_trait]
impl<Q: DeliveryQueue> DeliveryQueue for Watched<Q> {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        noted(&self.outcomes.lease, self.inner.lease(request)).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        noted(&self.outcomes.extend, self.inner.extend(leases, duration)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        noted(&self.outcomes.settle, self.inner.settle(settlements)).await
    }

    async fn changed(&self, generation: u64) {
        self.inner.changed(generation).await;
    }
}

async fn noted<T>(
    outcome: &Outcome,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let under_way = outcome.begin();
    let result = call.await;
    under_way.end();
    outcome.note(&result);
    result
}
