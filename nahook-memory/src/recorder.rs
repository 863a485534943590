use std::cmp::Ordering;
use std::sync::Arc;

use nahook_control::EndpointRecord;
use nahook_core::StoreError;
use nahook_queue::{DeliveryRecorder, DeliveryState, LogEntry};

use super::MemoryStore;
use super::state::{Row, State};

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
                recorded: Some(0),
                ..Row::fresh(Arc::clone(&entry.event), entry.endpoint)
            });
        let Some(recorded) = row.recorded else {
            return;
        };
        if let Some(attempt) = &entry.attempt {
            let known = row.attempts.entry(entry.attempts);
            let kept = known.or_insert_with(|| attempt.clone());
            if attempt.started_at < kept.started_at {
                kept.clone_from(attempt);
            }
        }
        row.record(recorded, entry);
        row.updated_at = row.updated_at.max(entry.at);
        // There are as many of these as of those that are settled here: the oldest go.
        if is_new {
            self.retire(entry.delivery);
        }
    }
}

impl Row {
    /// Takes the entry's state over if it counts for more than what is known after so many attempts; of two that count
    /// alike, the latest retry and the earliest success.
    fn record(&mut self, recorded: u32, entry: &LogEntry) {
        let delivered_at = (entry.state == DeliveryState::Delivered).then_some(entry.at);
        let known = (recorded, self.state.rank());
        match (entry.attempts, entry.state.rank()).cmp(&known) {
            Ordering::Less => {}
            Ordering::Greater => {
                self.recorded = Some(entry.attempts);
                (self.state, self.delivered_at) = (entry.state, delivered_at);
            }
            Ordering::Equal => {
                let retries = self.state.retry_at().zip(entry.state.retry_at());
                if let Some((known, told)) = retries {
                    self.state = DeliveryState::Retry(known.max(told));
                }
                self.delivered_at = self.delivered_at.into_iter().chain(delivered_at).min();
            }
        }
    }
}
