//! Ways into an application's portal.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    Actor, KeyHash, ManagementError, ManagementStore, PortalRole, PortalSessionRecord, Record,
    SecretText, Select,
};
use nahook_core::id::{ApplicationId, WorkspaceId};

use super::Management;
use crate::rules::{check_look, portal_session};

/// Until when the code may be exchanged (contract, section 2).
const CODE_LASTS: Duration = Duration::from_mins(5);
/// Duration of a session unless said otherwise, in minutes.
const MINUTES_DEFAULT: u32 = 60;

/// A portal session to be made.
#[derive(Clone, Debug, Default)]
pub struct NewPortalSession {
    /// Role of its holder.
    pub role: PortalRole,
    /// Duration in minutes, 1 to 60; 60 if absent.
    pub expires_in_minutes: Option<u32>,
    /// At most ten labels. Those named in [`rules`](crate::rules) are its look.
    pub metadata: BTreeMap<String, String>,
}

/// A portal session that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortalSession {
    /// The code that opens it once; shown this once.
    pub code: SecretText,
    /// The session.
    pub session: PortalSessionRecord,
}

impl<S: ManagementStore> Management<S> {
    /// Makes a session for the application's portal.
    pub async fn create_portal_session(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        application: ApplicationId,
        new: NewPortalSession,
    ) -> Result<PortalSession, ManagementError> {
        let reads = vec![Select::Application(application)];
        self.change(workspace, actor, reads, move |draft| {
            draft.application(application)?;
            let minutes = new.expires_in_minutes.unwrap_or(MINUTES_DEFAULT);
            portal_session::EXPIRES_IN_MINUTES.check(minutes)?;
            portal_session::METADATA.check(&new.metadata)?;
            check_look(&new.metadata)?;
            let drawn = [draft.ids.random(), draft.ids.random()];
            let code = SecretText::new(format!("{:032x}{:032x}", drawn[0], drawn[1]));
            let lasts = Duration::from_mins(minutes.into());
            let session = PortalSessionRecord {
                code: KeyHash::of(code.expose()),
                workspace: draft.workspace,
                application,
                role: new.role,
                metadata: new.metadata.clone(),
                code_expires_at: draft.now.saturating_add(CODE_LASTS.min(lasts)),
                expires_at: draft.now.saturating_add(lasts),
                created_at: draft.now,
            };
            draft.create(Record::PortalSession(session.clone()))?;
            Ok(PortalSession { code, session })
        })
        .await
    }
}
