use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::acks::Acks;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::error::NotPublishable;
use crate::layout::{Names, Source, StreamRepair};
use crate::record::{Item, Room, part_of};
use crate::writer::{Cell, Chunk, Resolver, Writer};

/// Time for which a refused record shows that the stream or the account is full.
const FULL_FOR: Duration = Duration::from_secs(10);

/// Publishes deliveries to the stream. Clones share one writer.
#[derive(Clone)]
pub struct NatsPublisher {
    connection: Connection,
    chunks: mpsc::UnboundedSender<Chunk>,
    settings: Arc<NatsSettings>,
    full_at: Arc<Mutex<Option<Instant>>>,
}

impl NatsPublisher {
    pub(crate) fn start(
        connection: &Connection,
        acks: &Arc<Acks>,
        names: &Names,
        repair: &Arc<StreamRepair>,
        settings: &Arc<NatsSettings>,
    ) -> Self {
        let (chunks, waiting) = mpsc::unbounded_channel();
        let full_at = Arc::default();
        let writer = Writer {
            connection: connection.clone(),
            acks: Arc::clone(acks),
            subject: names.due(Source::Deliveries),
            in_flight: Arc::new(Semaphore::new(settings.records_in_flight.max(1))),
            len_max: settings.record_len_max.max(1),
            authentication: settings.authentication.clone(),
            resolver: Resolver {
                chunks: chunks.downgrade(),
                repair: Arc::clone(repair),
                full_at: Arc::clone(&full_at),
            },
        };
        writer.spawn(waiting, &settings.supervisor);
        Self {
            connection: connection.clone(),
            chunks,
            settings: Arc::clone(settings),
            full_at,
        }
    }

    /// Returns an error if a record was refused a moment ago because the stream or the account is full.
    pub(crate) fn check_last(&self) -> Result<(), NotPublishable> {
        if self.was_full_within(FULL_FOR) {
            return Err(NotPublishable::Full);
        }
        Ok(())
    }

    /// Returns true if the latest record that was answered was refused so recently because the stream or the account is full.
    pub(crate) fn was_full_within(&self, age: Duration) -> bool {
        let full_at = *self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.is_some_and(|at| at.elapsed() < age)
    }

    /// Number of the event's deliveries that fit into a record; `None` if not one does.
    fn chunk_len(&self, event: &Event) -> Option<usize> {
        match Room::of(self.connection.client.max_payload()).items(event) {
            0 => None,
            items => Some(items.min(self.settings.record_len_max.max(1))),
        }
    }
}

impl DeliveryPublisher for NatsPublisher {
    /// Sends the deliveries in records of some hundreds, together with those of other publications, and resolves the slots of
    /// each record as soon as the stream has acknowledged or refused it.
    ///
    /// On drop it withdraws the deliveries that were not sent yet; the slots of the others stay unconfirmed.
    ///
    /// The stream keeps no idempotency keys: an event with one is not queued.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if event.idempotency_key.is_some() {
            for delivery in deliveries {
                delivery.mark_failed(FailureKind::QueueUnavailable);
            }
            return;
        }
        let Some(chunk_len) = self.chunk_len(event) else {
            for delivery in deliveries {
                delivery.mark_failed(FailureKind::PayloadTooLarge);
            }
            return;
        };
        let patience_until = Instant::now() + self.settings.publish_patience;
        let mut publication = Publication {
            chunks: Vec::with_capacity(deliveries.len().div_ceil(chunk_len)),
        };
        for slots in deliveries.chunks_mut(chunk_len) {
            let items: Vec<_> = slots
                .iter()
                .map(|slot| Item {
                    delivery: slot.id(),
                    endpoint: slot.endpoint(),
                    attempts: 0,
                    due_at: None,
                })
                .collect();
            let cell = Arc::new(Cell::new());
            let chunk = Chunk {
                part: part_of(event, &items),
                cell: Arc::clone(&cell),
                patience_until,
            };
            publication.chunks.push((slots, cell));
            // It fails only once the writer is gone, with the runtime. The drop of the chunk resolves it.
            let _ = self.chunks.send(chunk);
        }
        publication.resolve().await;
    }
}

/// Chunks of a publication, and the slots that show their outcomes.
struct Publication<'a> {
    chunks: Vec<(&'a mut [Delivery], Arc<Cell>)>,
}

impl Publication<'_> {
    /// Resolves the slots of each chunk once its outcome is known.
    async fn resolve(&mut self) {
        for (slots, cell) in &mut self.chunks {
            resolve(slots, cell.resolved().await);
        }
    }
}

impl Drop for Publication<'_> {
    fn drop(&mut self) {
        for (slots, cell) in &mut self.chunks {
            if let Some(outcome) = cell.withdraw() {
                resolve(slots, outcome);
            }
        }
    }
}

fn resolve(slots: &mut [Delivery], outcome: Outcome) {
    for slot in slots {
        slot.resolve(outcome);
    }
}

impl std::fmt::Debug for NatsPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsPublisher").finish_non_exhaustive()
    }
}
