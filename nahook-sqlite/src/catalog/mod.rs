//! What exists, and changing that.

mod read;
mod write;

use nahook_core::{
    ApiKeyId, ApiKeyRecord, ApplyMode, Catalog, CatalogError, Change, EventTypeId, EventTypeName,
    KeyState, Manifest, ManifestError, MessageId, StoreError, WorkspaceId, WorkspaceRecord,
};

use self::write::Refusal;
use crate::SqliteStore;
use crate::readers::catalog_version;

impl Catalog for SqliteStore {
    /// Plans beside the writer and writes in one transaction, provided that nothing has changed in between; else it plans
    /// again. A dry run writes too, and undoes it: what it says is what would happen.
    async fn apply(
        &self,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        loop {
            let (version, changes) = self.plan(manifest).await?;
            if changes.is_empty() {
                return Ok(changes);
            }
            let (planned, now) = (changes.clone(), self.shared().now());
            let outcome = self
                .shared()
                .writer()
                .run(move |session| {
                    session.attempt(|session| write::apply(session, version, &planned, mode, now))
                })
                .await?;
            match outcome {
                Ok(()) | Err(Refusal::DryRun) => return Ok(changes),
                Err(Refusal::Missing(what)) => return Err(CatalogError::NotFound(what)),
                Err(Refusal::Stale) => {}
                Err(Refusal::Taken(error)) => return Err(error.into()),
            }
        }
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        self.shared()
            .readers()
            .read(|connection| read::workspaces(connection))
            .await
    }

    async fn api_keys(&self, workspace: &WorkspaceId) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let workspace = *workspace;
        self.shared()
            .readers()
            .read(
                move |connection| match read::workspace_row(connection, workspace)? {
                    Some(row) => read::api_keys(connection, row, workspace),
                    None => Ok(Vec::new()),
                },
            )
            .await
    }

    async fn set_api_key_state(&self, key: &ApiKeyId, state: KeyState) -> Result<(), CatalogError> {
        let key = *key;
        let is_found = self
            .shared()
            .writer()
            .run(move |session| write::set_api_key_state(session, key, state))
            .await?;
        is_found
            .then_some(())
            .ok_or(CatalogError::NotFound("API key"))
    }

    async fn ensure_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<EventTypeId, CatalogError> {
        let (name, workspace) = (name.clone(), *workspace);
        let known = {
            let name = name.clone();
            self.shared()
                .readers()
                .read(move |connection| read::event_type_id(connection, &name, workspace))
                .await?
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let now = self.shared().now();
        let random = self.shared().shared_ids().random();
        let drawn = EventTypeId::from_bits(MessageId::from_parts(now, random).as_bits());
        self.shared()
            .writer()
            .run(move |session| write::ensure_event_type(session, &name, workspace, drawn, now))
            .await?
            .ok_or(CatalogError::NotFound("workspace"))
    }
}

impl SqliteStore {
    /// What the manifest changes, and the catalog's version that this holds for.
    async fn plan(&self, manifest: &Manifest) -> Result<(i64, Vec<Change>), CatalogError> {
        let manifest = manifest.clone();
        let (now, ids) = (self.shared().now(), self.shared().shared_ids());
        let (version, changes): (i64, Result<Vec<Change>, ManifestError>) = self
            .shared()
            .readers()
            .read(move |connection| {
                let version = catalog_version(connection)?;
                let existing = read::snapshot(connection, &manifest)?;
                Ok((version, manifest.changes(&existing, now, &ids)))
            })
            .await?;
        Ok((version, changes?))
    }
}
