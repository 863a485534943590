use std::time::Duration;

use nahook_core::{
    DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement, StoreError,
};

use crate::error::QueueError;

/// Hands deliveries of the streams to the workers of this process; clones are handles to the same deliveries.
#[derive(Clone, Debug)]
pub struct NatsQueue {}

impl DeliveryQueue for NatsQueue {
    async fn lease(&self, _request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        Err(StoreError::unavailable(QueueError::Closed))
    }

    async fn extend(
        &self,
        _leases: &[Lease],
        _duration: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        Err(StoreError::unavailable(QueueError::Closed))
    }

    async fn settle(&self, _settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        Err(StoreError::unavailable(QueueError::Closed))
    }

    async fn changed(&self, _generation: u64) {
        std::future::pending().await
    }
}
