//! One delivery of the history, and what is recorded of it.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::rules::ERROR_LEN_MAX;
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId};
use nahook_core::{Event, IdempotencyKey, Metadata, Payload, Timestamp};
use nahook_queue::{Attempt, DeliveryState, DeliveryStatus, LogEntry};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Known;

/// Error of the entry of a delivery whose first attempt was under way elsewhere.
const UNDER_WAY: &str = "not attempted: another server was attempting it, and the outcome is not in the imported history";

/// A delivery, with the names that the Management API gives its fields. What is not named here is passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    id: String,
    endpoint_id: EndpointId,
    event_type_id: Option<EventTypeId>,
    idempotency_key: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    status: String,
    created_at: String,
    updated_at: Option<String>,
    delivered_at: Option<String>,
    next_retry_at: Option<String>,
    /// The payload itself; absent or null if it is not kept.
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    attempts: Vec<AttemptLine>,
}

/// An attempt, the oldest first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttemptLine {
    response_status_code: Option<u16>,
    response_time_ms: Option<u64>,
    error_message: Option<String>,
    response_body: Option<String>,
    created_at: String,
}

impl Line {
    /// Returns the entries to record at `now`, at least one, or the reason that there are none.
    pub(super) fn entries(self, known: &Known, now: Timestamp) -> Result<Vec<LogEntry>, String> {
        let delivery: DeliveryId = self.id.parse().map_err(|error| format!("id: {error}"))?;
        if !known.endpoints.contains(&self.endpoint_id) {
            return Err(format!(
                "the workspace has no endpoint {}",
                self.endpoint_id
            ));
        }
        let created_at = instant("createdAt", &self.created_at)?;
        let attempts = self.attempts.into_iter().map(AttemptLine::attempt);
        let mut attempts = attempts.collect::<Result<Vec<_>, _>>()?;
        let given =
            |name: &str, text: Option<&String>| text.map(|it| instant(name, it)).transpose();
        let updated_at = given("updatedAt", self.updated_at.as_ref())?;
        let delivered_at = given("deliveredAt", self.delivered_at.as_ref())?;
        let next_retry_at = given("nextRetryAt", self.next_retry_at.as_ref())?;
        let ended_at = attempts.last().map_or(created_at, end);
        let at = delivered_at.or(updated_at).unwrap_or(ended_at);
        // An attempt that was under way elsewhere is not known to have ended. The delivery is shown as it stood before; one
        // that would wait for a first attempt, which nobody makes, is given up.
        let status = DeliveryStatus::parse(&self.status);
        let status = status.ok_or_else(|| format!("{:?} is not a status", self.status))?;
        let state = match DeliveryState::of(status, next_retry_at.unwrap_or(at)) {
            None if attempts.is_empty() => {
                attempts.push(under_way(now));
                DeliveryState::Failed
            }
            Some(state) if state.has_ended() => state,
            _ if attempts.is_empty() => DeliveryState::Pending,
            _ => DeliveryState::Retry(next_retry_at.unwrap_or(at)),
        };
        let mut event = Event::direct(
            payload(self.payload.as_deref())?,
            delivery.message_if_first(),
            known.workspace,
            self.idempotency_key
                .map(|key| IdempotencyKey::new(&key))
                .transpose()
                .map_err(|error| format!("idempotencyKey: {error}"))?,
            created_at,
        );
        event.metadata = Metadata::new(self.metadata.into()).map_err(|error| error.to_string())?;
        event.event_type = match self.event_type_id {
            None => None,
            Some(id) => {
                let found = known.event_types.get(&id).cloned();
                Some(found.ok_or_else(|| format!("the workspace has no event type {id}"))?)
            }
        };
        let event = Arc::new(event);
        let entry = |attempts: usize, attempt: Option<Attempt>, state, at| LogEntry {
            event: Arc::clone(&event),
            delivery,
            endpoint: self.endpoint_id,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            attempt,
            state,
            at,
        };
        let count = attempts.len();
        let mut entries: Vec<_> = attempts
            .into_iter()
            .enumerate()
            .map(|(before, attempt)| {
                let ended_at = end(&attempt);
                entry(
                    before + 1,
                    Some(attempt),
                    DeliveryState::Retry(ended_at),
                    ended_at,
                )
            })
            .collect();
        match entries.last_mut() {
            Some(last) => (last.state, last.at) = (state, at),
            None => entries.push(entry(count, None, state, at)),
        }
        Ok(entries)
    }
}

impl AttemptLine {
    fn attempt(self) -> Result<Attempt, String> {
        let error = self.error_message.as_deref().unwrap_or_default();
        if error.chars().count() > ERROR_LEN_MAX {
            return Err(format!(
                "errorMessage of an attempt is longer than {ERROR_LEN_MAX} characters"
            ));
        }
        Ok(Attempt {
            started_at: instant("createdAt of an attempt", &self.created_at)?,
            duration: Duration::from_millis(self.response_time_ms.unwrap_or(0)),
            status_code: self.response_status_code,
            // Postgres stores no NUL in a text.
            error: self
                .error_message
                .map(|text| text.replace('\0', "\u{fffd}")),
            response_body: self
                .response_body
                .and_then(|body| Attempt::body_text(body.as_bytes())),
        })
    }
}

/// Returns the entry that says why a delivery was given up. It begins later than the attempt that it stands for, so that a
/// later import of that one takes its place.
fn under_way(now: Timestamp) -> Attempt {
    Attempt {
        started_at: now,
        duration: Duration::ZERO,
        status_code: None,
        error: Some(UNDER_WAY.to_owned()),
        response_body: None,
    }
}

fn end(attempt: &Attempt) -> Timestamp {
    attempt.started_at.saturating_add(attempt.duration)
}

fn payload(json: Option<&RawValue>) -> Result<Payload, String> {
    match json.map(RawValue::get) {
        None | Some("null") => Ok(Payload::not_kept()),
        Some(text) => Payload::new(text.to_owned()).map_err(|error| error.to_string()),
    }
}

fn instant(name: &str, text: &str) -> Result<Timestamp, String> {
    nahook_http::parse_instant(text)
        .ok_or_else(|| format!("{name}: {text:?} is not an instant in ISO 8601"))
}
