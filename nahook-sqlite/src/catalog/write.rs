//! Writing the catalog's rows.

use nahook_core::{
    ApiKeyId, ApiKeyRecord, ApplyMode, Change, EndpointId, EndpointRecord, EnvironmentId,
    EnvironmentRecord, EventTypeId, EventTypeName, EventTypeRecord, KeyState,
    ManagementTokenRecord, ManifestError, PublicationRecord, Record, SubscriptionRecord, Timestamp,
    Verb, WorkspaceId, WorkspaceRecord,
};
use rusqlite::{Connection, params};

use super::read;
use crate::error::is_taken;
use crate::readers::catalog_version;
use crate::row::{endpoint_kind_code, key_state_code, nanos, rate_parts};
use crate::writer::Session;

/// Why changes were undone.
pub(super) enum Refusal {
    /// They were only to be tried.
    DryRun,
    /// A key or an id is taken.
    Manifest(ManifestError),
    /// They were planned for another version of the catalog.
    Stale,
}

/// Writes the changes, planned for that version of the catalog.
pub(super) fn apply(
    session: &mut Session,
    version: i64,
    changes: &[Change],
    mode: ApplyMode,
) -> rusqlite::Result<Result<(), Refusal>> {
    if catalog_version(session.connection())? != version {
        return Ok(Err(Refusal::Stale));
    }
    for change in changes {
        match write(session.connection(), change) {
            Ok(()) => {}
            Err(error) if is_taken(&error) => {
                return Ok(Err(Refusal::Manifest(taken(&change.record))));
            }
            Err(error) => return Err(error),
        }
    }
    if mode == ApplyMode::DryRun {
        return Ok(Err(Refusal::DryRun));
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
    if read::workspace_row(session.connection(), workspace)?.is_none() {
        return Ok(None);
    }
    let row = EventTypeRecord {
        id: drawn,
        workspace,
        name: name.clone(),
        description: None,
        created_at: now,
    };
    event_type(session.connection(), Verb::Create, &row)?;
    session.touch_catalog()?;
    Ok(Some(drawn))
}

fn taken(record: &Record) -> ManifestError {
    let (what, name) = match record {
        Record::ApiKey(row) => ("API key", row.name.clone()),
        Record::Endpoint(row) => ("endpoint", row.id.to_string()),
        Record::Environment(row) => ("environment", row.slug.clone()),
        Record::EventType(row) => ("event type", row.name.to_string()),
        Record::ManagementToken(row) => ("management token", row.name.clone()),
        Record::Publication(row) => ("publication of", row.event_type.to_string()),
        Record::Subscription(row) => ("subscription", row.id.to_string()),
        Record::Workspace(row) => ("workspace", row.name.clone()),
    };
    ManifestError::Taken { what, name }
}

fn write(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    let verb = change.verb;
    match &change.record {
        Record::ApiKey(row) => api_key(connection, verb, row),
        Record::Endpoint(row) => endpoint(connection, verb, row),
        Record::Environment(row) => environment(connection, verb, row),
        Record::EventType(row) => event_type(connection, verb, row),
        Record::ManagementToken(row) => management_token(connection, verb, row),
        Record::Publication(row) => publication(connection, verb, *row),
        Record::Subscription(row) => subscription(connection, verb, *row),
        Record::Workspace(row) => workspace(connection, verb, row),
    }
}

/// Executes a statement that has to concern exactly one row.
fn one(
    connection: &Connection,
    statement: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    match connection.prepare_cached(statement)?.execute(params)? {
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other)),
    }
}

fn workspace(connection: &Connection, verb: Verb, row: &WorkspaceRecord) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO workspace (id, name, created_at, payload_len_max,
                 workspace_rate_interval, workspace_rate_burst, key_rate_interval, key_rate_burst)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        }
        Verb::Remove | Verb::Update => {
            "UPDATE workspace SET name = ?2, created_at = ?3, payload_len_max = ?4,
                 workspace_rate_interval = ?5, workspace_rate_burst = ?6,
                 key_rate_interval = ?7, key_rate_burst = ?8
             WHERE id = ?1"
        }
    };
    let of_workspace = rate_parts(row.plan.workspace_rate);
    let of_key = rate_parts(row.plan.key_rate);
    let payload_len_max = (row.plan.payload_len_max as u64).cast_signed();
    one(
        connection,
        statement,
        params![
            row.id.as_str(),
            row.name,
            nanos(row.created_at),
            payload_len_max,
            of_workspace.0,
            of_workspace.1,
            of_key.0,
            of_key.1,
        ],
    )
}

fn environment(
    connection: &Connection,
    verb: Verb,
    row: &EnvironmentRecord,
) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO environment (id, workspace, name, slug, is_default, created_at, updated_at)
             VALUES (?1, (SELECT row FROM workspace WHERE id = ?2), ?3, ?4, ?5, ?6, ?7)"
        }
        Verb::Remove | Verb::Update => {
            "UPDATE environment SET name = ?3, slug = ?4, is_default = ?5, created_at = ?6,
                 updated_at = ?7
             WHERE id = ?1 AND workspace = (SELECT row FROM workspace WHERE id = ?2)"
        }
    };
    one(
        connection,
        statement,
        params![
            row.id.as_str(),
            row.workspace.as_str(),
            row.name,
            row.slug,
            row.is_default,
            nanos(row.created_at),
            nanos(row.updated_at),
        ],
    )
}

fn event_type(connection: &Connection, verb: Verb, row: &EventTypeRecord) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO event_type (id, workspace, name, description, created_at)
             VALUES (?1, (SELECT row FROM workspace WHERE id = ?2), ?3, ?4, ?5)"
        }
        Verb::Remove | Verb::Update => {
            "UPDATE event_type SET name = ?3, description = ?4, created_at = ?5
             WHERE id = ?1 AND workspace = (SELECT row FROM workspace WHERE id = ?2)"
        }
    };
    one(
        connection,
        statement,
        params![
            row.id.as_str(),
            row.workspace.as_str(),
            row.name.as_str(),
            row.description,
            nanos(row.created_at),
        ],
    )
}

fn endpoint(connection: &Connection, verb: Verb, row: &EndpointRecord) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO endpoint (id, workspace, environment, url, kind, config, metadata,
                 description, auth_username, auth_password, secret, is_active, created_at, updated_at)
             VALUES (?1, (SELECT row FROM workspace WHERE id = ?2),
                 (SELECT row FROM environment WHERE id = ?3),
                 ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
        }
        // Switched on again, it starts with a clean sheet.
        Verb::Remove | Verb::Update => {
            "UPDATE endpoint SET environment = (SELECT row FROM environment WHERE id = ?3),
                 url = ?4, kind = ?5, config = ?6, metadata = ?7, description = ?8,
                 auth_username = ?9, auth_password = ?10, secret = ?11,
                 failing_since = CASE WHEN is_active < ?12 THEN NULL ELSE failing_since END,
                 disabled_reason = CASE WHEN ?12 THEN NULL ELSE disabled_reason END,
                 is_active = ?12, created_at = ?13, updated_at = ?14
             WHERE id = ?1 AND workspace = (SELECT row FROM workspace WHERE id = ?2)
               AND deleted_at IS NULL"
        }
    };
    one(
        connection,
        statement,
        params![
            row.id.as_str(),
            row.workspace.as_str(),
            row.environment.as_str(),
            row.url,
            endpoint_kind_code(row.kind),
            json(&row.config)?,
            json(&row.metadata)?,
            row.description,
            row.auth.as_ref().map(|auth| auth.username.as_str()),
            row.auth.as_ref().map(|auth| auth.password.expose()),
            row.secret.expose(),
            row.is_active,
            nanos(row.created_at),
            nanos(row.updated_at),
        ],
    )
}

fn subscription(
    connection: &Connection,
    verb: Verb,
    row: SubscriptionRecord,
) -> rusqlite::Result<()> {
    match verb {
        Verb::Create | Verb::Update => one(
            connection,
            "INSERT INTO subscription (id, workspace, endpoint, event_type, created_at)
             VALUES (?1, (SELECT row FROM workspace WHERE id = ?2),
                 (SELECT row FROM endpoint WHERE id = ?3),
                 (SELECT row FROM event_type WHERE id = ?4), ?5)",
            params![
                row.id.as_str(),
                row.workspace.as_str(),
                row.endpoint.as_str(),
                row.event_type.as_str(),
                nanos(row.created_at),
            ],
        ),
        Verb::Remove => one(
            connection,
            "DELETE FROM subscription WHERE id = ?1",
            [row.id.as_str()],
        ),
    }
}

fn publication(
    connection: &Connection,
    verb: Verb,
    row: PublicationRecord,
) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create | Verb::Update => {
            "INSERT INTO publication (workspace, environment, event_type)
             VALUES ((SELECT row FROM workspace WHERE id = ?1),
                 (SELECT row FROM environment WHERE id = ?2),
                 (SELECT row FROM event_type WHERE id = ?3))"
        }
        Verb::Remove => {
            "DELETE FROM publication
             WHERE workspace = (SELECT row FROM workspace WHERE id = ?1)
               AND environment = (SELECT row FROM environment WHERE id = ?2)
               AND event_type = (SELECT row FROM event_type WHERE id = ?3)"
        }
    };
    one(
        connection,
        statement,
        params![
            row.workspace.as_str(),
            row.environment.as_str(),
            row.event_type.as_str(),
        ],
    )
}

fn api_key(connection: &Connection, verb: Verb, row: &ApiKeyRecord) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO api_key (id, workspace, environment, endpoint, name, hash, state, created_at)
             VALUES (?1, (SELECT row FROM workspace WHERE id = ?2),
                 (SELECT row FROM environment WHERE id = ?3),
                 (SELECT row FROM endpoint WHERE id = ?4), ?5, ?6, ?7, ?8)"
        }
        Verb::Remove | Verb::Update => {
            "UPDATE api_key SET environment = (SELECT row FROM environment WHERE id = ?3),
                 endpoint = (SELECT row FROM endpoint WHERE id = ?4),
                 name = ?5, hash = ?6, state = ?7, created_at = ?8
             WHERE id = ?1 AND workspace = (SELECT row FROM workspace WHERE id = ?2)"
        }
    };
    one(
        connection,
        statement,
        params![
            row.id.as_str(),
            row.workspace.as_str(),
            row.environment.as_ref().map(EnvironmentId::as_str),
            row.endpoint.as_ref().map(EndpointId::as_str),
            row.name,
            row.hash.as_bytes().as_slice(),
            key_state_code(row.state),
            nanos(row.created_at),
        ],
    )
}

fn management_token(
    connection: &Connection,
    verb: Verb,
    row: &ManagementTokenRecord,
) -> rusqlite::Result<()> {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO management_token (id, workspace, name, hash, state, created_at)
             VALUES (?1, (SELECT row FROM workspace WHERE id = ?2), ?3, ?4, ?5, ?6)"
        }
        Verb::Remove | Verb::Update => {
            "UPDATE management_token SET name = ?3, hash = ?4, state = ?5, created_at = ?6
             WHERE id = ?1 AND workspace = (SELECT row FROM workspace WHERE id = ?2)"
        }
    };
    one(
        connection,
        statement,
        params![
            row.id.as_str(),
            row.workspace.as_str(),
            row.name,
            row.hash.as_bytes().as_slice(),
            key_state_code(row.state),
            nanos(row.created_at),
        ],
    )
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
