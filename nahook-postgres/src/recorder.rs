//! Recording what a queue elsewhere does, by one statement a batch.

use std::collections::HashMap;

use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{Event, StoreError};
use nahook_queue::{DeliveryRecorder, LogEntry};

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{Bits, delivery_key, nanos};
use crate::store::PostgresStore;

const RECORD: &str = "
SELECT record_entries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)";

#[async_trait::async_trait]
impl DeliveryRecorder for PostgresStore {
    async fn record(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for entry in entries {
            batch.add(entry)?;
        }
        if !batch.rounds.is_empty() {
            self.shared()
                .lender
                .query(RECORD, &batch.parameters())
                .await?;
        }
        Ok(())
    }
}

/// Events and entries by column.
#[derive(Default)]
struct Batch<'a> {
    numbers: HashMap<MessageId, i32>,
    seen: HashMap<DeliveryId, i32>,
    messages: Vec<Bits>,
    workspaces: Vec<&'a str>,
    type_ids: Vec<Option<&'a str>>,
    type_names: Vec<Option<&'a str>>,
    accepted: Vec<i64>,
    labels: Vec<Option<String>>,
    payloads: Vec<Option<&'a [u8]>>,
    keys: Vec<Option<&'a [u8]>>,
    rounds: Vec<i32>,
    events: Vec<i32>,
    ordinals: Vec<i32>,
    endpoints: Vec<&'a str>,
    statuses: Vec<i16>,
    attempts: Vec<i32>,
    retries: Vec<i64>,
    instants: Vec<i64>,
    starts: Vec<Option<i64>>,
    durations: Vec<Option<i64>>,
    status_codes: Vec<Option<i32>>,
    errors: Vec<Option<&'a str>>,
    bodies: Vec<Option<&'a str>>,
}

impl<'a> Batch<'a> {
    fn add(&mut self, entry: &'a LogEntry) -> Result<(), PgError> {
        let ordinal = entry.delivery.ordinal(entry.event.id);
        // One that no key has room for is no delivery that the log could show.
        let fits = ordinal.filter(|ordinal| delivery_key(0, *ordinal).is_some());
        let Some(ordinal) = fits.and_then(|ordinal| i32::try_from(ordinal).ok()) else {
            return Ok(());
        };
        let number = self.number_of(&entry.event)?;
        let round = self.seen.entry(entry.delivery).or_default();
        self.rounds.push(*round);
        *round += 1;
        let attempt = entry.attempt.as_ref();
        self.events.push(number);
        self.ordinals.push(ordinal);
        self.endpoints.push(entry.endpoint.as_str());
        self.statuses.push(entry.state.code().into());
        self.attempts
            .push(i32::try_from(entry.attempts).unwrap_or(i32::MAX));
        self.retries.push(entry.state.retry_at().map_or(0, nanos));
        self.instants.push(nanos(entry.at));
        self.starts
            .push(attempt.map(|attempt| nanos(attempt.started_at)));
        self.durations.push(
            attempt.map(|attempt| i64::try_from(attempt.duration.as_nanos()).unwrap_or(i64::MAX)),
        );
        self.status_codes
            .push(attempt.and_then(|attempt| attempt.status_code.map(i32::from)));
        self.errors
            .push(attempt.and_then(|attempt| attempt.error.as_deref()));
        self.bodies
            .push(attempt.and_then(|attempt| attempt.response_body.as_deref()));
        Ok(())
    }

    /// The event's number, counted from 1.
    fn number_of(&mut self, event: &'a Event) -> Result<i32, PgError> {
        if let Some(number) = self.numbers.get(&event.id) {
            return Ok(*number);
        }
        let labels = if event.metadata.is_empty() {
            None
        } else {
            Some(serde_json::to_string(&event.metadata).map_err(PgError::unreadable)?)
        };
        self.messages.push(Bits(event.id.as_bits()));
        self.workspaces.push(event.workspace.as_str());
        let event_type = event.event_type.as_ref();
        self.type_ids.push(event_type.map(|of| of.id.as_str()));
        self.type_names.push(event_type.map(|of| of.name.as_str()));
        self.accepted.push(nanos(event.accepted_at));
        self.labels.push(labels);
        let payload = event.payload.is_kept();
        self.payloads
            .push(payload.then_some(event.payload.as_bytes()));
        let key = event.idempotency_key.as_ref();
        self.keys.push(key.map(|key| key.as_str().as_bytes()));
        let number = i32::try_from(self.messages.len()).unwrap_or(i32::MAX);
        self.numbers.insert(event.id, number);
        Ok(number)
    }

    fn parameters(&self) -> [&dyn Parameter; 21] {
        [
            &self.messages,
            &self.workspaces,
            &self.type_ids,
            &self.type_names,
            &self.accepted,
            &self.labels,
            &self.payloads,
            &self.keys,
            &self.rounds,
            &self.events,
            &self.ordinals,
            &self.endpoints,
            &self.statuses,
            &self.attempts,
            &self.retries,
            &self.instants,
            &self.starts,
            &self.durations,
            &self.status_codes,
            &self.errors,
            &self.bodies,
        ]
    }
}
