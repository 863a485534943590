//! A publisher that remembers what it took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Delivery, DeliveryPublisher, Event, IdempotencyKey};

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
            let id = delivery.id();
            let original = event.idempotency_key.as_ref().map(|key| {
                let scope = (delivery.endpoint(), key.clone());
                *record.originals.entry(scope).or_insert(id)
            });
            match original {
                Some(original) if original != id => delivery.mark_replayed(original),
                _ => {
                    record.held.push(HeldDelivery::of(event, delivery));
                    delivery.mark_published();
                }
            }
        }
    }
}
