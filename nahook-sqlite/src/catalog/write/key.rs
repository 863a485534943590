//! Keys, tokens and portal sessions.

use nahook_control::{ApiKeyRecord, ManagementTokenRecord, PortalSessionRecord, Verb};
use rusqlite::{Connection, params};

use super::{Failure, Written, application_row, json, one, referred, workspace_row};
use crate::row::nanos;

pub(super) fn api_key(connection: &Connection, verb: Verb, row: &ApiKeyRecord) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_api_key (id, workspace, environment, endpoint, name, hash, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        }
        Verb::Update => {
            "UPDATE nahook_api_key SET environment = ?3, endpoint = ?4, name = ?5, hash = ?6, state = ?7,
                 created_at = ?8
             WHERE id = ?1 AND workspace = ?2"
        }
        Verb::Remove => {
            let statement = "DELETE FROM nahook_api_key WHERE id = ?1 AND workspace = ?2";
            let params = params![row.id.as_str(), workspace];
            return one(connection, "API key", statement, params);
        }
    };
    let bound = Bound::of(connection, row, workspace)?;
    one(
        connection,
        "API key",
        statement,
        params![
            row.id.as_str(),
            workspace,
            bound.environment,
            bound.endpoint,
            row.name,
            row.hash.as_bytes().as_slice(),
            row.state.code(),
            nanos(row.created_at),
        ],
    )
}

/// Scope of a key. Deleting its environment or endpoint does not widen it.
struct Bound {
    environment: Option<i64>,
    endpoint: Option<i64>,
}

impl Bound {
    fn of(connection: &Connection, row: &ApiKeyRecord, workspace: i64) -> Result<Self, Failure> {
        let environment = row.environment.as_ref().map(|id| {
            let statement = "SELECT row FROM nahook_environment WHERE id = ?1 AND workspace = ?2";
            referred(connection, "environment", statement, id.as_str(), workspace)
        });
        let endpoint = row.endpoint.as_ref().map(|id| {
            let statement = "SELECT row FROM nahook_endpoint WHERE id = ?1 AND workspace = ?2";
            referred(connection, "endpoint", statement, id.as_str(), workspace)
        });
        Ok(Self {
            environment: environment.transpose()?,
            endpoint: endpoint.transpose()?,
        })
    }
}

pub(super) fn management_token(
    connection: &Connection,
    verb: Verb,
    row: &ManagementTokenRecord,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_management_token (id, workspace, name, hash, state, created_at, is_read_only)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        }
        Verb::Update => {
            "UPDATE nahook_management_token SET name = ?3, hash = ?4, state = ?5, created_at = ?6,
                 is_read_only = ?7
             WHERE id = ?1 AND workspace = ?2"
        }
        Verb::Remove => {
            let statement = "DELETE FROM nahook_management_token WHERE id = ?1 AND workspace = ?2";
            let params = params![row.id.as_str(), workspace];
            return one(connection, "management token", statement, params);
        }
    };
    one(
        connection,
        "management token",
        statement,
        params![
            row.id.as_str(),
            workspace,
            row.name,
            row.hash.as_bytes().as_slice(),
            row.state.code(),
            nanos(row.created_at),
            row.is_read_only,
        ],
    )
}

pub(super) fn portal_session(
    connection: &Connection,
    verb: Verb,
    row: &PortalSessionRecord,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_portal_session (code, workspace, application, role, metadata,
                 code_expires_at, expires_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        }
        Verb::Update => {
            "UPDATE nahook_portal_session SET application = ?3, role = ?4, metadata = ?5,
                 code_expires_at = ?6, expires_at = ?7, created_at = ?8
             WHERE code = ?1 AND workspace = ?2"
        }
        Verb::Remove => {
            let statement = "DELETE FROM nahook_portal_session WHERE code = ?1 AND workspace = ?2";
            let params = params![row.code.as_bytes().as_slice(), workspace];
            return one(connection, "portal session", statement, params);
        }
    };
    one(
        connection,
        "portal session",
        statement,
        params![
            row.code.as_bytes().as_slice(),
            workspace,
            application_row(connection, row.application.as_str(), workspace)?,
            row.role.code(),
            json(&row.metadata)?,
            nanos(row.code_expires_at),
            nanos(row.expires_at),
            nanos(row.created_at),
        ],
    )
}
