//! The delivery queue: due rows in the file, leases in memory, since one process serves the file.

mod events;
mod fresh;
mod leaser;
mod ledger;
mod pending;
mod settle;
mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nahook_core::StoreError;

use nahook_queue::{
    DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeaseToken, Settled, Settlement,
};
use tokio::sync::watch;

pub(crate) use self::leaser::Leaser;
use self::settle::SettleJob;
pub(crate) use self::state::QueueState;
use crate::SqliteStore;
use crate::error::Closed;

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
        self.shared().queue().changed(generation).await;
    }
}

/// The part of the queue that is in memory.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    generation: watch::Sender<u64>,
}

impl Queue {
    /// An empty one, whose lease tokens begin at `first_token` and that keeps so many fresh deliveries in mind.
    pub(crate) fn new(first_token: LeaseToken, fresh_max: usize) -> Self {
        Self {
            state: Mutex::new(QueueState::new(first_token, fresh_max)),
            generation: watch::Sender::new(0),
        }
    }

    /// Locks the state of leases and pending deliveries. Never held while the file is read or written.
    pub(crate) fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that something has become leasable.
    pub(crate) fn wake(&self) {
        self.generation
            .send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    async fn changed(&self, generation: u64) {
        let mut changes = self.generation.subscribe();
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = changes.wait_for(|current| *current != generation).await;
    }
}
