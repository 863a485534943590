//! Sessions of the pages.

use nahook_control::{
    KeyHash, PageSession, PortalRole, PortalSessionRecord, SessionHolder, SessionStore,
};
use nahook_core::{StoreError, Timestamp};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{coded_at, instant_at, nanos, parsed_at, value_at};
use crate::store::PostgresStore;

const START: &str = "
INSERT INTO page_session (id, workspace, token, application, role, created_at, seen_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const FIND: &str = "
SELECT s.workspace, s.token, s.application, s.role, s.created_at, s.seen_at, s.expires_at
FROM page_session s WHERE s.id = $1";

const TOUCH: &str = "UPDATE page_session SET seen_at = $2 WHERE id = $1";

const END: &str = "DELETE FROM page_session WHERE id = $1 RETURNING 1";

const END_OF_TOKEN: &str = "DELETE FROM page_session WHERE token = $1 RETURNING 1";

const END_OF_APPLICATION: &str = "DELETE FROM page_session WHERE application = $1 RETURNING 1";

const TAKE: &str = "
WITH taken AS (DELETE FROM portal_session WHERE code = $1 RETURNING *)
SELECT w.id, a.id, t.role, t.metadata, t.code_expires_at, t.expires_at, t.created_at
FROM taken t JOIN application a ON a.row = t.application JOIN workspace w ON w.row = a.workspace";

#[async_trait::async_trait]
impl SessionStore for PostgresStore {
    async fn start_session(&self, session: &PageSession) -> Result<(), StoreError> {
        let (token, application, role) = match &session.holder {
            SessionHolder::Token(hash) => (Some(hash.as_bytes().as_slice()), None, None),
            SessionHolder::Application(id, role) => {
                (None, Some(id.as_str()), Some(i16::from(role.code())))
            }
        };
        let parameters: [&dyn Parameter; 8] = [
            &session.id.as_bytes().as_slice(),
            &session.workspace.as_str(),
            &token,
            &application,
            &role,
            &nanos(session.created_at),
            &nanos(session.seen_at),
            &nanos(session.expires_at),
        ];
        self.shared().lender.query(START, &parameters).await?;
        Ok(())
    }

    async fn session(&self, id: &KeyHash) -> Result<Option<PageSession>, StoreError> {
        let rows = self.asked(FIND, id).await?;
        let found = rows.first().map(|row| session_at(*id, row)).transpose();
        Ok(found?)
    }

    async fn touch_session(&self, id: &KeyHash, seen_at: Timestamp) -> Result<(), StoreError> {
        let parameters: [&dyn Parameter; 2] = [&id.as_bytes().as_slice(), &nanos(seen_at)];
        self.shared().lender.query(TOUCH, &parameters).await?;
        Ok(())
    }

    async fn end_session(&self, id: &KeyHash) -> Result<bool, StoreError> {
        Ok(!self.asked(END, id).await?.is_empty())
    }

    async fn end_sessions(&self, holder: &SessionHolder) -> Result<u64, StoreError> {
        let ended = match holder {
            SessionHolder::Token(hash) => self.asked(END_OF_TOKEN, hash).await?,
            SessionHolder::Application(id, _) => {
                let lender = &self.shared().lender;
                lender.query(END_OF_APPLICATION, &[&id.as_str()]).await?
            }
        };
        Ok(ended.len() as u64)
    }

    async fn take_portal_code(
        &self,
        code: &KeyHash,
    ) -> Result<Option<PortalSessionRecord>, StoreError> {
        let rows = self.asked(TAKE, code).await?;
        let taken = rows.first().map(|row| taken_at(*code, row)).transpose();
        Ok(taken?)
    }
}

impl PostgresStore {
    /// Runs a statement whose one parameter is a hash.
    async fn asked(&self, statement: &str, hash: &KeyHash) -> Result<Vec<Row>, PgError> {
        let lender = &self.shared().lender;
        lender
            .query(statement, &[&hash.as_bytes().as_slice()])
            .await
    }
}

fn session_at(id: KeyHash, row: &Row) -> Result<PageSession, PgError> {
    let token = value_at::<Option<&[u8]>>(row, 1)?;
    Ok(PageSession {
        id,
        workspace: parsed_at(row, 0)?,
        holder: match token {
            Some(hash) => {
                let hash = hash.try_into().map_err(PgError::unreadable)?;
                SessionHolder::Token(KeyHash::from_bytes(hash))
            }
            None => SessionHolder::Application(
                parsed_at(row, 2)?,
                coded_at(row, 3, PortalRole::from_code)?,
            ),
        },
        created_at: instant_at(row, 4)?,
        seen_at: instant_at(row, 5)?,
        expires_at: instant_at(row, 6)?,
    })
}

fn taken_at(code: KeyHash, row: &Row) -> Result<PortalSessionRecord, PgError> {
    Ok(PortalSessionRecord {
        code,
        workspace: parsed_at(row, 0)?,
        application: parsed_at(row, 1)?,
        role: coded_at(row, 2, PortalRole::from_code)?,
        metadata: serde_json::from_str(value_at(row, 3)?).map_err(PgError::unreadable)?,
        code_expires_at: instant_at(row, 4)?,
        expires_at: instant_at(row, 5)?,
        created_at: instant_at(row, 6)?,
    })
}
