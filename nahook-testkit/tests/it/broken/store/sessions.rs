//! Broken sessions.

use nahook_control::{KeyHash, PageSession, PortalSessionRecord, SessionHolder, SessionStore};
use nahook_core::{StoreError, Timestamp};

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl SessionStore for Broken {
    async fn start_session(&self, session: &PageSession) -> Result<(), StoreError> {
        self.inner.start_session(session).await
    }

    async fn session(&self, id: &KeyHash) -> Result<Option<PageSession>, StoreError> {
        let mut found = self.inner.session(id).await?;
        if self.has(ForgetsTheHolder)
            && let Some(found) = &mut found
        {
            found.holder = SessionHolder::Token(*id);
        }
        Ok(found)
    }

    async fn touch_session(&self, id: &KeyHash, seen_at: Timestamp) -> Result<(), StoreError> {
        if self.has(NotesNoUse) {
            return Ok(());
        }
        self.inner.touch_session(id, seen_at).await
    }

    async fn end_session(&self, id: &KeyHash) -> Result<bool, StoreError> {
        let ended = self.inner.end_session(id).await?;
        Ok(ended || self.has(EndsForEverybody))
    }

    async fn end_sessions(&self, holder: &SessionHolder) -> Result<u64, StoreError> {
        if self.has(KeepsSessions) {
            return Ok(0);
        }
        self.inner.end_sessions(holder).await
    }

    async fn take_portal_code(
        &self,
        code: &KeyHash,
    ) -> Result<Option<PortalSessionRecord>, StoreError> {
        let taken = self.inner.take_portal_code(code).await?;
        if !self.has(OpensPortalsTwice) {
            return Ok(taken);
        }
        let mut memory = self.memory.lock().unwrap();
        if taken.is_some() {
            memory.portal = taken;
        }
        Ok(memory.portal.clone())
    }
}
