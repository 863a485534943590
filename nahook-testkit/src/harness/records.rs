//! The harnesses of the ports over what exists: keys, endpoints, the catalog.

use nahook_control::{
    Catalog, EndpointDirectory, KeyState, KeyStore, ManagementStore, Manifest, SessionStore,
};
use nahook_core::id::{ApiKeyId, WorkspaceId};

use super::SubscriptionHarness;
use crate::ManualClock;

/// Starts a [`KeyStore`] and changes what it answers.
pub trait KeyHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same state.
    type Keys: KeyStore + Clone + 'static;

    /// Starts an empty store.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn keys(&self) -> Self::Keys;

    /// Makes what the manifest declares exist; the next look-up has to see it. Panics if that fails.
    fn apply(&self, manifest: &Manifest) -> impl Future<Output = ()> + Send;

    /// Enables, disables or revokes a key of the workspace; the next look-up has to see it. Panics if that fails.
    fn set_api_key_state(
        &self,
        workspace: &WorkspaceId,
        key: ApiKeyId,
        state: KeyState,
    ) -> impl Future<Output = ()> + Send;
}

/// Starts an [`EndpointDirectory`] and changes what it answers.
pub trait EndpointHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same state.
    type Endpoints: EndpointDirectory + Clone + 'static;

    /// Starts an empty directory.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn endpoints(&self) -> Self::Endpoints;

    /// Makes what the manifest declares exist; the next look-up has to see it. Panics if that fails.
    fn apply(&self, manifest: &Manifest) -> impl Future<Output = ()> + Send;
}

/// Starts a [`Catalog`] together with the ports through which its effects are seen; all of them show one state.
///
/// What the other harnesses' `start` and `apply` do is not used: the clauses start this harness and apply through the
/// catalog itself.
pub trait CatalogHarness: SubscriptionHarness + KeyHarness + EndpointHarness {
    /// The adapter under test; clones are handles to the same state.
    type Catalog: Catalog + Clone + 'static;

    /// Starts an empty catalog.
    fn start_catalog() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn catalog(&self) -> Self::Catalog;

    /// Stops the back end in an orderly way and starts it again on what it has kept. `None` says that it promises to
    /// survive no restart.
    fn restart_catalog(self) -> impl Future<Output = Option<Self>> + Send;
}

/// Starts a [`ManagementStore`] together with the ports through which its effects are seen; all of them show one state.
pub trait ManagementHarness: CatalogHarness {
    /// The adapter under test; clones are handles to the same state.
    type Management: ManagementStore + Clone + 'static;

    /// A handle to the adapter.
    fn management(&self) -> Self::Management;

    /// The clock that the back end reads.
    fn management_clock(&self) -> &ManualClock;
}

/// Starts a [`SessionStore`] together with the management of what its sessions are for.
pub trait SessionHarness: ManagementHarness {
    /// The adapter under test; clones are handles to the same state.
    type Sessions: SessionStore + Clone + 'static;

    /// A handle to the adapter.
    fn sessions(&self) -> Self::Sessions;
}
