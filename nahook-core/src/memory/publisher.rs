use std::collections::BTreeMap;
use std::sync::Arc;

use super::MemoryStore;
use super::state::Row;
use crate::{Delivery, DeliveryPublisher, DeliveryStatus, Event, FailureKind};

impl DeliveryPublisher for MemoryStore {
    /// Queues at once, without waiting for anything: there is nothing to roll back when dropped.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let event = Arc::new(event.clone());
        let mut state = self.state();
        let known: std::collections::HashSet<_> = state
            .catalog
            .endpoints
            .iter()
            .filter(|row| row.workspace == event.workspace)
            .map(|row| row.id)
            .collect();
        for delivery in deliveries {
            if !known.contains(&delivery.endpoint()) {
                delivery.failed(FailureKind::EndpointGone);
                continue;
            }
            let row = Row {
                event: Arc::clone(&event),
                endpoint: delivery.endpoint(),
                status: DeliveryStatus::Pending,
                attempts: BTreeMap::new(),
                due_at: None,
                delivered_at: None,
                updated_at: event.accepted_at,
                recorded: None,
            };
            state.deliveries.insert(delivery.id(), row);
            state.enqueue(delivery.id(), event.accepted_at);
            delivery.published();
        }
        drop(state);
        self.wake();
    }
}
