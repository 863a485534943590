//! The delivery log.

use bytes::Bytes;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{IdempotencyKey, Metadata, Payload, StoreError};
use nahook_queue::{Attempt, AttemptRecord, DeliveryLog, DeliveryRecord, DeliveryStatus};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::SqliteStore;
use crate::record::endpoint_at;
use crate::row::{
    delivery_key, duration_at, instant, instant_at, maybe_instant_at, maybe_parsed_at, message_at,
    parsed_at, split_key, status_at, unreadable,
};

/// The event with the greatest id below the given one: a delivery's, if it is the event's.
const EVENT: &str =
    "SELECT event.seq, event.id, workspace.id
             FROM nahook_event AS event JOIN nahook_workspace AS workspace ON workspace.row = event.workspace
             WHERE event.seq = (SELECT seq FROM nahook_event AS event WHERE id < ?1 ORDER BY id DESC LIMIT 1)";

/// The delivery with a key as the log shows it.
const RECORD: &str =
    "SELECT event.id, endpoint.id, event_type.id, event.metadata, event.accepted_at,
                 delivery.status, attempts, coalesce(due_at, recorded_retry_at), first_attempt_at,
                 delivered_at, delivery.updated_at, event.payload IS NOT NULL,
                 event.idempotency_key
             FROM nahook_delivery AS delivery JOIN nahook_event AS event ON event.seq = delivery.key >> 20
             JOIN nahook_endpoint AS endpoint ON endpoint.row = delivery.endpoint
             LEFT JOIN nahook_event_type AS event_type ON event_type.row = event.event_type
             WHERE delivery.key = ?1";

/// The delivery with a key that is in a record and no row, for an endpoint's row.
const FRESH: &str =
    "SELECT event.id, endpoint.id, event_type.id, event.metadata, event.accepted_at,
                 0, 0, NULL, NULL, NULL, NULL, event.payload IS NOT NULL, event.idempotency_key
             FROM nahook_event AS event JOIN nahook_queued AS queued ON queued.audience = event.audience AND queued.event = event.seq
             JOIN nahook_endpoint AS endpoint ON endpoint.row = ?2
             LEFT JOIN nahook_event_type AS event_type ON event_type.row = event.event_type
             WHERE event.seq = ?1 >> 20";

/// The attempts of the delivery with a key.
const ATTEMPTS: &str =
    "SELECT number, started_at, duration, status_code, error, response_body FROM nahook_attempt
             WHERE delivery = ?1 ORDER BY number";

#[async_trait::async_trait]
impl DeliveryLog for SqliteStore {
    async fn delivery(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let workspace = *workspace;
        let shared = self.shared();
        let found = shared
            .readers()
            .read(move |connection| match find(connection, id, workspace)? {
                Some(key) => Ok(record(connection, key)?.map(|record| (key, record))),
                None => Ok(None),
            })
            .await?;
        Ok(found.map(|(key, mut record)| {
            let is_leased = shared.queue().state().is_leased(key, shared.now());
            record.status = record.status.while_leased(is_leased);
            record
        }))
    }

    async fn attempts(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError> {
        let workspace = *workspace;
        self.shared()
            .readers()
            .read(move |connection| match find(connection, id, workspace)? {
                Some(key) => attempts(connection, key).map(Some),
                None => Ok(None),
            })
            .await
    }

    async fn payload(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Payload>, StoreError> {
        let workspace = *workspace;
        self.shared()
            .readers()
            .read(move |connection| match find(connection, id, workspace)? {
                Some(key) => payload(connection, key),
                None => Ok(None),
            })
            .await
    }
}

/// The delivery's key, if the workspace has it: its event is the one with the greatest id below its own.
pub(crate) fn find(
    connection: &Connection,
    id: DeliveryId,
    workspace: WorkspaceId,
) -> rusqlite::Result<Option<i64>> {
    let event = connection
        .prepare_cached(EVENT)?
        .query_row([id.as_bits().to_be_bytes().as_slice()], |row| {
            let owner: WorkspaceId = parsed_at(row, 2)?;
            Ok((row.get(0)?, message_at(row, 1)?, owner))
        })
        .optional()?;
    let Some((seq, message, _)) = event.filter(|(_, _, owner)| *owner == workspace) else {
        return Ok(None);
    };
    let Some(key) = id
        .ordinal(message)
        .and_then(|ordinal| delivery_key(seq, ordinal))
    else {
        return Ok(None);
    };
    let is_row = connection
        .prepare_cached("SELECT 1 FROM nahook_delivery WHERE key = ?1")?
        .exists([key])?;
    let is_there = is_row || endpoint_at(connection, key)?.is_some();
    Ok(is_there.then_some(key))
}

/// The delivery as the file has it.
pub(crate) fn record(
    connection: &Connection,
    key: i64,
) -> rusqlite::Result<Option<DeliveryRecord>> {
    if let Some(record) = read(connection, RECORD, key, None)? {
        return Ok(Some(record));
    }
    match endpoint_at(connection, key)? {
        Some(endpoint) => read(connection, FRESH, key, Some(endpoint)),
        None => Ok(None),
    }
}

/// The delivery as the file has it. If it is no row, it is one of its event's record, for this endpoint.
pub(crate) fn record_for(
    connection: &Connection,
    key: i64,
    endpoint: i64,
) -> rusqlite::Result<Option<DeliveryRecord>> {
    let record = read(connection, RECORD, key, None)?;
    record.map_or_else(
        || read(connection, FRESH, key, Some(endpoint)),
        |record| Ok(Some(record)),
    )
}

fn read(
    connection: &Connection,
    statement: &str,
    key: i64,
    endpoint: Option<i64>,
) -> rusqlite::Result<Option<DeliveryRecord>> {
    let numbers = [Some(key), endpoint].into_iter().flatten();
    connection
        .prepare_cached(statement)?
        .query_row(params_from_iter(numbers), |row| {
            let status = status_at(row, 5)?;
            let created_at = instant_at(row, 4)?;
            let message = message_at(row, 0)?;
            let id = DeliveryId::nth(message, split_key(key).1);
            Ok(DeliveryRecord {
                id,
                message,
                endpoint: parsed_at::<EndpointId>(row, 1)?,
                idempotency_key: key_at(row, 12)?.unwrap_or_else(|| IdempotencyKey::of(id)),
                event_type: maybe_parsed_at(row, 2)?,
                metadata: metadata_at(row, 3)?,
                status,
                attempts: row.get(6)?,
                first_attempt_at: maybe_instant_at(row, 8)?,
                delivered_at: maybe_instant_at(row, 9)?,
                next_retry_at: maybe_instant_at(row, 7)?
                    .filter(|_| status == DeliveryStatus::ScheduledRetry),
                has_payload: row.get(11)?,
                created_at,
                updated_at: maybe_instant_at(row, 10)?.unwrap_or(created_at),
            })
        })
        .optional()
}

/// The caller's key in a column.
fn key_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<IdempotencyKey>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(column, error))?;
    let key = IdempotencyKey::new(text).map_err(|error| unreadable(column, error))?;
    Ok(Some(key))
}

pub(crate) fn metadata_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Metadata> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(json) => serde_json::from_str(json).map_err(|error| unreadable(column, error)),
        None => Ok(Metadata::default()),
    }
}

fn attempts(connection: &Connection, key: i64) -> rusqlite::Result<Vec<AttemptRecord>> {
    connection
        .prepare_cached(ATTEMPTS)?
        .query_map(params![key], |row| {
            let attempt = Attempt {
                started_at: instant(row.get(1)?),
                duration: duration_at(row, 2)?,
                status_code: row.get(3)?,
                error: row.get(4)?,
                response_body: row.get(5)?,
            };
            Ok(AttemptRecord {
                number: row.get(0)?,
                attempt,
            })
        })?
        .collect()
}

fn payload(connection: &Connection, key: i64) -> rusqlite::Result<Option<Payload>> {
    let json: Option<Vec<u8>> = connection
        .prepare_cached("SELECT payload FROM nahook_event WHERE seq = ?1 >> 20")?
        .query_row([key], |row| row.get(0))?;
    Ok(json.map(|json| Payload::from_stored(Bytes::from(json))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{empty, plan_of};

    #[test]
    fn every_statement_goes_by_an_index() {
        let connection = empty();
        for statement in [EVENT, RECORD, FRESH, ATTEMPTS] {
            let plan = plan_of(&connection, statement);
            let goes_on = |step: &&String| step.contains("SCAN") || step.contains("TEMP B-TREE");
            assert_eq!(plan.iter().find(goes_on), None, "{statement}: {plan:?}");
            assert!(
                plan.iter().any(|step| step.starts_with("SEARCH")),
                "{plan:?}"
            );
        }
    }
}
