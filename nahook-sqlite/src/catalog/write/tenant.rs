//! Workspaces, their environments and event types. A new row may take the place of a deleted one of its workspace with its id.

use nahook_control::{
    EnvironmentRecord, EventTypeRecord, PublicationRecord, Verb, WorkspaceRecord,
};
use nahook_core::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Written, environment_row, event_type_row, one, put, remove, subscription, workspace_row,
};
use crate::row::{nanos, rate_parts};

/// Nothing removes a workspace: it is written like one that has changed.
pub(super) fn workspace(connection: &Connection, verb: Verb, row: &WorkspaceRecord) -> Written {
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_workspace (id, name, created_at, payload_len_max,
                 workspace_rate_interval, workspace_rate_burst, key_rate_interval, key_rate_burst,
                 delivery_rate_interval, delivery_rate_burst, pending_max, stored_len_max, endpoints_max)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        }
        Verb::Remove | Verb::Update => {
            "UPDATE nahook_workspace SET name = ?2, created_at = ?3, payload_len_max = ?4,
                 workspace_rate_interval = ?5, workspace_rate_burst = ?6,
                 key_rate_interval = ?7, key_rate_burst = ?8, delivery_rate_interval = ?9,
                 delivery_rate_burst = ?10, pending_max = ?11, stored_len_max = ?12, endpoints_max = ?13
             WHERE id = ?1"
        }
    };
    let of_workspace = rate_parts(row.plan.workspace_rate);
    let of_key = rate_parts(row.plan.key_rate);
    let of_deliveries = rate_parts(row.plan.delivery_rate);
    let payload_len_max = (row.plan.payload_len_max as u64).cast_signed();
    one(
        connection,
        "workspace",
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
            of_deliveries.0,
            of_deliveries.1,
            row.plan.pending_max,
            row.plan.stored_len_max.cast_signed(),
            row.plan.endpoints_max,
        ],
    )
}

pub(super) fn environment(
    connection: &Connection,
    verb: Verb,
    row: &EnvironmentRecord,
    now: Timestamp,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_environment (id, workspace, name, slug, is_default, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET name = ?3, slug = ?4, is_default = ?5, created_at = ?6,
                 updated_at = ?7, deleted_at = NULL
             WHERE deleted_at IS NOT NULL AND workspace = excluded.workspace"
        }
        Verb::Update => {
            "UPDATE nahook_environment SET name = ?3, slug = ?4, is_default = ?5, created_at = ?6,
                 updated_at = ?7
             WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL"
        }
        Verb::Remove => return remove::environment(connection, row.id.as_str(), workspace, now),
    };
    put(
        connection,
        verb,
        "environment",
        statement,
        params![
            row.id.as_str(),
            workspace,
            row.name,
            row.slug,
            row.is_default,
            nanos(row.created_at),
            nanos(row.updated_at),
        ],
    )
}

pub(super) fn event_type(
    connection: &Connection,
    verb: Verb,
    row: &EventTypeRecord,
    now: Timestamp,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create => {
            "INSERT INTO nahook_event_type (id, workspace, name, description, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET name = ?3, description = ?4, created_at = ?5,
                 deleted_at = NULL
             WHERE deleted_at IS NOT NULL AND workspace = excluded.workspace"
        }
        Verb::Update => {
            "UPDATE nahook_event_type SET name = ?3, description = ?4, created_at = ?5
             WHERE id = ?1 AND workspace = ?2 AND deleted_at IS NULL"
        }
        Verb::Remove => return remove::event_type(connection, row.id.as_str(), workspace, now),
    };
    put(
        connection,
        verb,
        "event type",
        statement,
        params![
            row.id.as_str(),
            workspace,
            row.name.as_str(),
            row.description,
            nanos(row.created_at),
        ],
    )?;
    if verb == Verb::Create {
        subscription::matching(connection, row)?;
    }
    Ok(())
}

pub(super) fn publication(connection: &Connection, verb: Verb, row: PublicationRecord) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let statement = match verb {
        Verb::Create | Verb::Update => {
            "INSERT INTO nahook_publication (workspace, environment, event_type) VALUES (?1, ?2, ?3)"
        }
        Verb::Remove => {
            "DELETE FROM nahook_publication WHERE workspace = ?1 AND environment = ?2 AND event_type = ?3"
        }
    };
    let environment = environment_row(connection, row.environment.as_str(), workspace)?;
    let event_type = event_type_row(connection, row.event_type.as_str(), workspace)?;
    one(
        connection,
        "publication",
        statement,
        params![workspace, environment, event_type],
    )
}
