use super::MemoryStore;
use super::state::{Row, State};
use crate::{
    AttemptRecord, DeliveryId, DeliveryLog, DeliveryRecord, DeliveryStatus, Payload, StoreError,
    WorkspaceId,
};

impl DeliveryLog for MemoryStore {
    async fn delivery(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let state = self.state();
        let is_leased = state.leases.contains_key(&id);
        Ok(state.row(id, workspace).map(|row| DeliveryRecord {
            id,
            message: row.event.id,
            endpoint: row.endpoint,
            event_type: Some(row.event.event_type),
            metadata: row.event.metadata.clone(),
            status: if is_leased {
                DeliveryStatus::Delivering
            } else {
                row.status
            },
            attempts: u32::try_from(row.attempts.len()).unwrap_or(u32::MAX),
            first_attempt_at: row.attempts.first().map(|attempt| attempt.started_at),
            delivered_at: row.delivered_at,
            next_retry_at: row
                .due_at
                .filter(|_| row.status == DeliveryStatus::ScheduledRetry),
            created_at: row.event.accepted_at,
            updated_at: row.updated_at,
        }))
    }

    async fn attempts(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError> {
        let state = self.state();
        Ok(state.row(id, workspace).map(|row| {
            let numbered = (1..).zip(row.attempts.iter().cloned());
            numbered
                .map(|(number, attempt)| AttemptRecord { number, attempt })
                .collect()
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
            .map(|row| row.event.payload.clone()))
    }
}

impl State {
    fn row(&self, id: DeliveryId, workspace: &WorkspaceId) -> Option<&Row> {
        self.deliveries
            .get(&id)
            .filter(|row| row.event.workspace == *workspace)
    }
}
