use std::collections::HashMap;
use std::time::Duration;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{
    Backlog, BatchRoom, DeliveryQueue, DeliveryState, Lease, LeaseBatch, LeaseRequest, LeaseToken,
    LeasedDelivery, Settled, Settlement,
};

use super::MemoryStore;
use super::state::{Held, State};

#[async_trait::async_trait]
impl DeliveryQueue for MemoryStore {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        // Read first: what changes from here on is then told by `changed`.
        let generation = *self.shared.generation.borrow();
        let now = self.shared.clock.now();
        let mut state = self.state();
        state.reclaim_expired(now);
        let deliveries = state.lease(request, now);
        let next_due = state.next_due(now);
        Ok(LeaseBatch {
            deliveries,
            next_due,
            generation,
        })
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        state.reclaim_expired(now);
        let expires_at = now.saturating_add(duration);
        Ok(leases
            .iter()
            .map(|lease| state.extend(*lease, expires_at))
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
        self.wake();
        Ok(settled)
    }

    async fn changed(&self, generation: u64) {
        let mut changes = self.shared.generation.subscribe();
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = changes.wait_for(|current| *current != generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        state.reclaim_expired(now);
        let mut backlog = Backlog::default();
        for waiting in state.waiting.values() {
            let (due, oldest) = waiting.due(now);
            backlog.add(due, oldest);
        }
        backlog.due = backlog.due.min(count_max);
        Ok(backlog)
    }
}

impl State {
    fn reclaim_expired(&mut self, now: Timestamp) {
        while let Some((expires_at, id)) = self.expiries.first().copied()
            && expires_at <= now
        {
            self.expiries.remove(&(expires_at, id));
            self.leases.remove(&id);
            let due_at = self.deliveries.get(&id).and_then(|row| row.due_at);
            self.enqueue(id, due_at.unwrap_or(now));
        }
    }

    /// Takes from one endpoint after the other, one each, until nothing more may be taken.
    fn lease(&mut self, request: &LeaseRequest, now: Timestamp) -> Vec<LeasedDelivery> {
        let mut held = self.held(request);
        let mut room = BatchRoom::of(request);
        let mut leased = Vec::new();
        let mut turns = std::mem::take(&mut self.turns);
        let waiting = self.waiting.iter();
        let waiting: Vec<_> = waiting.map(|(id, of)| (of.workspace, *id)).collect();
        turns.go_round(waiting, request.max, |workspace, endpoint| {
            let is_listed = room.is_listed(&endpoint);
            let held = held.entry(endpoint).or_default();
            if *held >= room.bound(&endpoint) || room.left(workspace, is_listed) == 0 {
                return false;
            }
            let waiting = self.waiting.get_mut(&endpoint);
            let Some(id) = waiting.and_then(|waiting| waiting.pop_due(now)) else {
                return false;
            };
            *held += 1;
            room.take(workspace, is_listed, 1);
            leased.extend(self.hold(id, request, now));
            true
        });
        self.turns = turns;
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        leased
    }

    /// Returns the number of leases that the worker has for each endpoint.
    fn held(&self, request: &LeaseRequest) -> HashMap<EndpointId, usize> {
        let mut count: HashMap<_, _> = HashMap::new();
        for (id, held) in &self.leases {
            if held.worker == request.worker
                && let Some(row) = self.deliveries.get(id)
            {
                *count.entry(row.endpoint).or_default() += 1;
            }
        }
        count
    }

    fn hold(
        &mut self,
        id: DeliveryId,
        request: &LeaseRequest,
        now: Timestamp,
    ) -> Option<LeasedDelivery> {
        self.tokens += 1;
        let token = LeaseToken(self.tokens);
        let expires_at = now.saturating_add(request.duration);
        let row = self.deliveries.get(&id)?;
        self.leases.insert(
            id,
            Held {
                token,
                worker: request.worker,
                expires_at,
            },
        );
        self.expiries.insert((expires_at, id));
        Some(LeasedDelivery {
            lease: Lease {
                delivery: id,
                token,
            },
            message: row.event.id,
            workspace: row.event.workspace,
            endpoint: row.endpoint,
            event_type: row
                .event
                .event_type
                .as_ref()
                .map(|found| found.name.clone()),
            payload: row.event.payload.clone(),
            attempts: row.attempts_made(),
            accepted_at: row.event.accepted_at,
        })
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self
            .waiting
            .values()
            .filter_map(|waiting| waiting.next_due_after(now));
        waiting
            .chain(self.expiries.first().map(|(at, _)| *at))
            .min()
    }

    fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        let Some(mut held) = self.end_lease(lease.delivery, lease.token) else {
            return false;
        };
        held.expires_at = expires_at;
        self.expiries.insert((expires_at, lease.delivery));
        self.leases.insert(lease.delivery, held);
        true
    }

    fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Settled {
        let Lease {
            delivery: id,
            token,
        } = settlement.lease;
        if self.end_lease(id, token).is_none() {
            return Settled::LeaseLost;
        }
        let Some(row) = self.deliveries.get_mut(&id) else {
            return Settled::LeaseLost;
        };
        let Some(state) = row.state.settled(settlement.next) else {
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
            self.retire(id);
        } else {
            let waits_since = row.due_at.unwrap_or(now);
            self.enqueue(id, state.retry_at().unwrap_or(waits_since));
        }
        Settled::Done
    }
}
