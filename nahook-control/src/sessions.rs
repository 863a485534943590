//! Sessions of the pages: of operators in the dashboard, and of customers in the portal.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{ApplicationId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};

use crate::{KeyHash, PortalRole, PortalSessionRecord};

/// A signed-in visitor of the pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageSession {
    /// The hash of the secret that its holder presents.
    pub id: KeyHash,
    /// Workspace that the session is in.
    pub workspace: WorkspaceId,
    /// Holder of the session.
    pub holder: SessionHolder,
    /// Time of signing in.
    pub created_at: Timestamp,
    /// Time of its last use, to within a minute.
    pub seen_at: Timestamp,
    /// Time at which it ends, however much it is used.
    pub expires_at: Timestamp,
}

/// The holder of a [`PageSession`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SessionHolder {
    /// The holder of the management token with this hash. The session is worth what the token is worth.
    Token(KeyHash),
    /// A customer, in an application's portal.
    Application(ApplicationId, PortalRole),
}

/// Keeps the sessions of the pages, so that they survive a restart and are shared by processes.
///
/// Nothing here checks that a session is still valid: an expired one may be there or not.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait SessionStore: Send + Sync {
    /// Adds a session.
    async fn start_session(&self, session: &PageSession) -> Result<(), StoreError>;

    /// Returns the session with this id, if it is there.
    async fn session(&self, id: &KeyHash) -> Result<Option<PageSession>, StoreError>;

    /// Notes that the session was used then.
    async fn touch_session(&self, id: &KeyHash, seen_at: Timestamp) -> Result<(), StoreError>;

    /// Removes the session. Returns true for one caller alone, however many try at once.
    async fn end_session(&self, id: &KeyHash) -> Result<bool, StoreError>;

    /// Removes every session of that holder in any role. Returns how many there were.
    async fn end_sessions(&self, holder: &SessionHolder) -> Result<u64, StoreError>;

    /// Removes the portal session with that code and returns it: for one caller alone, however many try at once.
    async fn take_portal_code(
        &self,
        code: &KeyHash,
    ) -> Result<Option<PortalSessionRecord>, StoreError>;
}
