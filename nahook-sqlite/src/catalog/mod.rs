//! The catalog: reading it and changing it.

mod finding;
mod management;
mod read;
mod rows;
mod select;
mod write;

use nahook_control::{
    Actor, ApplyMode, AuditEntry, Catalog, CatalogError, Change, EventTypeRecord, Manifest,
    ManifestError, Planned, WorkspaceRecord,
};
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

#[cfg(feature = "sqlx")]
pub(crate) use self::read::EVENT_TYPE_ID;
pub(crate) use self::read::event_type_id;
pub(crate) use self::select::workspace_row;
#[cfg(feature = "sqlx")]
pub(crate) use self::write::SUBSCRIBE_MATCHING;
pub(crate) use self::write::create_event_type;
use self::write::{Refusal, Undone};
use crate::SqliteStore;
use crate::readers::catalog_version;
use crate::secrets::unsealable;

#[async_trait::async_trait]
impl Catalog for SqliteStore {
    /// Plans beside the writer and writes in one transaction, provided that nothing has changed in between; else it plans
    /// again. A dry run writes too, and undoes it: what it says is what would happen.
    async fn apply_as(
        &self,
        actor: &Actor,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        loop {
            let (version, changes) = self.plan(manifest).await?;
            if changes.is_empty() {
                return Ok(changes);
            }
            let (now, ids) = (self.shared().now(), self.shared().shared_ids());
            let entry = |change| AuditEntry::of(change, actor, now, &ids);
            let planned = Planned {
                audit: changes.iter().map(entry).collect(),
                changes: changes.clone(),
            };
            let secrets = self.shared().secrets().clone();
            let outcome = self
                .shared()
                .writer()
                .run(move |session| {
                    session.attempt(|session| {
                        write::apply(session, version, &planned, &secrets, mode, now)
                    })
                })
                .await?;
            match outcome {
                Ok(()) | Err(Undone::DryRun) => return Ok(changes),
                Err(Undone::Refused(refusal)) => return Err(refusal.into()),
                Err(Undone::Stale) => {}
            }
        }
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        self.shared()
            .readers()
            .read(|connection| read::workspaces(connection))
            .await
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
            // Another process may have made it a moment ago.
            self.shared().readers().forget_version();
            return Ok(known);
        }
        let drawn = self.new_event_type(name, workspace);
        let ids = self.shared().shared_ids();
        let ensured = self
            .shared()
            .writer()
            .run(move |session| write::ensure_event_type(session, &drawn, &ids))
            .await?;
        Ok(ensured?)
    }
}

impl From<Refusal> for CatalogError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing(what) => Self::NotFound(what),
            Refusal::Taken(error) => Self::Manifest(error),
        }
    }
}

impl SqliteStore {
    /// An event type with a drawn id, made now.
    pub(crate) fn new_event_type(
        &self,
        name: EventTypeName,
        workspace: WorkspaceId,
    ) -> EventTypeRecord {
        let (now, ids) = (self.shared().now(), self.shared().shared_ids());
        EventTypeRecord::drawn(name, workspace, now, &*ids)
    }

    /// Returns the changes of a manifest, and the version of the catalog that they were computed from.
    async fn plan(&self, manifest: &Manifest) -> Result<(i64, Vec<Change>), CatalogError> {
        let manifest = manifest.clone();
        let (now, ids) = (self.shared().now(), self.shared().shared_ids());
        let secrets = self.shared().secrets().clone();
        let (version, changes): (i64, Result<Vec<Change>, ManifestError>) = self
            .shared()
            .readers()
            .read(move |connection| {
                let version = catalog_version(connection)?;
                let mut existing = read::snapshot(connection, &manifest)?;
                secrets.open_snapshot(&mut existing).map_err(unsealable)?;
                Ok((version, manifest.changes(&existing, now, &ids)))
            })
            .await?;
        Ok((version, changes?))
    }
}
