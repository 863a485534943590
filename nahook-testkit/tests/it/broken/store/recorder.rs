//! Broken recording.

use std::sync::Arc;

use nahook_control::EndpointDirectory;
use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{DeliveryPublisher, Event, Payload, StoreError};
use nahook_queue::{
    DeliveryQueue, DeliveryRecorder, LeaseRequest, LogEntry, Next, Settlement, WorkerId,
};
use nahook_testkit::declare::{deliveries, endpoint_id};

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl DeliveryRecorder for Broken {
    async fn record(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        let mut entries = entries.to_vec();
        match self.bug {
            CountsRepeats => {
                let mut memory = self.memory.lock().unwrap();
                for entry in &mut entries {
                    let count = memory.recorded.entry(entry.delivery).or_default();
                    *count += u32::from(entry.attempt.is_some());
                    entry.attempts = *count;
                }
            }
            InventsPayloads => {
                for entry in &mut entries {
                    if !entry.event.payload.is_kept() {
                        let mut event = Event::clone(&entry.event);
                        event.payload = Payload::from_stored("{}".into());
                        entry.event = Arc::new(event);
                    }
                }
            }
            DrawsGivenIdsAnew => {
                for entry in &mut entries {
                    let mut event = Event::clone(&entry.event);
                    event.id = MessageId::from_bits(event.id.as_bits() & (u128::MAX >> 8));
                    let ordinal = entry.delivery.ordinal(entry.event.id).unwrap_or_default();
                    entry.delivery = DeliveryId::nth(event.id, ordinal);
                    entry.event = Arc::new(event);
                }
            }
            DropsWhatComesLate => {
                let mut memory = self.memory.lock().unwrap();
                entries.retain(|entry| {
                    let latest = memory.recorded.entry(entry.delivery).or_default();
                    let is_late = entry.attempts < *latest;
                    *latest = entry.attempts.max(*latest);
                    !is_late
                });
            }
            ForgetsRecordedAttempts => entries.iter_mut().for_each(|entry| entry.attempt = None),
            RecordsForTheFirst => {
                for entry in &mut entries {
                    let first = deliveries(&entry.event, &[entry.endpoint]);
                    entry.delivery = first[0].id();
                }
            }
            RecordsHalf => entries.truncate(entries.len().div_ceil(2)),
            RefusesTheUnknown => {
                let ids: Vec<_> = entries.iter().map(|entry| entry.endpoint).collect();
                if self.inner.targets(&ids).await?.contains(&None) {
                    return Err(StoreError::internal("an endpoint is unknown"));
                }
            }
            FailureCountsMost => {
                entries.retain(|entry| entry.state.status().as_str() != "delivered");
            }
            AdoptsTheUnknown => {
                for entry in &mut entries {
                    entry.endpoint = endpoint_id("ep_000000");
                }
            }
            LeasesTheRecorded => {
                for entry in &entries {
                    let ordinal = entry.delivery.ordinal(entry.event.id).unwrap_or_default();
                    let endpoints = vec![entry.endpoint; ordinal as usize + 1];
                    let mut slots = deliveries(&entry.event, &endpoints);
                    self.inner
                        .publish(&entry.event, &mut slots[ordinal as usize..])
                        .await;
                }
            }
            _ => {}
        }
        self.inner.record(&entries).await?;
        if self.has(EndsItsOwn) {
            self.end_its_own().await?;
        }
        Ok(())
    }
}

impl Broken {
    async fn end_its_own(&self) -> Result<(), StoreError> {
        let request = LeaseRequest::new(WorkerId(99), 10, std::time::Duration::from_secs(1));
        let batch = self.inner.lease(&request).await?;
        let ends: Vec<_> = batch
            .deliveries
            .iter()
            .map(|leased| Settlement::unattempted(leased.lease, Next::Delivered))
            .collect();
        self.inner.settle(&ends).await?;
        Ok(())
    }
}
