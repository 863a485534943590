//! The delivery queue: due rows in the file, leases in memory.

mod settle;

use std::time::Duration;

use nahook_core::StoreError;
use nahook_queue::{Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, Settled, Settlement};

use self::settle::SettleJob;
use crate::SqliteStore;
use crate::error::Closed;
use crate::queue::Leaser;

#[async_trait::async_trait]
impl DeliveryQueue for SqliteStore {
    /// Leases on a thread of its own. A batch that nobody waits for any more is given back at once.
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        let request = request.clone();
        self.shared()
            .leaser()?
            .ask_or_undo(move |leaser| leaser.lease(&request), Leaser::give_back)
            .await?
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let now = self.shared().clock().now();
        let expires_at = now.saturating_add(duration);
        let mut state = self.shared().queue().state();
        state.reclaim_expired(now);
        Ok(leases
            .iter()
            .map(|lease| state.extend(*lease, expires_at))
            .collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let (job, answer) = SettleJob::new(settlements, self.shared().clock().now());
        self.shared().writer().send(Box::new(job));
        Ok(answer.await.map_err(|_| Closed)??)
    }

    async fn changed(&self, generation: u64) {
        self.shared().queue().generation.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        self.measure_backlog(count_max).await
    }
}
