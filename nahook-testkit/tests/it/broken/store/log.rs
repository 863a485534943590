//! Broken answers of the log.

use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{IdempotencyKey, Payload, StoreError};
use nahook_queue::{AttemptRecord, DeliveryLog, DeliveryRecord, DeliveryStatus};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl DeliveryLog for Broken {
    async fn delivery(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let mut found = self
            .inner
            .delivery(id, &self.log_workspace(workspace))
            .await?;
        if let Some(record) = &mut found
            && self.has(HidesDelivering)
            && record.status == DeliveryStatus::Delivering
        {
            record.status = DeliveryStatus::Pending;
        }
        if let Some(record) = &mut found
            && self.has(HidesTheKey)
        {
            record.idempotency_key = IdempotencyKey::of(id);
        }
        Ok(found)
    }

    async fn attempts(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError> {
        let mut found = self
            .inner
            .attempts(id, &self.log_workspace(workspace))
            .await?;
        if let Some(attempts) = &mut found {
            match self.bug {
                ShowsNewestFirst => attempts.reverse(),
                CountsFromZero => attempts.iter_mut().for_each(|attempt| attempt.number -= 1),
                _ => {}
            }
        }
        if self.has(NoAttemptsIsNoDelivery) {
            found = found.filter(|attempts| !attempts.is_empty());
        }
        Ok(found)
    }

    async fn payload(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Payload>, StoreError> {
        self.inner.payload(id, workspace).await
    }
}

impl Broken {
    fn log_workspace(&self, workspace: &WorkspaceId) -> WorkspaceId {
        if self.has(ShowsOtherWorkspaces) {
            declare::workspace_id("ws_shop")
        } else {
            *workspace
        }
    }
}
