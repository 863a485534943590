use nahook_control::{
    Change, KeyHash, PageSession, PortalSessionRecord, Record, SessionHolder, SessionStore, Verb,
};
use nahook_core::{StoreError, Timestamp};

use super::MemoryStore;
use super::state::State;

#[async_trait::async_trait]
impl SessionStore for MemoryStore {
    async fn start_session(&self, session: &PageSession) -> Result<(), StoreError> {
        let mut state = self.state();
        // There is no retention here: what has ended goes when something begins.
        let now = session.created_at;
        state.sessions.retain(|_, other| other.expires_at > now);
        state.sessions.insert(session.id, session.clone());
        Ok(())
    }

    async fn session(&self, id: &KeyHash) -> Result<Option<PageSession>, StoreError> {
        Ok(self.state().sessions.get(id).cloned())
    }

    async fn touch_session(&self, id: &KeyHash, seen_at: Timestamp) -> Result<(), StoreError> {
        if let Some(session) = self.state().sessions.get_mut(id) {
            session.seen_at = seen_at;
        }
        Ok(())
    }

    async fn end_session(&self, id: &KeyHash) -> Result<bool, StoreError> {
        Ok(self.state().sessions.remove(id).is_some())
    }

    async fn end_sessions(&self, holder: &SessionHolder) -> Result<u64, StoreError> {
        let mut state = self.state();
        let before = state.sessions.len();
        let is_anothers = |session: &PageSession| match (session.holder, holder) {
            (SessionHolder::Token(one), SessionHolder::Token(other)) => one != *other,
            (SessionHolder::Application(one, _), SessionHolder::Application(other, _)) => {
                one != *other
            }
            _ => true,
        };
        state.sessions.retain(|_, session| is_anothers(session));
        Ok((before - state.sessions.len()) as u64)
    }

    async fn take_portal_code(
        &self,
        code: &KeyHash,
    ) -> Result<Option<PortalSessionRecord>, StoreError> {
        Ok(self.state().portal_sessions.remove(code))
    }
}

impl State {
    /// Keeps a portal session that was made, and drops those of an application that was removed.
    pub(super) fn take_over_portal_session(&mut self, change: &Change) {
        match (change.verb, &change.record) {
            (Verb::Create, Record::PortalSession(row)) => {
                let now = row.created_at;
                self.portal_sessions
                    .retain(|_, other| other.expires_at > now);
                self.portal_sessions.insert(row.code, row.clone());
            }
            (Verb::Remove, Record::Application(row)) => {
                self.portal_sessions
                    .retain(|_, session| session.application != row.id);
            }
            _ => {}
        }
    }
}
