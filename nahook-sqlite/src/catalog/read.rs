//! Reading the catalog's rows.

use std::collections::BTreeMap;

use nahook_core::{
    ApiKeyRecord, EndpointRecord, EnvironmentRecord, EventTypeId, EventTypeName, EventTypeRecord,
    KeyHash, ManagementTokenRecord, Manifest, PublicationRecord, RetiredSecret, SecretText,
    Snapshot, SubscriptionRecord, WorkspaceId, WorkspaceRecord,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

use crate::endpoints::auth_at;
use crate::row::{
    endpoint_kind_at, instant_at, key_state_at, maybe_instant_at, maybe_parsed_at, parsed_at,
    plan_at, unreadable,
};

const WORKSPACE: &str = "id, name, created_at, payload_len_max,
    workspace_rate_interval, workspace_rate_burst, key_rate_interval, key_rate_burst";

pub(super) fn workspaces(connection: &Connection) -> rusqlite::Result<Vec<WorkspaceRecord>> {
    connection
        .prepare_cached(&format!("SELECT {WORKSPACE} FROM workspace ORDER BY row"))?
        .query_map([], workspace_at)?
        .collect()
}

pub(super) fn workspace_row(
    connection: &Connection,
    id: WorkspaceId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT row FROM workspace WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()
}

pub(super) fn event_type_id(
    connection: &Connection,
    name: &EventTypeName,
    workspace: WorkspaceId,
) -> rusqlite::Result<Option<EventTypeId>> {
    connection
        .prepare_cached(
            "SELECT event_type.id
             FROM event_type JOIN workspace ON workspace.row = event_type.workspace
             WHERE workspace.id = ?1 AND event_type.name = ?2 AND event_type.deleted_at IS NULL",
        )?
        .query_row(params![workspace.as_str(), name.as_str()], |row| {
            parsed_at(row, 0)
        })
        .optional()
}

/// Everything in the workspaces that the manifest names.
pub(super) fn snapshot(connection: &Connection, manifest: &Manifest) -> rusqlite::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for spec in &manifest.workspaces {
        let (column, value) = match &spec.id {
            Some(id) => ("id", id.as_str()),
            None => ("name", spec.name.as_str()),
        };
        let found = connection
            .prepare_cached(&format!(
                "SELECT {WORKSPACE}, row FROM workspace WHERE {column} = ?1"
            ))?
            .query_row([value], |row| Ok((workspace_at(row)?, row.get(8)?)))
            .optional()?;
        let Some((workspace, row)) = found else {
            continue;
        };
        // Two declarations of one workspace are an error that the plan finds.
        if snapshot.workspaces.contains(&workspace) {
            continue;
        }
        let id = workspace.id;
        snapshot.workspaces.push(workspace);
        snapshot
            .environments
            .extend(environments(connection, row, id)?);
        snapshot
            .event_types
            .extend(event_types(connection, row, id)?);
        snapshot.endpoints.extend(endpoints(connection, row, id)?);
        snapshot
            .subscriptions
            .extend(subscriptions(connection, row, id)?);
        snapshot
            .publications
            .extend(publications(connection, row, id)?);
        snapshot.api_keys.extend(api_keys(connection, row, id)?);
        let tokens = management_tokens(connection, row, id)?;
        snapshot.management_tokens.extend(tokens);
    }
    Ok(snapshot)
}

fn workspace_at(row: &Row<'_>) -> rusqlite::Result<WorkspaceRecord> {
    Ok(WorkspaceRecord {
        id: parsed_at(row, 0)?,
        name: row.get(1)?,
        plan: plan_at(row, 3)?,
        created_at: instant_at(row, 2)?,
    })
}

fn environments(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<EnvironmentRecord>> {
    connection
        .prepare_cached(
            "SELECT id, name, slug, is_default, created_at, updated_at FROM environment
             WHERE workspace = ?1 AND deleted_at IS NULL ORDER BY row",
        )?
        .query_map([row], |row| {
            Ok(EnvironmentRecord {
                id: parsed_at(row, 0)?,
                workspace,
                name: row.get(1)?,
                slug: row.get(2)?,
                is_default: row.get(3)?,
                created_at: instant_at(row, 4)?,
                updated_at: instant_at(row, 5)?,
            })
        })?
        .collect()
}

fn event_types(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<EventTypeRecord>> {
    connection
        .prepare_cached(
            "SELECT id, name, description, created_at FROM event_type
             WHERE workspace = ?1 AND deleted_at IS NULL ORDER BY row",
        )?
        .query_map([row], |row| {
            Ok(EventTypeRecord {
                id: parsed_at(row, 0)?,
                workspace,
                name: parsed_at(row, 1)?,
                description: row.get(2)?,
                created_at: instant_at(row, 3)?,
            })
        })?
        .collect()
}

fn endpoints(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<EndpointRecord>> {
    connection
        .prepare_cached(
            "SELECT endpoint.id, environment.id, application.id, url, kind, config,
                 endpoint.metadata, description, auth_username, auth_password, secret,
                 previous_secret, previous_secret_until, is_active, endpoint.created_at,
                 endpoint.updated_at
             FROM endpoint JOIN environment ON environment.row = endpoint.environment
             LEFT JOIN application ON application.row = endpoint.application
             WHERE endpoint.workspace = ?1 AND endpoint.deleted_at IS NULL ORDER BY endpoint.row",
        )?
        .query_map([row], |row| endpoint_at(row, workspace))?
        .collect()
}

fn endpoint_at(row: &Row<'_>, workspace: WorkspaceId) -> rusqlite::Result<EndpointRecord> {
    let config: Map<String, Value> = json_at(row, 5)?;
    let metadata: BTreeMap<String, String> = json_at(row, 6)?;
    let previous: Option<String> = row.get(11)?;
    let signs_until = maybe_instant_at(row, 12)?;
    Ok(EndpointRecord {
        id: parsed_at(row, 0)?,
        workspace,
        environment: parsed_at(row, 1)?,
        application: maybe_parsed_at(row, 2)?,
        url: row.get(3)?,
        kind: endpoint_kind_at(row, 4)?,
        config,
        metadata,
        description: row.get(7)?,
        auth: auth_at(row, 8)?,
        secret: SecretText::new(row.get::<_, String>(10)?),
        previous_secret: previous
            .zip(signs_until)
            .map(|(secret, signs_until)| RetiredSecret {
                secret: SecretText::new(secret),
                signs_until,
            }),
        is_active: row.get(13)?,
        created_at: instant_at(row, 14)?,
        updated_at: instant_at(row, 15)?,
    })
}

fn subscriptions(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<SubscriptionRecord>> {
    connection
        .prepare_cached(
            "SELECT subscription.id, endpoint.id, event_type.id, subscription.created_at
             FROM subscription JOIN endpoint ON endpoint.row = subscription.endpoint
             JOIN event_type ON event_type.row = subscription.event_type
             WHERE subscription.workspace = ?1
               AND endpoint.deleted_at IS NULL AND event_type.deleted_at IS NULL
             ORDER BY subscription.row",
        )?
        .query_map([row], |row| {
            Ok(SubscriptionRecord {
                id: parsed_at(row, 0)?,
                workspace,
                endpoint: parsed_at(row, 1)?,
                event_type: parsed_at(row, 2)?,
                created_at: instant_at(row, 3)?,
            })
        })?
        .collect()
}

fn publications(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<PublicationRecord>> {
    connection
        .prepare_cached(
            "SELECT environment.id, event_type.id
             FROM publication JOIN environment ON environment.row = publication.environment
             JOIN event_type ON event_type.row = publication.event_type
             WHERE publication.workspace = ?1 AND environment.deleted_at IS NULL
               AND event_type.deleted_at IS NULL
             ORDER BY publication.row",
        )?
        .query_map([row], |row| {
            Ok(PublicationRecord {
                workspace,
                environment: parsed_at(row, 0)?,
                event_type: parsed_at(row, 1)?,
            })
        })?
        .collect()
}

pub(super) fn api_keys(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<ApiKeyRecord>> {
    connection
        .prepare_cached(
            "SELECT api_key.id, environment.id, endpoint.id, api_key.name, hash, state,
                 api_key.created_at
             FROM api_key LEFT JOIN environment ON environment.row = api_key.environment
             LEFT JOIN endpoint ON endpoint.row = api_key.endpoint
             WHERE api_key.workspace = ?1 ORDER BY api_key.row",
        )?
        .query_map([row], |row| {
            Ok(ApiKeyRecord {
                id: parsed_at(row, 0)?,
                workspace,
                environment: maybe_parsed_at(row, 1)?,
                endpoint: maybe_parsed_at(row, 2)?,
                name: row.get(3)?,
                hash: KeyHash::from_bytes(row.get(4)?),
                state: key_state_at(row, 5)?,
                created_at: instant_at(row, 6)?,
            })
        })?
        .collect()
}

fn management_tokens(
    connection: &Connection,
    row: i64,
    workspace: WorkspaceId,
) -> rusqlite::Result<Vec<ManagementTokenRecord>> {
    connection
        .prepare_cached(
            "SELECT id, name, hash, state, created_at FROM management_token
             WHERE workspace = ?1 ORDER BY row",
        )?
        .query_map([row], |row| {
            Ok(ManagementTokenRecord {
                id: parsed_at(row, 0)?,
                workspace,
                name: row.get(1)?,
                hash: KeyHash::from_bytes(row.get(2)?),
                state: key_state_at(row, 3)?,
                created_at: instant_at(row, 4)?,
            })
        })?
        .collect()
}

fn json_at<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let json = row.get_ref(column)?.as_str()?;
    serde_json::from_str(json).map_err(|error| unreadable(column, error))
}
