//! Broken changes.

use nahook_control::{Actor, ApplyMode, Catalog, CatalogError, Change, Manifest, WorkspaceRecord};
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl Catalog for Broken {
    async fn apply_as(
        &self,
        actor: &Actor,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        let manifest = &self.with_broken_patterns(manifest).await?;
        if self.has(AppliesHalf) && mode == ApplyMode::Commit {
            for workspace in &manifest.workspaces {
                let one = Manifest::from(workspace.clone());
                self.inner.apply_as(actor, &one, mode).await?;
            }
            return Ok(Vec::new());
        }
        let mode = if self.has(DryRunCommits) {
            ApplyMode::Commit
        } else {
            mode
        };
        let changes = self.inner.apply_as(actor, manifest, mode).await?;
        Ok(if self.has(TellsNothing) {
            Vec::new()
        } else {
            changes
        })
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        self.inner.workspaces().await
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
