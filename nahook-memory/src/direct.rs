use std::sync::Arc;

use nahook_core::{DirectDelivery, DirectPublisher, FailureKind, Timestamp};

use super::MemoryStore;
use super::state::State;

impl DirectPublisher for MemoryStore {
    /// Queues at once, without waiting for anything: there is nothing to roll back when dropped.
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        let now = self.shared.clock.now();
        let mut state = self.state();
        for delivery in deliveries {
            state.send(delivery, now);
        }
        drop(state);
        self.wake();
    }
}

impl State {
    fn send(&mut self, slot: &mut DirectDelivery, now: Timestamp) {
        let (id, endpoint, workspace) = (slot.id(), slot.endpoint(), slot.event().workspace);
        if !self.endpoints_of(workspace).contains(&endpoint) {
            return slot.failed(FailureKind::EndpointGone);
        }
        let key = slot.idempotency_key().cloned();
        if let Some(key) = &key {
            if let Some(original) = self.keys.original(endpoint, key, now) {
                return slot.replayed(original);
            }
            self.keys.claim(endpoint, key.clone(), id, now);
        }
        self.publish(Arc::new(slot.event().clone()), id, endpoint);
        slot.published();
    }
}
