use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use nahook_control::EndpointRecord;
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{DeliveryRecorder, DeliveryStatus, LogEntry, Standing};

use super::MemoryStore;
use super::state::{Recorded, Row, State};

#[async_trait::async_trait]
impl DeliveryRecorder for MemoryStore {
    async fn record(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        let mut state = self.state();
        for entry in entries {
            state.record(entry);
        }
        Ok(())
    }
}

impl State {
    fn record(&mut self, entry: &LogEntry) {
        let workspace = entry.event.workspace;
        let is_known =
            |row: &EndpointRecord| row.id == entry.endpoint && row.workspace == workspace;
        if !self.catalog.endpoints.iter().any(is_known) {
            return;
        }
        let is_new = !self.deliveries.contains_key(&entry.delivery);
        let row = self
            .deliveries
            .entry(entry.delivery)
            .or_insert_with(|| Row {
                event: Arc::clone(&entry.event),
                endpoint: entry.endpoint,
                status: DeliveryStatus::Pending,
                attempts: BTreeMap::new(),
                due_at: None,
                delivered_at: None,
                updated_at: entry.event.accepted_at,
                recorded: Some(Recorded::default()),
            });
        let Some(recorded) = &mut row.recorded else {
            return;
        };
        if let Some(attempt) = &entry.attempt {
            let known = row.attempts.entry(entry.attempts);
            let kept = known.or_insert_with(|| attempt.clone());
            if attempt.started_at < kept.started_at {
                kept.clone_from(attempt);
            }
        }
        recorded.stand(entry.attempts, entry.standing, entry.at);
        row.status = recorded.standing.status();
        row.delivered_at = recorded.delivered_at;
        row.updated_at = row.updated_at.max(entry.at);
        // There are as many of these as of those that are settled here: the oldest go.
        if is_new {
            self.retire(entry.delivery);
        }
    }
}

impl Recorded {
    /// Takes the standing over if it counts for more than what is known; of two that count alike, the latest retry and the
    /// earliest success.
    fn stand(&mut self, attempts: u32, standing: Standing, at: Timestamp) {
        let delivered_at = (standing == Standing::Delivered).then_some(at);
        let (known, told) = (
            (self.attempts, self.standing.rank()),
            (attempts, standing.rank()),
        );
        match told.cmp(&known) {
            Ordering::Less => {}
            Ordering::Greater => {
                *self = Self {
                    attempts,
                    standing,
                    delivered_at,
                }
            }
            Ordering::Equal => {
                if let (Standing::Retry(known), Standing::Retry(told)) = (self.standing, standing) {
                    self.standing = Standing::Retry(known.max(told));
                }
                self.delivered_at = self.delivered_at.into_iter().chain(delivered_at).min();
            }
        }
    }
}
