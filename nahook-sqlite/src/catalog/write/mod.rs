//! Writing the catalog's rows.

mod endpoint;
mod key;
mod remove;
mod subscription;
mod tenant;

use nahook_control::{
    Actor, ApplyMode, AuditEntry, Change, EventTypeRecord, ManifestError, Planned, Record, RowKind,
    SecretBox, Select, Verb,
};
use nahook_core::admission::Plan;
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{IdSource, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

#[cfg(feature = "sqlx")]
pub(crate) use self::subscription::SUBSCRIBE_MATCHING;
use super::{read, select};
use crate::audit;
use crate::error::is_taken;
use crate::readers::catalog_version;
use crate::secrets::unsealable;
use crate::writer::Session;

/// Why changes were undone.
pub(super) enum Undone {
    /// They were only to be tried.
    DryRun,
    /// One of them cannot be.
    Refused(Refusal),
    /// They were planned for another version of the catalog.
    Stale,
}

/// Why a change cannot be.
pub(super) enum Refusal {
    /// A row that it is about does not exist.
    Missing(&'static str),
    /// A key or an id is taken.
    Taken(ManifestError),
}

/// Why a row was not written.
enum Failure {
    /// It, or one it refers to, does not exist.
    Missing(&'static str),
    /// Its id is that of another row.
    Taken,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

type Written = Result<(), Failure>;

/// Writes the changes, planned for that version of the catalog, and their entries in the audit log.
pub(super) fn apply(
    session: &mut Session,
    version: i64,
    planned: &Planned,
    secrets: &SecretBox,
    mode: ApplyMode,
    now: Timestamp,
) -> rusqlite::Result<Result<(), Undone>> {
    if catalog_version(session.connection())? != version {
        return Ok(Err(Undone::Stale));
    }
    if let Err(refusal) = write_all(session, planned, secrets, now)? {
        return Ok(Err(Undone::Refused(refusal)));
    }
    if mode == ApplyMode::DryRun {
        return Ok(Err(Undone::DryRun));
    }
    Ok(Ok(()))
}

/// Writes the changes and what the audit log says of them. After a refusal the transaction is to be undone.
pub(super) fn write_all(
    session: &mut Session,
    planned: &Planned,
    secrets: &SecretBox,
    now: Timestamp,
) -> rusqlite::Result<Result<(), Refusal>> {
    let changes = secrets.seal_changes(&planned.changes).map_err(unsealable)?;
    for change in &*changes {
        match write(session.connection(), change, now) {
            Ok(()) => {}
            Err(Failure::Missing(what)) => return Ok(Err(Refusal::Missing(what))),
            Err(Failure::Taken) => {
                return Ok(Err(Refusal::Taken(ManifestError::taken(&change.record))));
            }
            Err(Failure::Sqlite(error)) if is_taken(&error) => {
                return Ok(Err(Refusal::Taken(ManifestError::taken(&change.record))));
            }
            Err(Failure::Sqlite(error)) => return Err(error),
        }
    }
    // No cache holds portal sessions, of which many are made.
    let is_cached = |record: &&Record| !matches!(record, Record::PortalSession(_));
    let records = planned.changes.iter().map(|change| &change.record);
    session.touch_catalog(records.filter(is_cached).map(Record::workspace))?;
    audit::insert(session.connection(), &planned.audit)?;
    Ok(Ok(()))
}

/// The event type's id: `drawn`, unless it exists already.
pub(super) fn ensure_event_type(
    session: &mut Session,
    drawn: &EventTypeRecord,
    ids: &dyn IdSource,
) -> rusqlite::Result<Result<EventTypeId, Refusal>> {
    let known = read::event_type_id(session.connection(), &drawn.name, drawn.workspace)?;
    if let Some(known) = known {
        return Ok(Ok(known));
    }
    let rows = select::selected(session.connection(), drawn.workspace, &[Select::RowCounts])?;
    let kind = RowKind::EventType;
    if rows.row_counts.get(&kind).copied().unwrap_or(0) >= kind.max(&Plan::default()) {
        return Ok(Err(Refusal::Missing("event type")));
    }
    if !create_event_type(session.connection(), drawn, ids)? {
        return Ok(Err(Refusal::Missing("workspace")));
    }
    session.touch_catalog([drawn.workspace])?;
    Ok(Ok(drawn.id))
}

/// Makes the event type, which does not exist; false if its workspace does not. The caller raises the version of the catalog.
pub(crate) fn create_event_type(
    connection: &Connection,
    drawn: &EventTypeRecord,
    ids: &dyn IdSource,
) -> rusqlite::Result<bool> {
    let now = drawn.created_at;
    match tenant::event_type(connection, Verb::Create, drawn, now) {
        Ok(()) => {}
        Err(Failure::Missing(_)) => return Ok(false),
        // Two drawn ids are never the same.
        Err(Failure::Taken) => return Err(rusqlite::Error::StatementChangedRows(0)),
        Err(Failure::Sqlite(error)) => return Err(error),
    }
    let (actor, resource) = (Actor::system(), ("event_type", drawn.id.to_string()));
    let entry = AuditEntry::new(drawn.workspace, &actor, resource, "created", now, ids);
    audit::insert(connection, &[entry])?;
    Ok(true)
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
        Record::Pattern(row) => subscription::pattern(connection, verb, row),
        Record::PortalSession(row) => key::portal_session(connection, verb, row),
        Record::Publication(row) => tenant::publication(connection, verb, *row),
        Record::Subscription(row) => subscription::subscription(connection, verb, *row),
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

/// Executes a statement that has to concern exactly one row; one that creates it concerns none if its id is taken.
fn put(
    connection: &Connection,
    verb: Verb,
    what: &'static str,
    statement: &str,
    params: impl rusqlite::Params,
) -> Written {
    match one(connection, what, statement, params) {
        Err(Failure::Missing(_)) if verb == Verb::Create => Err(Failure::Taken),
        written => written,
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
    select::workspace_row(connection, id)?.ok_or(Failure::Missing("workspace"))
}

fn environment_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement = "SELECT row FROM nahook_environment WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "environment", statement, id, workspace)
}

fn event_type_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement =
        "SELECT row FROM nahook_event_type WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "event type", statement, id, workspace)
}

fn endpoint_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement =
        "SELECT row FROM nahook_endpoint WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "endpoint", statement, id, workspace)
}

fn application_row(connection: &Connection, id: &str, workspace: i64) -> Result<i64, Failure> {
    let statement = "SELECT row FROM nahook_application WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL";
    referred(connection, "application", statement, id, workspace)
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
