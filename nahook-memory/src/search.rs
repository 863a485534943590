use std::ops::Bound;

use nahook_core::StoreError;
use nahook_queue::{DeliveryQuery, DeliveryRecord, DeliverySearch};

use super::MemoryStore;

#[async_trait::async_trait]
impl DeliverySearch for MemoryStore {
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
}
