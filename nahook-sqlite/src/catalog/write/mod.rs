//! Writing the catalog's rows.

mod endpoint;
mod key;
mod remove;
mod tenant;

use nahook_core::{
    ApiKeyId, ApplyMode, Change, EventTypeId, EventTypeName, EventTypeRecord, KeyState,
    ManifestError, Record, Timestamp, Verb, WorkspaceId,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::read;
use crate::error::is_taken;
use crate::readers::catalog_version;
use crate::row::key_state_code;
use crate::writer::Session;

/// Why changes were undone.
pub(super) enum Refusal {
    /// They were only to be tried.
    DryRun,
    /// A row that one of them is about does not exist.
    Missing(&'static str),
    /// They were planned for another version of the catalog.
    Stale,
    /// A key or an id is taken.
    Taken(ManifestError),
}

/// Why a row was not written.
enum Failure {
    /// It, or one it refers to, does not exist.
    Missing(&'static str),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

type Written = Result<(), Failure>;

/// Writes the changes, planned for that version of the catalog.
pub(super) fn apply(
    session: &mut Session,
    version: i64,
    changes: &[Change],
    mode: ApplyMode,
    now: Timestamp,
) -> rusqlite::Result<Result<(), Refusal>> {
    if catalog_version(session.connection())? != version {
        return Ok(Err(Refusal::Stale));
    }
    if let Err(refusal) = write_all(session, changes, now)? {
        return Ok(Err(refusal));
    }
    if mode == ApplyMode::DryRun {
        return Ok(Err(Refusal::DryRun));
    }
    Ok(Ok(()))
}

/// Writes the changes, and says so to every cache. After a refusal the transaction is to be undone.
pub(super) fn write_all(
    session: &mut Session,
    changes: &[Change],
    now: Timestamp,
) -> rusqlite::Result<Result<(), Refusal>> {
    for change in changes {
        match write(session.connection(), change, now) {
            Ok(()) => {}
            Err(Failure::Missing(what)) => return Ok(Err(Refusal::Missing(what))),
            Err(Failure::Sqlite(error)) if is_taken(&error) => {
                return Ok(Err(Refusal::Taken(taken(&change.record))));
            }
            Err(Failure::Sqlite(error)) => return Err(error),
        }
    }
    session.touch_catalog()?;
    Ok(Ok(()))
}

/// Answers whether there was such a key that is not revoked.
pub(super) fn set_api_key_state(
    session: &mut Session,
    key: ApiKeyId,
    state: KeyState,
) -> rusqlite::Result<bool> {
    let changed = session
        .connection()
        .prepare_cached("UPDATE api_key SET state = ?2 WHERE id = ?1 AND state <> ?3")?
        .execute(params![
            key.as_str(),
            key_state_code(state),
            key_state_code(KeyState::Revoked),
        ])?;
    if changed > 0 {
        session.touch_catalog()?;
    }
    Ok(changed > 0)
}

/// The event type's id: `drawn`, unless it exists already. `None` if the workspace does not.
pub(super) fn ensure_event_type(
    session: &mut Session,
    name: &EventTypeName,
    workspace: WorkspaceId,
    drawn: EventTypeId,
    now: Timestamp,
) -> rusqlite::Result<Option<EventTypeId>> {
    if let Some(known) = read::event_type_id(session.connection(), name, workspace)? {
        return Ok(Some(known));
    }
    let row = EventTypeRecord {
        id: drawn,
        workspace,
        name: name.clone(),
        description: None,
        created_at: now,
    };
    match tenant::event_type(session.connection(), Verb::Create, &row, now) {
        Ok(()) => {}
        Err(Failure::Missing(_)) => return Ok(None),
        Err(Failure::Sqlite(error)) => return Err(error),
    }
    session.touch_catalog()?;
    Ok(Some(drawn))
}

fn taken(record: &Record) -> ManifestError {
    let (what, name) = match record {
        Record::ApiKey(row) => ("API key", row.name.clone()),
        Record::Application(row) => ("application", row.name.clone()),
        Record::Endpoint(row) => ("endpoint", row.id.to_string()),
        Record::Environment(row) => ("environment", row.slug.clone()),
        Record::EventType(row) => ("event type", row.name.to_string()),
        Record::ManagementToken(row) => ("management token", row.name.clone()),
        Record::PortalSession(row) => ("portal session of", row.application.to_string()),
        Record::Publication(row) => ("publication of", row.event_type.to_string()),
        Record::Subscription(row) => ("subscription", row.id.to_string()),
        Record::Workspace(row) => ("workspace", row.name.clone()),
    };
    ManifestError::Taken { what, name }
}

fn write(connection: &Connection, change: &Change, now: Timestamp) -> Written {
    let verb = change.verb;
    match &change.record {
        Record::ApiKey(row) => key::api_key(connection, verb, row),
        Record::Application(row) => endpoint::application(connection, verb, row, now),
        Record::Endpoint(row) => endpoint::endpoint(connection, verb, row, now),
        Record::Environment(row) => tenant::environment(connection, verb, row, now),
        Record::EventType(row) => tenant::event_type(connection, verb, row, now),
        Record::ManagementToken(row) => key::management_token(connection, verb, row),
        Record::PortalSession(row) => key::portal_session(connection, verb, row),
        Record::Publication(row) => tenant::publication(connection, verb, *row),
        Record::Subscription(row) => endpoint::subscription(connection, verb, *row),
        Record::Workspace(row) => tenant::workspace(connection, verb, row),
    }
}

/// Executes a statement that has to concern exactly one row.
fn one(
    connection: &Connection,
    what: &'static str,
    statement: &str,
    params: impl rusqlite::Params,
) -> Written {
    match connection.prepare_cached(statement)?.execute(params)? {
        0 => Err(Failure::Missing(what)),
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other).into()),
    }
}

/// The number of a row that another refers to, which that statement finds by its id and its workspace's number.
fn referred(
    connection: &Connection,
    what: &'static str,
    statement: &str,
    id: &str,
    workspace: i64,
) -> Result<i64, Failure> {
    let found = connection
        .prepare_cached(statement)?
        .query_row(params![id, workspace], |row| row.get(0))
        .optional()?;
    found.ok_or(Failure::Missing(what))
}

fn workspace_row(connection: &Connection, id: WorkspaceId) -> Result<i64, Failure> {
    read::workspace_row(connection, id)?.ok_or(Failure::Missing("workspace"))
}

fn environment_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement =
        "SELECT row FROM environment WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "environment", statement, id, workspace)
}

fn event_type_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement =
        "SELECT row FROM event_type WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "event type", statement, id, workspace)
}

fn endpoint_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement =
        "SELECT row FROM endpoint WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "endpoint", statement, id, workspace)
}

fn application_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement =
        "SELECT row FROM application WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "application", statement, id, workspace)
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
