use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{IdempotencyKey, Payload, StoreError};
use nahook_queue::{Attempt, AttemptRecord, DeliveryLog, DeliveryRecord};

use super::MemoryStore;
use super::state::{Row, State};

#[async_trait::async_trait]
impl DeliveryLog for MemoryStore {
    async fn delivery(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let state = self.state();
        Ok(state.row(id, workspace).map(|row| state.shown(id, row)))
    }

    async fn attempts(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError> {
        let state = self.state();
        Ok(state.row(id, workspace).map(|row| {
            let record = |(number, attempt): (&u32, &Attempt)| AttemptRecord {
                number: *number,
                attempt: attempt.clone(),
            };
            row.attempts.iter().map(record).collect()
        }))
    }

    async fn payload(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Payload>, StoreError> {
        Ok(self
            .state()
            .row(id, workspace)
            .map(|row| row.event.payload.clone())
            .filter(Payload::is_kept))
    }
}

impl State {
    pub(super) fn shown(&self, id: DeliveryId, row: &Row) -> DeliveryRecord {
        DeliveryRecord {
            id,
            message: row.event.id,
            endpoint: row.endpoint,
            idempotency_key: row
                .event
                .idempotency_key
                .clone()
                .unwrap_or_else(|| IdempotencyKey::of(id)),
            event_type: row.event.event_type.as_ref().map(|found| found.id),
            metadata: row.event.metadata.clone(),
            status: row
                .state
                .status()
                .while_leased(self.scheduler.is_leased(id)),
            attempts: row.attempts_made(),
            first_attempt_at: row
                .attempts
                .values()
                .filter(|attempt| attempt.was_made())
                .map(|attempt| attempt.started_at)
                .min(),
            delivered_at: row.delivered_at,
            next_retry_at: row.state.retry_at(),
            has_payload: row.event.payload.is_kept(),
            created_at: row.event.accepted_at,
            updated_at: row.updated_at,
        }
    }

    pub(super) fn row(&self, id: DeliveryId, workspace: &WorkspaceId) -> Option<&Row> {
        self.deliveries
            .get(&id)
            .filter(|row| row.event.workspace == *workspace)
    }
}
