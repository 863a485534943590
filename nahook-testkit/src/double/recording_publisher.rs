//! A publisher that remembers what it took.

use nahook_core::{Delivery, DeliveryPublisher, Event, MemoryQueue};

use crate::HeldDelivery;

/// A [`MemoryQueue`] that can be asked what it holds; clones are the same queue.
#[derive(Clone, Debug, Default)]
pub struct RecordingPublisher(MemoryQueue);

impl RecordingPublisher {
    /// Returns what it has taken, in that order.
    pub fn held(&self) -> Vec<HeldDelivery> {
        let queued = self.0.queued();
        let held = |(event, delivery): &(Event, Delivery)| HeldDelivery::of(event, delivery);
        queued.iter().map(held).collect()
    }
}

impl DeliveryPublisher for RecordingPublisher {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        self.0.publish(event, deliveries).await;
    }
}
