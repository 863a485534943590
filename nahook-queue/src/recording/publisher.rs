use std::sync::Arc;

use nahook_core::{Delivery, DeliveryPublisher, Event, Outcome};

use super::RecorderBuffer;
use crate::{DeliveryState, LogEntry};

/// A publisher that records published deliveries in the delivery log, so that they are shown before a worker has seen them.
#[derive(Clone, Debug)]
pub struct LoggedPublisher<P> {
    publisher: P,
    buffer: RecorderBuffer,
}

impl<P> LoggedPublisher<P> {
    /// Wraps `publisher`, and records its acknowledged deliveries by `buffer`.
    pub fn new(publisher: P, buffer: RecorderBuffer) -> Self {
        Self { publisher, buffer }
    }
}

impl<P: DeliveryPublisher> DeliveryPublisher for LoggedPublisher<P> {
    /// Publishes, and records the acknowledged deliveries, also when this is dropped. Unconfirmed ones are left to the
    /// worker to record: the log shows nothing that does not exist.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let telling = Telling {
            buffer: &self.buffer,
            event,
            deliveries,
        };
        self.publisher.publish(event, telling.deliveries).await;
    }
}

/// Tells when it is dropped, after the publisher's future.
struct Telling<'a> {
    buffer: &'a RecorderBuffer,
    event: &'a Event,
    deliveries: &'a mut [Delivery],
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let mut published = self
            .deliveries
            .iter()
            .filter(|delivery| delivery.outcome() == Outcome::Published)
            .peekable();
        if published.peek().is_none() {
            return;
        }
        let event = Arc::new(self.event.clone());
        self.buffer.push(published.map(|delivery| LogEntry {
            event: Arc::clone(&event),
            delivery: delivery.id(),
            endpoint: delivery.endpoint(),
            attempts: 0,
            attempt: None,
            state: DeliveryState::Pending,
            at: event.accepted_at,
        }));
    }
}
