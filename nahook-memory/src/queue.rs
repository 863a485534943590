use std::time::Duration;

use nahook_core::{StoreError, Timestamp};
use nahook_queue::{
    Backlog, DeliveryQueue, DeliveryState, Lease, LeaseBatch, LeaseRequest, LeasedDelivery,
    Settled, Settlement,
};

use super::MemoryStore;
use super::state::State;

#[async_trait::async_trait]
impl DeliveryQueue for MemoryStore {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        let generation = self.shared.generation.get();
        let now = self.shared.clock.now();
        let mut state = self.state();
        state.scheduler.reclaim_expired(now);
        let leases = state.scheduler.lease(request, now).into_iter();
        let deliveries = leases.filter_map(|lease| state.leased(lease)).collect();
        let next_due = state.scheduler.next_due(now);
        Ok(LeaseBatch {
            deliveries,
            next_due,
            generation,
        })
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        state.scheduler.reclaim_expired(now);
        let expires_at = now.saturating_add(duration);
        Ok(leases
            .iter()
            .map(|lease| state.scheduler.extend(*lease, expires_at))
            .collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        let settled = settlements
            .iter()
            .map(|settlement| state.settle(settlement, now))
            .collect();
        drop(state);
        self.shared.generation.advance();
        Ok(settled)
    }

    async fn changed(&self, generation: u64) {
        self.shared.generation.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        state.scheduler.reclaim_expired(now);
        let mut backlog = state.scheduler.backlog(now);
        backlog.due = backlog.due.min(count_max);
        Ok(backlog)
    }
}

impl State {
    fn leased(&self, lease: Lease) -> Option<LeasedDelivery> {
        let row = self.deliveries.get(&lease.delivery)?;
        let attempts = row.attempts_made();
        Some(LeasedDelivery::new(
            lease,
            &row.event,
            row.endpoint,
            attempts,
        ))
    }

    fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Settled {
        let id = settlement.lease.delivery;
        if !self.scheduler.begin_settling(settlement.lease) {
            return Settled::LeaseLost;
        }
        let row = self.deliveries.get_mut(&id);
        let moved = row.and_then(|row| Some((row.state.settled(settlement.next)?, row)));
        let Some((state, row)) = moved else {
            self.scheduler.remove(id);
            return Settled::LeaseLost;
        };
        let number = settlement.attempts_after(row.attempts_made());
        let attempt = settlement.attempt.clone();
        row.attempts
            .extend(attempt.map(|attempt| (number, attempt)));
        row.delivered_at = (state == DeliveryState::Delivered).then_some(now);
        row.updated_at = now;
        row.state = state;
        if state.has_ended() {
            row.due_at = None;
            self.scheduler.remove(id);
            self.retire(id);
        } else {
            let waits_since = row.due_at.unwrap_or(now);
            self.enqueue(id, state.retry_at().unwrap_or(waits_since), now);
        }
        Settled::Done
    }
}
