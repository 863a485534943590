use std::sync::Arc;

use nahook_core::{Delivery, DeliveryPublisher, Event, Outcome};

use super::RecorderBuffer;
use crate::{LogEntry, Standing};

/// A publisher that says in the delivery log what it has published, so that it is shown before a worker has seen it.
#[derive(Clone, Debug)]
pub struct LoggedPublisher<P> {
    publisher: P,
    buffer: RecorderBuffer,
}

impl<P> LoggedPublisher<P> {
    /// `publisher`, whose acknowledged deliveries are told to `buffer`.
    pub fn new(publisher: P, buffer: RecorderBuffer) -> Self {
        Self { publisher, buffer }
    }
}

impl<P: DeliveryPublisher> DeliveryPublisher for LoggedPublisher<P> {
    /// Publishes, and tells what was acknowledged, also when this is dropped. What may only perhaps be queued is left to
    /// the worker to tell: the log shows nothing that does not exist.
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
            standing: Standing::Pending,
            at: event.accepted_at,
        }));
    }
}
