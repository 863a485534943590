use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{Redelivered, Redelivery, RedeliveryRequest};

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
        let shown = state
            .row(id, workspace)
            .map(|row| state.shown(id, row).status);
        let redelivered = match shown {
            None => Redelivered::NotFound,
            Some(_) if state.queue_again(id, now) => Redelivered::Queued,
            Some(status) => Redelivered::NotGivenUp(status),
        };
        drop(state);
        self.shared.generation.advance();
        Ok(redelivered)
    }

    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        let given_up = state.deliveries.iter().filter(|(_, row)| {
            row.endpoint == request.endpoint
                && row.event.workspace == request.workspace
                && row.event.accepted_at >= request.since
                && row.state.status().is_given_up()
        });
        let ids: Vec<_> = given_up.map(|(id, _)| *id).take(request.limit).collect();
        for id in &ids {
            state.queue_again(*id, now);
        }
        drop(state);
        self.shared.generation.advance();
        Ok(ids.len())
    }
}

impl State {
    /// Returns false if it was not given up.
    fn queue_again(&mut self, id: DeliveryId, now: Timestamp) -> bool {
        let row = self.deliveries.get_mut(&id);
        let Some((row, state)) = row.and_then(|row| {
            let state = row.state.queued_again(row.attempts_made(), now)?;
            Some((row, state))
        }) else {
            return false;
        };
        (row.state, row.recorded, row.updated_at) = (state, None, now);
        self.enqueue(id, now, now);
        true
    }
}
