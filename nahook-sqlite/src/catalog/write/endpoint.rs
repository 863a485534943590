//! Applications and endpoints. A new row may take the place of a deleted one of its workspace with its id.

use nahook_control::{ApplicationRecord, EndpointRecord, Verb};
use nahook_core::Timestamp;
use rusqlite::{Connection, params};

use super::{Written, application_row, environment_row, json, put, remove, workspace_row};
use crate::row::nanos;

pub(super) fn application(
    connection: &Connection,
    verb: Verb,
    row: &ApplicationRecord,
    now: Timestamp,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_application (id, workspace, external_id, name, metadata, max_endpoints,
                 show_event_types, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET external_id = ?3, name = ?4, metadata = ?5,
                 max_endpoints = ?6, show_event_types = ?7, created_at = ?8, updated_at = ?9,
                 deleted_at = NULL
             WHERE deleted_at IS NOT NULL AND workspace = excluded.workspace"
        }
        Verb::Update => {
            "UPDATE nahook_application SET external_id = ?3, name = ?4, metadata = ?5, max_endpoints = ?6,
                 show_event_types = ?7, created_at = ?8, updated_at = ?9
             WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL"
        }
        Verb::Remove => return remove::application(connection, row.id.as_str(), workspace, now),
    };
    put(
        connection,
        verb,
        "application",
        statement,
        params![
            row.id.as_str(),
            workspace,
            row.external_id,
            row.name,
            json(&row.metadata)?,
            row.max_endpoints,
            row.show_event_types,
            nanos(row.created_at),
            nanos(row.updated_at),
        ],
    )
}

pub(super) fn endpoint(
    connection: &Connection,
    verb: Verb,
    row: &EndpointRecord,
    now: Timestamp,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_endpoint (id, workspace, environment, application, url, kind, config,
                 metadata, description, auth_username, auth_password, secret, previous_secret,
                 previous_secret_until, is_active, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT (id) DO UPDATE SET environment = ?3, application = ?4, url = ?5, kind = ?6,
                 config = ?7, metadata = ?8, description = ?9, auth_username = ?10,
                 auth_password = ?11, secret = ?12, previous_secret = ?13,
                 previous_secret_until = ?14, failing_since = NULL, disabled_reason = NULL,
                 is_active = ?15, created_at = ?16, updated_at = ?17, deleted_at = NULL
             WHERE deleted_at IS NOT NULL AND workspace = excluded.workspace"
        }
        // Switched on again, it starts with a clean sheet.
        Verb::Update => {
            "UPDATE nahook_endpoint SET environment = ?3, application = ?4, url = ?5, kind = ?6,
                 config = ?7, metadata = ?8, description = ?9, auth_username = ?10,
                 auth_password = ?11, secret = ?12, previous_secret = ?13,
                 previous_secret_until = ?14,
                 failing_since = CASE WHEN is_active < ?15 THEN NULL ELSE failing_since END,
                 disabled_reason = CASE WHEN ?15 THEN NULL ELSE disabled_reason END,
                 is_active = ?15, created_at = ?16, updated_at = ?17
             WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL"
        }
        Verb::Remove => return remove::endpoint(connection, row.id.as_str(), workspace, now),
    };
    let environment = environment_row(connection, row.environment.as_str(), workspace)?;
    let application = row.application.as_ref();
    let application = application
        .map(|id| application_row(connection, id.as_str(), workspace))
        .transpose()?;
    let previous = row.previous_secret.as_ref();
    put(
        connection,
        verb,
        "endpoint",
        statement,
        params![
            row.id.as_str(),
            workspace,
            environment,
            application,
            row.url,
            row.kind.code(),
            json(&row.config)?,
            json(&row.metadata)?,
            row.description,
            row.auth.as_ref().map(|auth| auth.username.as_str()),
            row.auth.as_ref().map(|auth| auth.password.expose()),
            row.secret.expose(),
            previous.map(|retired| retired.secret.expose()),
            previous.map(|retired| nanos(retired.signs_until)),
            row.is_active,
            nanos(row.created_at),
            nanos(row.updated_at),
        ],
    )
}
