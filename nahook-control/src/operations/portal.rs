//! Ways into an application's portal.

use std::collections::BTreeMap;
use std::time::Duration;

use nahook_core::{ApplicationId, Metadata, SecretText, WorkspaceId};

use super::Management;
use crate::limits::PORTAL_METADATA_KEYS_MAX;
use crate::{
    Actor, KeyHash, ManagementError, ManagementStore, PortalRole, PortalSessionRecord, Record,
    Select,
};

/// Until when the code may be exchanged (contract, section 2).
const CODE_LASTS: Duration = Duration::from_mins(5);
/// How long a session lasts unless said otherwise, in minutes.
const MINUTES_DEFAULT: u32 = 60;
/// How long a session lasts at most, in minutes (contract, section 2).
const MINUTES_MAX: u32 = 60;

/// A portal session to be made.
#[derive(Clone, Debug, Default)]
pub struct NewPortalSession {
    /// What its holder may do.
    pub role: PortalRole,
    /// How long it lasts, 1 to 60 minutes; 60 if absent.
    pub expires_in_minutes: Option<u32>,
    /// At most ten labels.
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
            if !(1..=MINUTES_MAX).contains(&minutes) {
                let rule = format!("expiresInMinutes is 1 to {MINUTES_MAX}");
                return Err(ManagementError::invalid(rule));
            }
            Metadata::check(&new.metadata, PORTAL_METADATA_KEYS_MAX)
                .map_err(|error| ManagementError::invalid(error.to_string()))?;
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
            draft.create(Record::PortalSession(session.clone()));
            Ok(PortalSession { code, session })
        })
        .await
    }
}
