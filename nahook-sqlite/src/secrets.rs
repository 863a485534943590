//! The key that seals the secrets in the file, and rows from before there was one.

use nahook_control::{
    EndpointKind, MasterKeyError, MasterKeys, Opening, SealError, SecretBox, SecretColumns,
    SecretText,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::OpenError;
use crate::row::{coded_at, json_at, parsed_at};

/// Number of endpoints sealed in one step.
const ENDPOINTS: u32 = 100;

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

/// Wraps the file's key with the first of these. Returns false if it already was, or if there is none.
pub(crate) fn rotate(
    connection: &Connection,
    master: &MasterKeys,
) -> rusqlite::Result<Result<bool, MasterKeyError>> {
    let Some(before) = wrapped(connection)? else {
        return Ok(Ok(false));
    };
    Ok(match master.rewrap(&before) {
        Ok(Some(after)) => {
            connection.execute("UPDATE nahook_secret_key SET wrapped = ?1", [after])?;
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    })
}

/// Seals the secrets of up to a hundred endpoints behind a row that are not sealed. Returns the last one's row; `None` if there
/// is none.
pub(crate) fn seal_some(
    connection: &Connection,
    secrets: &SecretBox,
    after: i64,
) -> rusqlite::Result<Option<i64>> {
    let plain = plain(connection, after)?;
    let last = plain.last().map(|(row, _)| *row);
    for (row, mut columns) in plain {
        secrets.seal(&mut columns).map_err(unsealable)?;
        let config = serde_json::to_string(&columns.config);
        connection
            .prepare_cached(
                "UPDATE nahook_endpoint SET url = ?2, config = ?3, auth_password = ?4, secret = ?5, previous_secret = ?6
                 WHERE row = ?1",
            )?
            .execute(params![
                row,
                columns.url,
                config.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
                columns.password.as_ref().map(SecretText::expose),
                columns.secret.expose(),
                columns.previous.as_ref().map(SecretText::expose),
            ])?;
    }
    Ok(last)
}

/// Returns true if an endpoint behind a row is not sealed.
pub(crate) fn has_plain(connection: &Connection, after: i64) -> rusqlite::Result<bool> {
    let statement = format!("SELECT 1 {PLAIN} LIMIT 1");
    connection.prepare_cached(&statement)?.exists([after])
}

const PLAIN: &str = "FROM nahook_endpoint AS endpoint
     JOIN nahook_workspace AS workspace ON workspace.row = endpoint.workspace
     WHERE endpoint.row > ?1 AND endpoint.deleted_at IS NULL AND substr(endpoint.secret, 1, 1) <> char(1)";

fn plain(connection: &Connection, after: i64) -> rusqlite::Result<Vec<(i64, SecretColumns)>> {
    let statement = format!(
        "SELECT endpoint.row, workspace.id, endpoint.id, kind, url, config, auth_password, secret, previous_secret
         {PLAIN} ORDER BY endpoint.row LIMIT {ENDPOINTS}"
    );
    let secret = |text: Option<String>| text.map(SecretText::new);
    connection
        .prepare_cached(&statement)?
        .query_map([after], |row| {
            let columns = SecretColumns {
                workspace: parsed_at(row, 1)?,
                id: parsed_at(row, 2)?,
                kind: coded_at(row, 3, EndpointKind::from_code)?,
                url: row.get(4)?,
                config: json_at(row, 5)?,
                password: secret(row.get(6)?),
                secret: SecretText::new(row.get::<_, String>(7)?),
                previous: secret(row.get(8)?),
            };
            Ok((row.get(0)?, columns))
        })?
        .collect()
}

/// An error of sealing or opening, where a statement's is expected.
pub(crate) fn unsealable(error: SealError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}
