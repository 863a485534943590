use std::ops::Bound;

use nahook_core::StoreError;
use nahook_core::id::WorkspaceId;
use nahook_queue::{
    DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats, DeliveryStatus, StatsQuery,
};

use super::MemoryStore;

#[async_trait::async_trait]
impl DeliverySearch for MemoryStore {
    async fn stored_len(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        let state = self.state();
        let mut messages = std::collections::HashSet::new();
        let events = state.deliveries.values().map(|row| &row.event);
        let kept =
            events.filter(|event| event.workspace == *workspace && messages.insert(event.id));
        Ok(kept.map(|event| event.payload.len() as u64).sum())
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        let state = self.state();
        let before = query.before.map_or(Bound::Unbounded, Bound::Excluded);
        let records = state
            .deliveries
            .range((Bound::Unbounded, before))
            .rev()
            .filter(|(_, row)| {
                row.endpoint == query.endpoint
                    && row.event.workspace == query.workspace
                    && query
                        .since
                        .is_none_or(|since| row.event.accepted_at >= since)
            })
            .map(|(id, row)| state.shown(*id, row))
            .filter(|record| query.status.is_none_or(|status| record.status == status));
        Ok(records.take(query.limit).collect())
    }

    async fn stats(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        let now = self.shared.clock.now();
        let state = self.state();
        let mut counts = DeliveryStats::default();
        let of_query = state.deliveries.iter().filter(|(id, row)| {
            query.counts(state.shown(**id, row).status)
                && row.event.workspace == query.workspace
                && query.endpoint.is_none_or(|id| row.endpoint == id)
        });
        for (id, row) in of_query {
            let status = state.shown(*id, row).status;
            let count = counts.count_mut(status);
            *count = (*count + 1).min(query.count_max);
            if status != DeliveryStatus::Delivering {
                let is_elsewhere = row.recorded.is_some() && status == DeliveryStatus::Pending;
                let recorded_at = is_elsewhere.then_some(row.event.accepted_at);
                let due_at = row.due_at.or(recorded_at).filter(|due_at| *due_at <= now);
                counts.oldest_due_at = counts.oldest_due_at.into_iter().chain(due_at).min();
            }
        }
        Ok(counts)
    }
}
