use std::collections::HashSet;
use std::sync::Arc;

use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind};

use super::MemoryStore;
use super::state::{Row, State};

impl DeliveryPublisher for MemoryStore {
    /// Queues at once, without waiting for anything: there is nothing to roll back when dropped.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let now = self.shared.clock.now();
        let event = Arc::new(event.clone());
        let mut state = self.state();
        let known = state.endpoints_of(event.workspace);
        for delivery in deliveries {
            if !known.contains(&delivery.endpoint()) {
                delivery.mark_failed(FailureKind::EndpointGone);
                continue;
            }
            if let Some(key) = &event.idempotency_key {
                if let Some(original) = state.keys.original(delivery.endpoint(), key, now) {
                    delivery.mark_replayed(original);
                    continue;
                }
                let (endpoint, id) = (delivery.endpoint(), delivery.id());
                state.keys.claim(endpoint, key.clone(), id, now);
            }
            let row = Row::fresh(Arc::clone(&event), delivery.endpoint());
            state.deliveries.insert(delivery.id(), row);
            state.enqueue(delivery.id(), event.accepted_at, now);
            delivery.mark_published();
        }
        drop(state);
        self.shared.generation.advance();
    }
}

impl State {
    /// The ids of a workspace's endpoints.
    pub(super) fn endpoints_of(&mut self, workspace: WorkspaceId) -> Arc<HashSet<EndpointId>> {
        let known = self.members.entry(workspace).or_insert_with(|| {
            let endpoints = self.catalog.endpoints.iter();
            let its = endpoints.filter(|row| row.workspace == workspace);
            Arc::new(its.map(|row| row.id).collect())
        });
        Arc::clone(known)
    }
}
