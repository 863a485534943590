//! Queueing inside a transaction of the app's own on the same file: its data and the deliveries, or neither.

#[cfg(feature = "sqlx")]
mod sqlx;

use nahook_core::id::{EndpointId, EnvironmentId, MessageId, WorkspaceId};
use nahook_core::{Delivery, EventTypeName, NewEvent, Receipt, Scope, StoreError, TriggerError};
use rusqlite::{Connection, params};
use tracing::Span;

use crate::catalog::{create_event_type, event_type_id};
use crate::error::store_error;
use crate::publisher::metadata_json;
use crate::row::{nanos, parsed_at, split_key};
use crate::writer::{CATALOG_CHANGED, WORKSPACE_CHANGED};
use crate::{Role, SqliteStore};

/// Changes nothing and takes the file's lock. A deferred transaction that begins by reading is refused at once, and does not
/// wait for its busy timeout, if somebody else writes before it does.
const BEGIN_WRITING: &str = "DELETE FROM nahook_submission WHERE FALSE";

const TRIGGER: &str =
    "INSERT INTO nahook_trigger (workspace, event_type, payload, metadata, environment, id, accepted_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// The deliveries that were just queued, in the order of subscribing.
const DELIVERIES: &str = "SELECT fresh.key, endpoint.id
     FROM nahook_event AS event
     JOIN nahook_fresh AS fresh ON fresh.event = event.seq
     JOIN nahook_endpoint AS endpoint ON endpoint.row = fresh.endpoint
     WHERE event.id = ?1 ORDER BY fresh.key";

impl SqliteStore {
    /// Queues `event` for every subscribed endpoint within the transaction that `connection` has open: once that commits, and
    /// not if it does not.
    ///
    /// The connection has to be to the store's file. The rows are ordinary ones of that transaction, so they survive
    /// whatever the app's commit survives. The store takes them up within milliseconds after the commit, or when it is next opened. It
    /// flushes the file to disk before it lets anything be sent, also where the app commits with `synchronous=NORMAL`.
    ///
    /// Blocks as any statement of the app's does. Until the transaction ends nothing else can be written to the file: what
    /// this store is asked to write waits for [`busy_timeout`](crate::SqliteSettings::busy_timeout) and is then refused.
    ///
    /// # Errors
    /// Whatever fails here leaves the transaction as it was before. A receipt counts once the transaction has committed.
    pub fn trigger_in(
        &self,
        connection: &Connection,
        event: &NewEvent,
        scope: impl Into<Scope>,
    ) -> Result<Receipt, TriggerError> {
        let scope = scope.into();
        let span = span(event, scope);
        let _entered = span.enter();
        self.check_file(connection.path().unwrap_or_default())
            .map_err(TriggerError::StoreUnavailable)?;
        let now = self.shared().now();
        let message = MessageId::from_parts(now, self.shared().ids().random());
        let queued = || -> rusqlite::Result<Option<Receipt>> {
            connection.execute_batch(BEGIN_WRITING)?;
            let Some(event_type) = event_type_id(connection, &event.event_type, scope.workspace)?
            else {
                return Ok(None);
            };
            connection.prepare_cached(TRIGGER)?.execute(params![
                scope.workspace.as_str(),
                event.event_type.as_str(),
                event.payload.as_bytes().as_ref(),
                metadata_json(&event.metadata)?,
                scope.environment.as_ref().map(EnvironmentId::as_str),
                message.as_bits().to_be_bytes().as_slice(),
                nanos(now),
            ])?;
            let deliveries = deliveries(connection, message)?;
            Ok(Some(Receipt::new(message, event_type, deliveries)))
        };
        let receipt = queued()
            .map_err(|error| TriggerError::StoreUnavailable(store_error(error)))?
            .ok_or(TriggerError::UnknownEventType)?;
        // The transaction holds the lock of the file: what the writer begins with is begun when it has ended.
        self.adopt();
        Ok(receipt)
    }

    /// Makes the event type within the transaction that `connection` has open, unless it exists.
    ///
    /// # Errors
    /// Whatever fails here leaves the transaction as it was before.
    pub fn ensure_event_type_in(
        &self,
        connection: &Connection,
        name: &EventTypeName,
        workspace: WorkspaceId,
    ) -> Result<(), StoreError> {
        self.check_file(connection.path().unwrap_or_default())?;
        let made = || -> rusqlite::Result<()> {
            connection.execute_batch(BEGIN_WRITING)?;
            if event_type_id(connection, name, workspace)?.is_some() {
                return Ok(());
            }
            let drawn = self.new_event_type(name.clone(), workspace);
            connection.execute_batch("SAVEPOINT nahook_event_type")?;
            let made = create_event_type(connection, &drawn, self.shared().ids())
                .and_then(|_| connection.execute(WORKSPACE_CHANGED, [workspace.as_str()]))
                .and_then(|_| connection.execute_batch(CATALOG_CHANGED));
            if made.is_err() {
                connection.execute_batch("ROLLBACK TO nahook_event_type")?;
            }
            connection.execute_batch("RELEASE nahook_event_type")?;
            made
        };
        made().map_err(store_error)
    }

    /// Takes up what other connections to the file have queued, once the transaction that is open on one of them has ended.
    ///
    /// [`trigger_in`](Self::trigger_in) does this by itself. Call it after inserting into `nahook_trigger` without it;
    /// otherwise that is noticed within half a second.
    pub fn adopt(&self) {
        // A tool leaves it to the server, which looks after its file by itself.
        if self.shared().role() == Role::Server {
            self.shared().writer().adopt();
        }
    }

    fn check_file(&self, path: &str) -> Result<(), StoreError> {
        if self.shared().is_file(path.as_ref()) {
            return Ok(());
        }
        Err(StoreError::internal(OtherFile))
    }
}

/// The transaction is on another file than the store's, which would know nothing of what is queued there.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the transaction is on another file than the store's")]
struct OtherFile;

/// As the engine names it for every other trigger.
fn span(event: &NewEvent, scope: Scope) -> Span {
    tracing::debug_span!(
        target: "nahook", "nahook.trigger",
        workspace_id = %scope.workspace, event_type = %event.event_type, events = 1
    )
}

fn deliveries(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<Delivery>> {
    let id = message.as_bits().to_be_bytes();
    connection
        .prepare_cached(DELIVERIES)?
        .query_map([id.as_slice()], |row| {
            Ok(queued(message, row.get(0)?, parsed_at(row, 1)?))
        })?
        .collect()
}

fn queued(message: MessageId, key: i64, endpoint: EndpointId) -> Delivery {
    let mut delivery = Delivery::new(message, split_key(key).1, endpoint);
    delivery.mark_published();
    delivery
}
