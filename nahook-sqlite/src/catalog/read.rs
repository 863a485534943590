//! Reading the catalog for its own calls.

use nahook_control::{Manifest, Select, Snapshot, WorkspaceRecord};
use nahook_core::EventTypeName;
use nahook_core::id::{EventTypeId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{
    PUBLICATION, SUBSCRIPTION, WORKSPACE, publication_at, subscription_at, workspace_at,
};
use super::select::add;
use crate::row::parsed_at;

/// Rows of a workspace that a manifest may change, besides its subscriptions and publications.
const MANIFEST_ROWS: [Select; 7] = [
    Select::ApiKeys,
    Select::Applications {
        offset: 0,
        limit: u64::MAX,
    },
    Select::Endpoints,
    Select::Environments,
    Select::EventTypes,
    Select::ManagementTokens,
    Select::Patterns,
];

pub(super) fn workspaces(connection: &Connection) -> rusqlite::Result<Vec<WorkspaceRecord>> {
    connection
        .prepare_cached(&format!("{WORKSPACE} ORDER BY row"))?
        .query_map([], workspace_at)?
        .collect()
}

/// The id of a workspace's event type of this name.
pub(crate) const EVENT_TYPE_ID: &str = "SELECT event_type.id
     FROM nahook_event_type AS event_type JOIN nahook_workspace AS workspace ON workspace.row = event_type.workspace
     WHERE workspace.id = ?1 AND event_type.name = ?2 AND event_type.deleted_at IS NULL";

pub(crate) fn event_type_id(
    connection: &Connection,
    name: &EventTypeName,
    workspace: WorkspaceId,
) -> rusqlite::Result<Option<EventTypeId>> {
    connection
        .prepare_cached(EVENT_TYPE_ID)?
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
            .prepare_cached(&format!("{WORKSPACE} WHERE {column} = ?1"))?
            .query_row([value], |row| Ok((workspace_at(row)?, row.get(0)?)))
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
        for select in &MANIFEST_ROWS {
            add(&mut snapshot, connection, (row, id), select)?;
        }
        let statement = format!(
            "{SUBSCRIPTION} WHERE subscription.workspace = ?1 AND subscription.is_named ORDER BY subscription.row"
        );
        for found in connection
            .prepare_cached(&statement)?
            .query_map([row], |row| subscription_at(row, id))?
        {
            snapshot.subscriptions.push(found?);
        }
        let statement =
            format!("{PUBLICATION} WHERE publication.workspace = ?1 ORDER BY publication.row");
        for found in connection
            .prepare_cached(&statement)?
            .query_map([row], |row| publication_at(row, id))?
        {
            snapshot.publications.push(found?);
        }
    }
    Ok(snapshot)
}
