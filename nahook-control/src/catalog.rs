//! The catalog: workspaces, and the manifests that change what is in them.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};
use thiserror::Error;

use crate::{Actor, Change, Manifest, ManifestError, WorkspaceRecord};

/// Decides if a manifest is put into effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApplyMode {
    /// Make the changes.
    Commit,
    /// Only say what would change.
    DryRun,
}

/// Reasons for which a change was not made. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The manifest contradicts itself or what exists.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The row to change does not exist.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps what exists and changes it, each call whole or not at all.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait Catalog: Send + Sync {
    /// [`apply_as`](Self::apply_as) the operator: the user of a command line.
    async fn apply(
        &self,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        self.apply_as(&Actor::operator(), manifest, mode).await
    }

    /// Makes everything in `manifest` exist as declared; what it does not name stays as it is. Answers what changed, in
    /// the order of the manifest: nothing, when repeated. The audit log says that `actor` did it.
    async fn apply_as(
        &self,
        actor: &Actor,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError>;

    /// Every workspace, the oldest first.
    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError>;

    /// The id of the event type with that name, made if it does not exist. This handle's next look-up of its subscribers finds it,
    /// also if another process has just made it.
    async fn ensure_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<EventTypeId, CatalogError>;
}
