//! What exists: workspaces and what is in them, and changing that.

use thiserror::Error;

use crate::{ApiKeyRecord, Change, KeyState, Manifest, ManifestError, WorkspaceRecord};
use nahook_core::erase;

use nahook_core::{ApiKeyId, EventTypeId, EventTypeName, StoreError, WorkspaceId};

/// Whether a manifest is put into effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApplyMode {
    /// Make the changes.
    Commit,
    /// Only say what would change.
    DryRun,
}

/// Why a change was not made. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The manifest contradicts itself or what exists.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What is to be changed does not exist.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps what exists and changes it, each call whole or not at all.
pub trait Catalog: Send + Sync {
    /// Makes everything in `manifest` exist as declared; what it does not name stays as it is. Answers what changed, in
    /// the order of the manifest: nothing, when repeated.
    fn apply(
        &self,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> impl Future<Output = Result<Vec<Change>, CatalogError>> + Send;

    /// Every workspace, the oldest first.
    fn workspaces(&self) -> impl Future<Output = Result<Vec<WorkspaceRecord>, StoreError>> + Send;

    /// The workspace's keys, the oldest first; revoked ones included.
    fn api_keys(
        &self,
        workspace: &WorkspaceId,
    ) -> impl Future<Output = Result<Vec<ApiKeyRecord>, StoreError>> + Send;

    /// Enables, disables or revokes a key. Revoking is final: a revoked key is [`CatalogError::NotFound`].
    fn set_api_key_state(
        &self,
        key: &ApiKeyId,
        state: KeyState,
    ) -> impl Future<Output = Result<(), CatalogError>> + Send;

    /// The id of the event type with that name, made if it does not exist.
    fn ensure_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> impl Future<Output = Result<EventTypeId, CatalogError>> + Send;
}

erase! {
    /// [`Catalog`] as a trait object.
    Catalog as DynCatalog {
        fn apply / apply_dyn(manifest: &Manifest, mode: ApplyMode) -> Result<Vec<Change>, CatalogError>;
        fn workspaces / workspaces_dyn() -> Result<Vec<WorkspaceRecord>, StoreError>;
        fn api_keys / api_keys_dyn(workspace: &WorkspaceId) -> Result<Vec<ApiKeyRecord>, StoreError>;
        fn set_api_key_state / set_api_key_state_dyn(key: &ApiKeyId, state: KeyState)
            -> Result<(), CatalogError>;
        fn ensure_event_type / ensure_event_type_dyn(name: &EventTypeName, workspace: &WorkspaceId)
            -> Result<EventTypeId, CatalogError>;
    }
}
