//! The delivery queue: leases are columns of the deliveries, so that any number of processes can share it.

mod backlog;
mod claim;
mod settle;

use std::time::Duration;

use nahook_core::StoreError;
use nahook_queue::{Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};

pub(crate) use self::claim::{again, fresh};
use crate::store::PostgresStore;

#[async_trait::async_trait]
impl DeliveryQueue for PostgresStore {
    /// The bounds are kept over what this store has leased to the worker: a worker uses one store, and its clones.
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        Ok(self.claim(request).await?)
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        Ok(self.extend_leases(leases, duration).await?)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        Ok(self.settle_leases(settlements).await?)
    }

    async fn changed(&self, generation: u64) {
        self.shared().signals.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        Ok(self.measure_backlog(count_max).await?)
    }
}
