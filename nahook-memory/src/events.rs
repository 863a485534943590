use std::collections::BTreeMap;
use std::ops::Bound;

use nahook_core::StoreError;
use nahook_core::id::{DeliveryId, MessageId, WorkspaceId};
use nahook_queue::{
    DeliveryRecord, DeliveryStatus, EventPage, EventQuery, EventRecord, EventSearch, LOOKED_AT_MAX,
};

use super::MemoryStore;
use super::state::Row;

#[async_trait::async_trait]
impl EventSearch for MemoryStore {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let state = self.state();
        let before = query.before.map_or(Bound::Unbounded, |before| {
            Bound::Excluded(DeliveryId::nth(before, 0))
        });
        let mut found: BTreeMap<MessageId, EventRecord> = BTreeMap::new();
        let (mut page, mut last) = (EventPage::default(), None);
        let rows = state.deliveries.range((Bound::Unbounded, before)).rev();
        for (looked_at, (_, row)) in rows.enumerate() {
            let event = &row.event;
            let is_new = last != Some(event.id);
            if is_new && (found.len() >= query.limit || looked_at >= LOOKED_AT_MAX as usize) {
                page.next = last;
                break;
            }
            last = Some(event.id);
            if is_asked_for(query, row) {
                let record = found.entry(event.id).or_insert_with(|| EventRecord {
                    id: event.id,
                    event_type: event.event_type.as_ref().map(|found| found.id),
                    metadata: event.metadata.clone(),
                    accepted_at: event.accepted_at,
                    deliveries: 0,
                    delivered: 0,
                    given_up: 0,
                });
                if record.deliveries < EventRecord::COUNTED_MAX {
                    let status = row.state.status();
                    record.deliveries += 1;
                    record.delivered += u32::from(status == DeliveryStatus::Delivered);
                    record.given_up += u32::from(status.is_given_up());
                }
            }
        }
        page.events = found.into_values().rev().collect();
        Ok(page)
    }

    async fn event_deliveries(
        &self,
        event: MessageId,
        workspace: &WorkspaceId,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let state = self.state();
        let rows = state
            .deliveries
            .range(DeliveryId::nth(event, 0)..)
            .take_while(|(_, row)| row.event.id == event && row.event.workspace == *workspace);
        let shown = rows.map(|(id, row)| state.shown(*id, row));
        Ok(shown.take(limit).collect())
    }
}

fn is_asked_for(query: &EventQuery, row: &Row) -> bool {
    let event = &row.event;
    event.workspace == query.workspace
        && query
            .event_type
            .is_none_or(|id| event.event_type.as_ref().is_some_and(|it| it.id == id))
        && query
            .idempotency_key
            .as_ref()
            .is_none_or(|key| event.idempotency_key.as_ref() == Some(key))
        && (query.labels.is_empty() || event.metadata.has_any(&query.labels))
}
