//! The key that seals the secrets in the file, and rows from before there was one.

use nahook_control::{MasterKeys, Opening, RotateError, SecretBox};
use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::catalog;
use crate::row::parsed_at;
use crate::{OpenError, SqliteStore};

/// Number of endpoints sealed in one step.
const ENDPOINTS: i64 = 100;

/// Opens the file's secrets, or has the file keep a key of its own if it is the first time that it is opened with one of
/// the operator's.
pub(crate) fn open(
    connection: &Connection,
    master: Option<&MasterKeys>,
) -> Result<SecretBox, OpenError> {
    loop {
        let wrapped = wrapped(connection)?;
        match SecretBox::open(master, wrapped.as_deref())? {
            Opening::Ready(secrets) => return Ok(secrets),
            Opening::Keep(wrapped) => {
                // Another process may just have done the same: what is in the file counts.
                let statement =
                    "INSERT INTO nahook_secret_key VALUES (1, ?1) ON CONFLICT DO NOTHING";
                connection.execute(statement, [wrapped])?;
            }
        }
    }
}

fn wrapped(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let statement = "SELECT wrapped FROM nahook_secret_key";
    connection
        .query_row(statement, [], |row| row.get(0))
        .optional()
}

impl SqliteStore {
    /// Seals and opens what the store keeps.
    pub fn secrets(&self) -> &SecretBox {
        self.shared().secrets()
    }

    /// Wraps the store's key with the first of these, which one of them has wrapped before. Returns false if it already
    /// was. A process that has the store open goes on as it was; its next start needs the new key.
    pub async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        let master = master.clone();
        let work = move |session: &mut crate::writer::Session| {
            let connection = session.connection();
            let Some(wrapped) = wrapped(connection)? else {
                return Ok(Ok(false));
            };
            match master.rewrap(&wrapped) {
                Ok(Some(wrapped)) => {
                    let statement = "UPDATE nahook_secret_key SET wrapped = ?1";
                    connection.execute(statement, [wrapped])?;
                    Ok(Ok(true))
                }
                Ok(None) => Ok(Ok(false)),
                Err(error) => Ok(Err(error)),
            }
        };
        let rotated = self.shared().writer().run(work).await;
        Ok(rotated.map_err(RotateError::Store)??)
    }
}

/// An endpoint whose secrets are not sealed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainEndpoint {
    pub(crate) row: i64,
    workspace: WorkspaceId,
    id: EndpointId,
}

/// The first endpoints behind a row whose secrets are not sealed.
pub(crate) fn plain_endpoints(
    connection: &Connection,
    after: i64,
) -> rusqlite::Result<Vec<PlainEndpoint>> {
    connection
        .prepare_cached(
            "SELECT endpoint.row, workspace.id, endpoint.id
             FROM nahook_endpoint AS endpoint JOIN nahook_workspace AS workspace ON workspace.row = endpoint.workspace
             WHERE endpoint.row > ?1 AND endpoint.deleted_at IS NULL AND substr(endpoint.secret, 1, 1) <> char(1)
             ORDER BY endpoint.row LIMIT ?2",
        )?
        .query_map(params![after, ENDPOINTS], |row| {
            Ok(PlainEndpoint {
                row: row.get(0)?,
                workspace: parsed_at(row, 1)?,
                id: parsed_at(row, 2)?,
            })
        })?
        .collect()
}

/// Seals the secrets of endpoints as they are now.
pub(crate) fn seal(
    connection: &Connection,
    secrets: &SecretBox,
    endpoints: &[PlainEndpoint],
    now: Timestamp,
) -> rusqlite::Result<()> {
    for PlainEndpoint { workspace, id, .. } in endpoints {
        catalog::seal_endpoint(connection, secrets, *workspace, *id, now)?;
    }
    Ok(())
}

/// An error of sealing or opening, where a statement's is expected.
pub(crate) fn unsealable(error: nahook_control::SealError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

/// An error of opening, to a caller of the store.
pub(crate) fn unopened(error: nahook_control::SealError) -> StoreError {
    StoreError::internal(error)
}
