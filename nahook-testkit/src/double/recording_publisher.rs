//! A publisher that remembers what it took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::{
    Delivery, DeliveryId, DeliveryPublisher, DirectDelivery, DirectPublisher, EndpointId, Event,
    IdempotencyKey,
};

use crate::HeldDelivery;

/// A queue in memory that takes everything at once and can be asked what it holds; clones are the same queue. An idempotency
/// key stands for its first delivery for ever.
#[derive(Clone, Debug, Default)]
pub struct RecordingPublisher {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    calls: usize,
    held: Vec<HeldDelivery>,
    originals: HashMap<(EndpointId, IdempotencyKey), DeliveryId>,
}

impl RecordingPublisher {
    /// Returns what it has taken, in that order.
    pub fn held(&self) -> Vec<HeldDelivery> {
        self.record().held.clone()
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> usize {
        self.record().calls
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // The record is whole at every step, so a panic elsewhere has not spoilt it.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeliveryPublisher for RecordingPublisher {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let mut record = self.record();
        record.calls += 1;
        for delivery in deliveries {
            record.held.push(HeldDelivery::of(event, delivery));
            delivery.published();
        }
    }
}

impl DirectPublisher for RecordingPublisher {
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        let mut record = self.record();
        record.calls += 1;
        for slot in deliveries {
            let id = slot.id();
            let original = slot.idempotency_key().map(|key| {
                let scope = (slot.endpoint(), key.clone());
                *record.originals.entry(scope).or_insert(id)
            });
            match original {
                Some(original) if original != id => slot.replayed(original),
                _ => {
                    record.held.push(HeldDelivery::of_direct(slot));
                    slot.published();
                }
            }
        }
    }
}
