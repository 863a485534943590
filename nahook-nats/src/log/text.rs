//! The messages of the log's stream: records as the queue's are, with what became of each delivery beside it.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use nahook_core::Timestamp;
use nahook_core::id::MessageId;
use nahook_queue::{Attempt, DeliveryState, DeliveryStatus, LogEntry};
use serde::{Deserialize, Serialize};

use crate::record::{Item, Malformed, Part, part_of, read as read_record};

/// Log entry of the delivery at the same place.
#[derive(Deserialize, Serialize)]
struct Row {
    at: u64,
    /// The word of the API.
    status: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<Told>,
}

#[derive(Deserialize, Serialize)]
struct Told {
    started_at: u64,
    duration: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
}

/// Writes entries of one event as a part of a record.
pub(super) fn part(entries: &[&LogEntry]) -> Option<Part> {
    let event = &entries.first()?.event;
    let items: Vec<_> = entries
        .iter()
        .map(|entry| Item {
            delivery: entry.delivery,
            endpoint: entry.endpoint,
            attempts: entry.attempts,
            due_at: None,
        })
        .collect();
    let mut part = part_of(event, &items);
    let rows: Vec<_> = entries.iter().map(|entry| row(entry)).collect();
    // One more member, before the brace that ends the others.
    part.json.pop();
    let _ = part.json.write_all(br#","log":"#);
    // Numbers, fixed words and text always serialise.
    let _ = serde_json::to_writer(&mut part.json, &rows);
    part.json.push(b'}');
    Some(part)
}

fn row(entry: &LogEntry) -> Row {
    let attempt = entry.attempt.as_ref().map(|attempt| Told {
        started_at: attempt.started_at.as_nanos(),
        duration: u64::try_from(attempt.duration.as_nanos()).unwrap_or(u64::MAX),
        status_code: attempt.status_code,
        error: attempt.error.clone(),
        response_body: attempt.response_body.clone(),
    });
    Row {
        at: entry.at.as_nanos(),
        status: entry.state.status().as_str().into(),
        retry_at: entry.state.retry_at().map(Timestamp::as_nanos),
        attempt,
    }
}

#[derive(Deserialize)]
struct Rows {
    events: Vec<RowsOfEvent>,
}

#[derive(Deserialize)]
struct RowsOfEvent {
    log: Vec<Row>,
}

/// Reads a message of the log's stream.
pub(super) fn read(body: &Bytes) -> Result<Vec<LogEntry>, Malformed> {
    let record = read_record(body)?;
    let rows: Rows = serde_json::from_slice(body).map_err(Malformed::Json)?;
    let mut entries = Vec::new();
    for (entry, rows) in record.into_iter().zip(rows.events) {
        for (item, row) in entry.items.into_iter().zip(rows.log) {
            let state = state(&row)?;
            entries.push(LogEntry {
                event: std::sync::Arc::clone(&entry.event),
                delivery: item.delivery,
                endpoint: item.endpoint,
                attempts: item.attempts,
                attempt: row.attempt.map(attempt),
                state,
                at: Timestamp::from_nanos(row.at),
            });
        }
    }
    Ok(entries)
}

fn state(row: &Row) -> Result<DeliveryState, Malformed> {
    let retry_at = Timestamp::from_nanos(row.retry_at.unwrap_or(row.at));
    DeliveryStatus::parse(&row.status)
        .and_then(|status| DeliveryState::of(status, retry_at))
        .ok_or_else(|| Malformed::Json(serde::de::Error::custom("no such status")))
}

fn attempt(told: Told) -> Attempt {
    Attempt {
        started_at: Timestamp::from_nanos(told.started_at),
        duration: Duration::from_nanos(told.duration),
        status_code: told.status_code,
        error: told.error,
        response_body: told.response_body,
    }
}

/// Puts entries of the same event together, each event's in their order.
pub(super) fn by_event(entries: &[LogEntry]) -> Vec<Vec<&LogEntry>> {
    let mut places: std::collections::HashMap<MessageId, usize> = std::collections::HashMap::new();
    let mut groups: Vec<Vec<&LogEntry>> = Vec::new();
    for entry in entries {
        let place = *places.entry(entry.event.id).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(entry);
    }
    groups
}
