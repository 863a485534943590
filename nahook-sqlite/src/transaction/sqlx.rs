//! Transactions of `sqlx`.

use nahook_control::{Actor, AuditEntry, pattern_prefixes};
use nahook_core::id::{EndpointId, EnvironmentId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{Delivery, EventTypeName, NewEvent, Receipt, Scope, StoreError, TriggerError};
use rusqlite::ffi;
use serde::Serialize;
use sqlx::error::DatabaseError;
use sqlx::{SqliteConnection, query, query_as, query_scalar};
use tracing::Instrument as _;

use super::{BEGIN_WRITING, DELIVERIES, TRIGGER, queued, span};
use crate::SqliteStore;
use crate::audit;
use crate::catalog::{EVENT_TYPE_ID, SUBSCRIBE_MATCHING};
use crate::error::store_error;
use crate::publisher::metadata_json;
use crate::row::nanos;
use crate::writer::{CATALOG_CHANGED, WORKSPACE_CHANGED};

impl SqliteStore {
    /// Queues `event` as [`trigger_in`](Self::trigger_in) does, within the transaction that a connection of `sqlx` has open.
    ///
    /// # Errors
    /// Whatever fails here leaves the transaction as it was before. A receipt counts once the transaction has committed.
    ///
    /// # Cancellation
    /// Dropping the future leaves the transaction in an unknown state: roll it back.
    pub async fn trigger_in_sqlx(
        &self,
        connection: &mut SqliteConnection,
        event: &NewEvent,
        scope: impl Into<Scope>,
    ) -> Result<Receipt, TriggerError> {
        let scope = scope.into();
        let now = self.shared().now();
        let message = MessageId::from_parts(now, self.shared().ids().random());
        let queued = async {
            self.check_file(&file(connection).await?)?;
            execute(connection, BEGIN_WRITING).await?;
            let (name, workspace) = (event.event_type.as_str(), scope.workspace);
            let Some(event_type) = event_type_id(connection, name, workspace).await? else {
                return Ok(None);
            };
            query(TRIGGER)
                .bind(workspace.as_str())
                .bind(name)
                .bind(event.payload.as_bytes().as_ref())
                .bind(metadata_json(&event.metadata).map_err(store_error)?)
                .bind(scope.environment.as_ref().map(EnvironmentId::as_str))
                .bind(message.as_bits().to_be_bytes().as_slice())
                .bind(nanos(now))
                .execute(&mut *connection)
                .await
                .map_err(refused)?;
            let deliveries = deliveries(connection, message).await?;
            Ok(Some(Receipt::new(message, event_type, deliveries)))
        };
        let receipt = queued.instrument(span(event, scope)).await;
        let receipt = receipt.map_err(TriggerError::StoreUnavailable)?;
        // The transaction holds the lock of the file: what the writer begins with is begun when it has ended.
        self.adopt();
        receipt.ok_or(TriggerError::UnknownEventType)
    }

    /// Makes the event type within the transaction that a connection of `sqlx` has open, unless it exists.
    ///
    /// # Errors
    /// Whatever fails here leaves the transaction as it was before.
    pub async fn ensure_event_type_in_sqlx(
        &self,
        connection: &mut SqliteConnection,
        name: &EventTypeName,
        workspace: WorkspaceId,
    ) -> Result<(), StoreError> {
        self.check_file(&file(connection).await?)?;
        execute(connection, BEGIN_WRITING).await?;
        let known = event_type_id(connection, name.as_str(), workspace).await?;
        if known.is_some() {
            return Ok(());
        }
        execute(connection, "SAVEPOINT nahook_event_type").await?;
        let made = self.make_event_type(connection, name, workspace).await;
        if made.is_err() {
            execute(connection, "ROLLBACK TO nahook_event_type").await?;
        }
        execute(connection, "RELEASE nahook_event_type").await?;
        made
    }

    async fn make_event_type(
        &self,
        connection: &mut SqliteConnection,
        name: &EventTypeName,
        workspace: WorkspaceId,
    ) -> Result<(), StoreError> {
        let drawn = self.new_event_type(name.clone(), workspace);
        let made = query(
            "INSERT INTO nahook_event_type (id, workspace, name, created_at)
             SELECT ?1, row, ?3, ?4 FROM nahook_workspace WHERE id = ?2",
        )
        .bind(drawn.id.as_str())
        .bind(workspace.as_str())
        .bind(name.as_str())
        .bind(nanos(drawn.created_at))
        .execute(&mut *connection)
        .await
        .map_err(refused)?;
        if made.rows_affected() == 0 {
            return Ok(());
        }
        query(SUBSCRIBE_MATCHING)
            .bind(drawn.id.as_str())
            .bind(nanos(drawn.created_at))
            .bind(json(&pattern_prefixes(name))?)
            .execute(&mut *connection)
            .await
            .map_err(refused)?;
        let (now, ids) = (drawn.created_at, self.shared().ids());
        let resource = ("event_type", drawn.id.to_string());
        let entry = AuditEntry::new(workspace, &Actor::system(), resource, "created", now, ids);
        query(audit::INSERT)
            .bind(entry.id.as_str())
            .bind(entry.workspace.as_str())
            .bind(entry.actor.kind.as_str())
            .bind(entry.actor.id)
            .bind(entry.actor.label)
            .bind(entry.action)
            .bind(entry.resource_type)
            .bind(entry.resource_id)
            .bind(json(&entry.metadata)?)
            .bind(nanos(entry.created_at))
            .execute(&mut *connection)
            .await
            .map_err(refused)?;
        query(WORKSPACE_CHANGED)
            .bind(workspace.as_str())
            .execute(&mut *connection)
            .await
            .map_err(refused)?;
        execute(connection, CATALOG_CHANGED).await
    }
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::internal)
}

/// Path of the connection's file.
async fn file(connection: &mut SqliteConnection) -> Result<String, StoreError> {
    query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'")
        .fetch_one(connection)
        .await
        .map_err(refused)
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), StoreError> {
    query(statement)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(refused)
}

async fn event_type_id(
    connection: &mut SqliteConnection,
    name: &str,
    workspace: WorkspaceId,
) -> Result<Option<EventTypeId>, StoreError> {
    let found: Option<String> = query_scalar(EVENT_TYPE_ID)
        .bind(workspace.as_str())
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(refused)?;
    let id = found.map(|id| EventTypeId::new(&id)).transpose();
    id.map_err(StoreError::internal)
}

async fn deliveries(
    connection: &mut SqliteConnection,
    message: MessageId,
) -> Result<Vec<Delivery>, StoreError> {
    let rows: Vec<(i64, String)> = query_as(DELIVERIES)
        .bind(message.as_bits().to_be_bytes().as_slice())
        .fetch_all(connection)
        .await
        .map_err(refused)?;
    let delivery = |(key, endpoint): (i64, String)| {
        let endpoint = EndpointId::new(&endpoint).map_err(StoreError::internal)?;
        Ok(queued(message, key, endpoint))
    };
    rows.into_iter().map(delivery).collect()
}

/// Sorts an error as if it had come from the store's own connection.
fn refused(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(DatabaseError::code);
    match code.and_then(|code| code.parse().ok()) {
        Some(code) => {
            let message = Some(error.to_string());
            store_error(rusqlite::Error::SqliteFailure(
                ffi::Error::new(code),
                message,
            ))
        }
        None => StoreError::unavailable(error),
    }
}
