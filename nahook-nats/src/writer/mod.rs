//! The writer: chunks that wait while records are in flight share the next record.
//!
//! It waits for a free place among the records in flight and for nothing else. So a chunk that comes alone is sent at once, and
//! under load the acknowledgements set the size of batches.

mod cell;
mod latest;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use nahook_core::{FailureKind, Outcome};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

pub(crate) use self::cell::Cell;
pub(crate) use self::latest::{Latest, LatestRecord};
use crate::Authentication;
use crate::acks::{Acks, Outgoing, RecordOutcome, Refusal};
use crate::authentication::Kind;
use crate::connection::Connection;
use crate::layout::StreamRepair;
use crate::metric;
use crate::record::{Part, Room};

/// Most bytes of chunks that share a record. A larger chunk has a record of its own.
const SHARED_LEN_MAX: usize = 256 << 10;
/// Pause before a record that nobody took is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// Deliveries of one event on their way into a record.
///
/// On drop it is resolved by what is known of it, so that nobody waits for the chunks of a task that died.
pub(crate) struct Chunk {
    pub(crate) part: Part,
    pub(crate) cell: Arc<Cell>,
    /// Instant until which it is sent again if nobody took it.
    pub(crate) patience_until: Instant,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.cell.abandon();
    }
}

/// Gathers chunks into records and sends them.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) acks: Arc<Acks>,
    pub(crate) subject: String,
    pub(crate) in_flight: Arc<Semaphore>,
    /// Most deliveries of a record.
    pub(crate) len_max: usize,
    pub(crate) authentication: Authentication,
    pub(crate) resolver: Resolver,
}

/// Chunks that wait for the writer. They outlive the loop, so that nothing is lost if that ends.
struct ChunkQueue {
    chunks: mpsc::UnboundedReceiver<Chunk>,
    /// The chunk that the next record begins with.
    next: Option<Chunk>,
}

/// Resolves chunks by the outcomes of their records.
#[derive(Clone)]
pub(crate) struct Resolver {
    /// Way back for chunks that nobody took.
    pub(crate) chunks: mpsc::WeakUnboundedSender<Chunk>,
    pub(crate) repair: Arc<StreamRepair>,
    pub(crate) latest: LatestRecord,
}

impl Writer {
    /// Runs the loop until the last publisher is gone.
    pub(crate) fn spawn(self, chunks: mpsc::UnboundedReceiver<Chunk>, supervisor: &Supervisor) {
        let writer = Arc::new(self);
        let queue = Arc::new(tokio::sync::Mutex::new(ChunkQueue { chunks, next: None }));
        supervisor.spawn(Loop::NatsWriter, move || {
            let (writer, queue) = (Arc::clone(&writer), Arc::clone(&queue));
            async move { writer.run(&mut *queue.lock().await).await }
        });
    }

    async fn run(&self, queue: &mut ChunkQueue) -> Exit {
        loop {
            if queue.next.is_none() {
                queue.next = queue.chunks.recv().await;
            }
            let Some(next) = &queue.next else {
                return Exit::Stopped;
            };
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return Exit::Stopped;
            };
            let is_connected = self.wait_for_connection(next).await;
            let Some(first) = queue.next.take() else {
                continue;
            };
            // Otherwise it is refused by its drop.
            if is_connected {
                let batch = self.gather(first, queue);
                self.send(batch, permit).await;
            }
        }
    }

    /// Waits for a connection until the chunk has to be refused. Returns true if there is one.
    async fn wait_for_connection(&self, chunk: &Chunk) -> bool {
        let mut link = self.connection.link();
        let up = link.wait_for(|link| link.is_up);
        match tokio::time::timeout_at(chunk.patience_until, up).await {
            Ok(up) => up.is_ok(),
            Err(_) => self.connection.is_up(),
        }
    }

    /// Chunks that share a record with `first`. The first that does not fit any more begins the next.
    fn gather(&self, first: Chunk, queue: &mut ChunkQueue) -> Vec<Chunk> {
        let room = Room::of(self.acks.max_payload()).len().min(SHARED_LEN_MAX);
        let mut len = first.part.len_max();
        let mut deliveries = first.part.len;
        let mut batch = vec![first];
        while let Ok(chunk) = queue.chunks.try_recv() {
            len += chunk.part.len_max();
            deliveries += chunk.part.len;
            if len > room || deliveries > self.len_max {
                queue.next = Some(chunk);
                break;
            }
            batch.push(chunk);
        }
        batch
    }

    async fn send(&self, mut batch: Vec<Chunk>, permit: OwnedSemaphorePermit) {
        batch.retain(|chunk| chunk.cell.take());
        let Some(first) = batch.first() else {
            return;
        };
        let id = record_id(&first.part, batch.iter().map(|chunk| &chunk.part));
        let deliveries: usize = batch.iter().map(|chunk| chunk.part.len).sum();
        #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
        histogram!(metric::RECORD_DELIVERIES).record(deliveries as f64);
        let parts = batch.iter().map(|chunk| &chunk.part);
        let subject = self.subject.clone();
        let mut record = Outgoing::of(subject, parts, Kind::Record, &self.authentication);
        record.id = Some(id);
        let answer = self.acks.send(record, Some(permit)).await;
        let resolver = self.resolver.clone();
        tokio::spawn(async move {
            let unclear = RecordOutcome::Unclear(FailureKind::Unconfirmed);
            resolver
                .resolve(batch, answer.await.unwrap_or(unclear))
                .await;
        });
    }
}

impl Resolver {
    /// Resolves the chunks of a record. Those that nobody took are sent again, as long as they may.
    async fn resolve(&self, batch: Vec<Chunk>, of_record: RecordOutcome) {
        let label = match of_record {
            RecordOutcome::Stored => "stored",
            RecordOutcome::Refused(_) => "refused",
            RecordOutcome::Unclear(_) => "unclear",
        };
        counter!(metric::RECORDS, metric::FATE => label).increment(1);
        self.latest.note(of_record);
        let outcome = match of_record {
            RecordOutcome::Stored => Outcome::Published,
            RecordOutcome::Unclear(kind) => Outcome::Failed(kind),
            RecordOutcome::Refused(Refusal::Nobody) => return self.send_again(batch).await,
            RecordOutcome::Refused(refusal) => Outcome::Failed(refusal.kind()),
        };
        for chunk in batch {
            chunk.cell.resolve(outcome);
        }
    }

    async fn send_again(&self, batch: Vec<Chunk>) {
        let again_at = Instant::now() + PAUSE;
        for chunk in &batch {
            chunk.cell.put_back();
        }
        let repair = Arc::clone(&self.repair);
        tokio::spawn(async move { repair.repair().await });
        tokio::time::sleep_until(again_at).await;
        // One that is not sent again is refused by its drop.
        for chunk in batch {
            if again_at < chunk.patience_until
                && let Some(chunks) = self.chunks.upgrade()
            {
                let _ = chunks.send(chunk);
            }
        }
    }
}

/// Id of a record, so that the server drops a repeated one. A record that is sent again keeps it; one that has other parts, be it
/// only beside the first, has another: the server would drop what it does not hold.
fn record_id<'a>(first: &Part, parts: impl Iterator<Item = &'a Part>) -> String {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        (part.message, part.first_ordinal, part.len).hash(&mut hasher);
    }
    let digest = hasher.finish();
    format!("{}/{}/{digest:016x}", first.message, first.first_ordinal)
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;
    use nahook_core::id::DeliveryId;
    use nahook_testkit::declare;

    use super::*;
    use crate::record::{Item, part_of};

    /// A part with these of an event's deliveries.
    fn part(number: u64, ordinals: std::ops::Range<u32>) -> Part {
        let event = declare::event("ws_shop", "order.paid", number, Timestamp::from_millis(1));
        let items: Vec<_> = ordinals
            .map(|ordinal| Item {
                delivery: DeliveryId::nth(event.id, ordinal),
                endpoint: declare::nth_endpoint_id(ordinal as usize),
                attempts: 0,
                due_at: None,
            })
            .collect();
        part_of(&event, &items)
    }

    #[test]
    fn only_the_same_record_has_the_same_id() {
        let id = |parts: &[Part]| record_id(&parts[0], parts.iter());
        let sent = || [part(1, 0..2), part(2, 0..1)];
        assert_eq!(id(&sent()), id(&sent()));
        for other in [
            vec![part(1, 0..2)],
            vec![part(1, 2..4), part(2, 0..1)],
            vec![part(1, 0..3), part(2, 0..1)],
            vec![part(1, 0..2), part(3, 0..1)],
            vec![part(1, 0..2), part(2, 1..2)],
        ] {
            assert_ne!(id(&sent()), id(&other));
        }
    }

    /// Nobody waits for the chunks of a task that died.
    #[tokio::test]
    async fn dropped_chunk_is_resolved_by_what_is_known() {
        let event = declare::event("ws_shop", "order.paid", 1, Timestamp::from_millis(1));
        for (is_sent, kind) in [
            (false, FailureKind::QueueUnavailable),
            (true, FailureKind::Unconfirmed),
        ] {
            let cell = Arc::new(Cell::new());
            let chunk = Chunk {
                part: part_of(&event, &[]),
                cell: Arc::clone(&cell),
                patience_until: Instant::now(),
            };
            assert!(!is_sent || chunk.cell.take());
            let dying = tokio::spawn(async move {
                let _in_hand = chunk;
                panic!("a test ends the task");
            });
            assert!(dying.await.is_err());
            assert_eq!(cell.resolved().await, Outcome::Failed(kind));
        }
    }
}
