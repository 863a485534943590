use std::iter::empty;
use std::sync::Arc;

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::acks::{Acks, Outgoing, RecordOutcome};
use crate::authentication::Kind;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::layout::{Names, Source, StreamRepair};
use crate::record::{Item, Room, part_of};
use crate::writer::{Cell, Chunk, Latest, LatestRecord, Resolver, Writer};

/// Publishes deliveries to the stream. Clones share one writer.
#[derive(Clone)]
pub struct NatsPublisher {
    connection: Connection,
    chunks: mpsc::UnboundedSender<Chunk>,
    settings: Arc<NatsSettings>,
    latest: LatestRecord,
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
        let latest = LatestRecord::default();
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
                latest: latest.clone(),
            },
        };
        writer.spawn(waiting, &settings.supervisor);
        Self {
            connection: connection.clone(),
            chunks,
            settings: Arc::clone(settings),
            latest,
        }
    }

    /// Outcome of the latest record.
    pub(crate) fn latest(&self) -> Latest {
        self.latest.get()
    }

    /// Notes that the stream has stored a record.
    pub(crate) fn note_stored(&self) {
        self.latest.note(RecordOutcome::Stored);
    }

    /// Makes a record without events, which workers acknowledge at once.
    pub(crate) fn empty_record(&self, subject: String) -> Outgoing {
        Outgoing::of(
            subject,
            empty(),
            Kind::Record,
            &self.settings.authentication,
        )
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
