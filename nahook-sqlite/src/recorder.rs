//! Recording what a queue elsewhere does.

use std::collections::HashMap;

use nahook_core::StoreError;
use nahook_core::id::MessageId;
use nahook_queue::{Attempt, DeliveryRecorder, DeliveryState, LogEntry};
use rusqlite::{Connection, params};

use crate::SqliteStore;
use crate::publisher::insert_event;
use crate::record::endpoint_at;
use crate::row::{ELSEWHERE, delivery_key, nanos};
use crate::writer::Session;

/// The higher, the more it counts; of one kind of row.
macro_rules! standing_of {
    ($row:literal) => {
        concat!(
            $row,
            "attempts * 8 + CASE ",
            $row,
            "status WHEN 6 THEN 1 WHEN 8 THEN 2 WHEN 9 THEN 3 WHEN 7 THEN 4 ELSE 0 END"
        )
    };
}

/// One of the store's own queue stays as it is, which counts as no row.
const RECORD: &str = concat!(
    "INSERT INTO nahook_delivery AS known
         (key, endpoint, status, attempts, recorded_retry_at, first_attempt_at, delivered_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
     ON CONFLICT (key) DO UPDATE SET
         recorded_retry_at = CASE
             WHEN ", standing_of!("excluded."), " > ", standing_of!("known."), " THEN excluded.recorded_retry_at
             WHEN ", standing_of!("excluded."), " = ", standing_of!("known."), "
                 THEN max(known.recorded_retry_at, excluded.recorded_retry_at)
             ELSE known.recorded_retry_at END,
         delivered_at = CASE
             WHEN ", standing_of!("excluded."), " > ", standing_of!("known."), " THEN excluded.delivered_at
             WHEN ", standing_of!("excluded."), " = ", standing_of!("known."), "
                 THEN min(known.delivered_at, excluded.delivered_at)
             ELSE known.delivered_at END,
         status = CASE WHEN ", standing_of!("excluded."), " > ", standing_of!("known."), "
             THEN excluded.status ELSE known.status END,
         attempts = max(known.attempts, excluded.attempts),
         first_attempt_at = min(coalesce(known.first_attempt_at, excluded.first_attempt_at),
             coalesce(excluded.first_attempt_at, known.first_attempt_at)),
         updated_at = max(known.updated_at, excluded.updated_at)
     WHERE known.recorded_retry_at IS NOT NULL"
);

#[async_trait::async_trait]
impl DeliveryRecorder for SqliteStore {
    async fn record(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let entries = entries.to_vec();
        let work = move |session: &mut Session| record_all(session, &entries);
        self.shared().writer().run(work).await
    }
}

fn record_all(session: &mut Session, entries: &[LogEntry]) -> rusqlite::Result<()> {
    let mut widths: HashMap<MessageId, u32> = HashMap::new();
    for entry in entries {
        if let Some(ordinal) = entry.delivery.ordinal(entry.event.id) {
            let width = widths.entry(entry.event.id).or_default();
            *width = (*width).max(ordinal.saturating_add(1));
        }
    }
    let mut events: HashMap<MessageId, i64> = HashMap::new();
    for entry in entries {
        let event = &entry.event;
        let Some(workspace) = session.workspace(event.workspace)? else {
            continue;
        };
        let Some(endpoint) = session.endpoint_ever(entry.endpoint, workspace)? else {
            continue;
        };
        let Some(ordinal) = entry.delivery.ordinal(event.id) else {
            continue;
        };
        let seq = if let Some(seq) = events.get(&event.id) {
            *seq
        } else {
            let event_type = session.event_type(event, workspace)?;
            let width = widths.get(&event.id).copied().unwrap_or_default();
            let (seq, _) = insert_event(
                session.connection(),
                event,
                workspace,
                event_type,
                width,
                None,
            )?;
            events.insert(event.id, seq);
            seq
        };
        if let Some(key) = delivery_key(seq, ordinal) {
            record(session.connection(), key, endpoint, entry)?;
        }
    }
    Ok(())
}

fn record(
    connection: &Connection,
    key: i64,
    endpoint: i64,
    entry: &LogEntry,
) -> rusqlite::Result<()> {
    if endpoint_at(connection, key)?.is_some() {
        return Ok(());
    }
    let began_at = entry
        .attempt
        .as_ref()
        .filter(|attempt| attempt.was_made())
        .map(|attempt| nanos(attempt.started_at));
    let recorded = connection.prepare_cached(RECORD)?.execute(params![
        key,
        endpoint,
        i64::from(entry.state.code()) + ELSEWHERE,
        entry.attempts,
        entry.state.retry_at().map_or(0, nanos),
        began_at,
        (entry.state == DeliveryState::Delivered).then_some(nanos(entry.at)),
        nanos(entry.at),
    ])?;
    match &entry.attempt {
        Some(attempt) if recorded > 0 => record_attempt(connection, key, entry.attempts, attempt),
        _ => Ok(()),
    }
}

fn record_attempt(
    connection: &Connection,
    key: i64,
    number: u32,
    attempt: &Attempt,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO nahook_attempt AS known (delivery, number, started_at, duration, status_code, error, response_body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (delivery, number) DO UPDATE SET
                 started_at = excluded.started_at, duration = excluded.duration,
                 status_code = excluded.status_code, error = excluded.error,
                 response_body = excluded.response_body
             WHERE excluded.started_at < known.started_at",
        )?
        .execute(params![
            key,
            number,
            nanos(attempt.started_at),
            i64::try_from(attempt.duration.as_nanos()).unwrap_or(i64::MAX),
            attempt.status_code,
            attempt.error,
 attempt.response_body,
        ])?;
    Ok(())
}
