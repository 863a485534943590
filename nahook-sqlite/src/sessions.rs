//! Sessions of the pages.

use nahook_control::{
    KeyHash, PageSession, PortalRole, PortalSessionRecord, SessionHolder, SessionStore,
};
use nahook_core::{StoreError, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::row::{coded_at, instant_at, json_at, nanos, parsed_at};

#[async_trait::async_trait]
impl SessionStore for SqliteStore {
    async fn start_session(&self, session: &PageSession) -> Result<(), StoreError> {
        let session = session.clone();
        let writer = self.shared().writer();
        writer
            .run(move |writing| start(writing.connection(), &session))
            .await
    }

    async fn session(&self, id: &KeyHash) -> Result<Option<PageSession>, StoreError> {
        let id = *id;
        let readers = self.shared().readers();
        readers.read(move |connection| find(connection, id)).await
    }

    async fn touch_session(&self, id: &KeyHash, seen_at: Timestamp) -> Result<(), StoreError> {
        let id = *id;
        let statement = "UPDATE nahook_page_session SET seen_at = ?2 WHERE id = ?1";
        let touch = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(statement)?;
            statement.execute(params![id.as_bytes().as_slice(), nanos(seen_at)])
        };
        let writer = self.shared().writer();
        writer
            .run(move |writing| touch(writing.connection()))
            .await?;
        Ok(())
    }

    async fn end_session(&self, id: &KeyHash) -> Result<bool, StoreError> {
        let id = *id;
        let statement = "DELETE FROM nahook_page_session WHERE id = ?1";
        let end = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(statement)?;
            statement.execute([id.as_bytes().as_slice()])
        };
        let writer = self.shared().writer();
        let ended = writer.run(move |writing| end(writing.connection())).await?;
        Ok(ended > 0)
    }

    async fn end_sessions(&self, holder: &SessionHolder) -> Result<u64, StoreError> {
        let holder = *holder;
        let end = move |connection: &Connection| match holder {
            SessionHolder::Token(token) => connection
                .prepare_cached("DELETE FROM nahook_page_session WHERE token = ?1")?
                .execute([token.as_bytes().as_slice()]),
            SessionHolder::Application(application, _) => connection
                .prepare_cached("DELETE FROM nahook_page_session WHERE application = ?1")?
                .execute([application.as_str()]),
        };
        let writer = self.shared().writer();
        let ended = writer.run(move |writing| end(writing.connection())).await?;
        Ok(ended as u64)
    }

    async fn take_portal_code(
        &self,
        code: &KeyHash,
    ) -> Result<Option<PortalSessionRecord>, StoreError> {
        let code = *code;
        let writer = self.shared().writer();
        writer
            .run(move |writing| take(writing.connection(), code))
            .await
    }
}

fn start(connection: &Connection, session: &PageSession) -> rusqlite::Result<()> {
    let (token, application, role) = match &session.holder {
        SessionHolder::Token(hash) => (Some(hash.as_bytes().as_slice()), None, None),
        SessionHolder::Application(id, role) => (None, Some(id.as_str()), Some(role.code())),
    };
    connection
        .prepare_cached(
            "INSERT INTO nahook_page_session (id, workspace, token, application, role, created_at, seen_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            session.id.as_bytes().as_slice(),
            session.workspace.as_str(),
            token,
            application,
            role,
            nanos(session.created_at),
            nanos(session.seen_at),
            nanos(session.expires_at),
        ])?;
    Ok(())
}

fn find(connection: &Connection, id: KeyHash) -> rusqlite::Result<Option<PageSession>> {
    connection
        .prepare_cached(
            "SELECT workspace, token, application, role, created_at, seen_at, expires_at
             FROM nahook_page_session WHERE id = ?1",
        )?
        .query_row([id.as_bytes().as_slice()], |row| {
            Ok(PageSession {
                id,
                workspace: parsed_at(row, 0)?,
                holder: match row.get::<_, Option<[u8; 32]>>(1)? {
                    Some(hash) => SessionHolder::Token(KeyHash::from_bytes(hash)),
                    None => SessionHolder::Application(
                        parsed_at(row, 2)?,
                        coded_at(row, 3, PortalRole::from_code)?,
                    ),
                },
                created_at: instant_at(row, 4)?,
                seen_at: instant_at(row, 5)?,
                expires_at: instant_at(row, 6)?,
            })
        })
        .optional()
}

fn take(connection: &Connection, code: KeyHash) -> rusqlite::Result<Option<PortalSessionRecord>> {
    let found = connection
        .prepare_cached(
            "SELECT workspace.id, application.id, role, session.metadata, code_expires_at, expires_at,
                 session.created_at
             FROM nahook_portal_session AS session
             JOIN nahook_application AS application ON application.row = session.application
             JOIN nahook_workspace AS workspace ON workspace.row = session.workspace
             WHERE code = ?1",
        )?
        .query_row([code.as_bytes().as_slice()], |row| {
            Ok(PortalSessionRecord {
                code,
                workspace: parsed_at(row, 0)?,
                application: parsed_at(row, 1)?,
                role: coded_at(row, 2, PortalRole::from_code)?,
                metadata: json_at(row, 3)?,
                code_expires_at: instant_at(row, 4)?,
                expires_at: instant_at(row, 5)?,
                created_at: instant_at(row, 6)?,
            })
        })
        .optional()?;
    connection
        .prepare_cached("DELETE FROM nahook_portal_session WHERE code = ?1")?
        .execute([code.as_bytes().as_slice()])?;
    Ok(found)
}
