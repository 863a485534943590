use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{DeliveryStatus, Redelivered, Redelivery, RedeliveryRequest};

use super::MemoryStore;
use super::state::State;

#[async_trait::async_trait]
impl Redelivery for MemoryStore {
    async fn redeliver(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Redelivered, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        let redelivered = match state.row(id, workspace).map(|row| state.shown(id, row)) {
            None => Redelivered::NotFound,
            Some(record) if !record.status.is_given_up() => Redelivered::NotGivenUp(record.status),
            Some(_) => {
                state.queue_again(id, now);
                Redelivered::Queued
            }
        };
        drop(state);
        self.wake();
        Ok(redelivered)
    }

    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        let given_up = state.deliveries.iter().filter(|(_, row)| {
            row.endpoint == request.endpoint
                && row.event.workspace == request.workspace
                && row.event.accepted_at >= request.since
                && row.status.is_given_up()
        });
        let ids: Vec<_> = given_up.map(|(id, _)| *id).take(request.limit).collect();
        for id in &ids {
            state.queue_again(*id, now);
        }
        drop(state);
        self.wake();
        Ok(ids.len())
    }
}

impl State {
    fn queue_again(&mut self, id: DeliveryId, now: Timestamp) {
        if let Some(row) = self.deliveries.get_mut(&id) {
            row.status = if row.attempts.is_empty() {
                DeliveryStatus::Pending
            } else {
                DeliveryStatus::ScheduledRetry
            };
            row.updated_at = now;
            row.recorded = None;
        }
        self.enqueue(id, now);
    }
}
