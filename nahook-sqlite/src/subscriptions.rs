//! Look-up of subscribers.

use std::sync::Arc;

use nahook_control::endpoint_states;
use nahook_core::id::{EndpointId, EventTypeId};
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::readers::catalog_version;
use crate::row::parsed_at;

impl SubscriptionStore for SqliteStore {
    /// Answers from memory as long as no process has changed the workspace. What this process has changed and answered is
    /// seen by the next call, what another has within a millisecond.
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let shared = self.shared();
        let catalog = shared.readers().look_at_catalog().await?;
        let key = (*scope, event_type.clone());
        let changed_in = |_: &_| catalog.changed_in(&scope.workspace);
        if let Some(known) = shared.subscribers.get(&key, changed_in) {
            return Ok(known);
        }
        let (name, scope) = (event_type.clone(), *scope);
        let (version, found) = shared
            .readers()
            .read(move |connection| {
                Ok((
                    catalog_version(connection)?,
                    look_up(connection, &name, &scope)?,
                ))
            })
            .await?;
        let weight = 1 + found.as_ref().map_or(0, |found| found.endpoints.len());
        shared
            .subscribers
            .insert(version, key, found.clone(), weight);
        Ok(found)
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        endpoint_states(self, ids, scope).await
    }
}

fn look_up(
    connection: &Connection,
    name: &EventTypeName,
    scope: &Scope,
) -> rusqlite::Result<Option<Subscribers>> {
    let event_type: Option<(i64, EventTypeId)> = connection
        .prepare_cached(
            "SELECT event_type.row, event_type.id
             FROM nahook_event_type AS event_type JOIN nahook_workspace AS workspace ON workspace.row = event_type.workspace
             WHERE workspace.id = ?1 AND event_type.name = ?2 AND event_type.deleted_at IS NULL",
        )?
        .query_row(params![scope.workspace.as_str(), name.as_str()], |row| {
            Ok((row.get(0)?, parsed_at(row, 1)?))
        })
        .optional()?;
    let Some((row, event_type)) = event_type else {
        return Ok(None);
    };
    let endpoints = match scope.environment {
        Some(environment) => in_environment(connection, row, environment.as_str())?,
        None => in_all_environments(connection, row)?,
    };
    Ok(Some(Subscribers {
        event_type,
        endpoints: Arc::from(endpoints),
    }))
}

fn in_all_environments(
    connection: &Connection,
    event_type: i64,
) -> rusqlite::Result<Vec<EndpointId>> {
    connection
        .prepare_cached(
            "SELECT endpoint_id FROM nahook_subscriber WHERE event_type = ?1 ORDER BY row",
        )?
        .query_map([event_type], |row| parsed_at(row, 0))?
        .collect()
}

/// The default environment publishes every event type, any other those that are listed.
fn in_environment(
    connection: &Connection,
    event_type: i64,
    environment: &str,
) -> rusqlite::Result<Vec<EndpointId>> {
    connection
        .prepare_cached(
            "SELECT endpoint_id FROM nahook_subscriber
             WHERE event_type = ?1 AND environment_id = ?2 AND is_published ORDER BY row",
        )?
        .query_map(params![event_type, environment], |row| parsed_at(row, 0))?
        .collect()
}
