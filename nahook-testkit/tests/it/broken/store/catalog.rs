//! Broken changes.

use nahook_control::{
    ApiKeyRecord, ApplyMode, Catalog, CatalogError, Change, KeyState, Manifest, WorkspaceRecord,
};
use nahook_core::id::{ApiKeyId, EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl Catalog for Broken {
    async fn apply(
        &self,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        if self.has(AppliesHalf) && mode == ApplyMode::Commit {
            for workspace in &manifest.workspaces {
                let one = Manifest {
                    workspaces: vec![workspace.clone()],
                };
                self.inner.apply(&one, mode).await?;
            }
            return Ok(Vec::new());
        }
        let mode = if self.has(DryRunCommits) {
            ApplyMode::Commit
        } else {
            mode
        };
        let changes = self.inner.apply(manifest, mode).await?;
        Ok(if self.has(TellsNothing) {
            Vec::new()
        } else {
            changes
        })
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        self.inner.workspaces().await
    }

    async fn api_keys(&self, workspace: &WorkspaceId) -> Result<Vec<ApiKeyRecord>, StoreError> {
        if !self.has(ListsOtherKeys) {
            return self.inner.api_keys(workspace).await;
        }
        let mut all = Vec::new();
        for workspace in self.inner.workspaces().await? {
            all.extend(self.inner.api_keys(&workspace.id).await?);
        }
        Ok(all)
    }

    async fn set_api_key_state(&self, key: &ApiKeyId, state: KeyState) -> Result<(), CatalogError> {
        let set = self.inner.set_api_key_state(key, state).await;
        if self.has(RevivesKeys) { Ok(()) } else { set }
    }

    async fn ensure_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<EventTypeId, CatalogError> {
        let ensured = self.inner.ensure_event_type(name, workspace).await?;
        let mut memory = self.memory.lock().unwrap();
        memory.scopes.push(*workspace);
        Ok(if self.has(ReEnsures) {
            EventTypeId::from_bits(memory.scopes.len() as u128)
        } else {
            ensured
        })
    }
}
