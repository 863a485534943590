//! The writer: chunks that wait while records are under way share the next record.
//!
//! It waits for nothing but a free place among the records in flight: the acknowledgement that frees one is what the
//! chunks behind it are batched by, so that a chunk that comes alone is sent at once.

mod cell;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metrics::{counter, histogram};
use nahook_core::{FailureKind, Outcome};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

pub(crate) use self::cell::Cell;
use crate::acks::{Acks, Fate, Outgoing, Refusal};
use crate::connection::Connection;
use crate::layout::Mending;
use crate::record::{Part, Room, body, headers};

/// Chunks are put together up to so many bytes; a larger one goes alone.
const SHARED_LEN_MAX: usize = 256 << 10;
/// How soon a record that nobody took is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Deliveries of one event on their way into a record.
///
/// Dropped, it is resolved by what is known of it: nobody waits for what a dead task had in hand.
pub(crate) struct Chunk {
    pub(crate) part: Part,
    pub(crate) cell: Arc<Cell>,
    /// Until then it is tried again if nobody took it.
    pub(crate) patience_until: Instant,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.cell.abandon();
    }
}

/// What a writer works with.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) acks: Arc<Acks>,
    pub(crate) subject: String,
    pub(crate) in_flight: Arc<Semaphore>,
    /// How many deliveries a record may have.
    pub(crate) len_max: usize,
    pub(crate) outlook: Outlook,
}

/// What waits for the writer. It outlives the loop, so that nothing is lost if that ends.
struct Waiting {
    chunks: mpsc::UnboundedReceiver<Chunk>,
    /// The chunk that the next record begins with.
    next: Option<Chunk>,
}

/// What the fates of records lead to.
#[derive(Clone)]
pub(crate) struct Outlook {
    /// The way back for what nobody took.
    pub(crate) chunks: mpsc::WeakUnboundedSender<Chunk>,
    pub(crate) mending: Arc<Mending>,
    /// When a record was last refused for lack of room, if none was stored since.
    pub(crate) full_at: Arc<Mutex<Option<Instant>>>,
}

impl Writer {
    /// Runs the loop until the last publisher is gone.
    pub(crate) fn spawn(self, chunks: mpsc::UnboundedReceiver<Chunk>, supervisor: &Supervisor) {
        let writer = Arc::new(self);
        let waiting = Arc::new(tokio::sync::Mutex::new(Waiting { chunks, next: None }));
        supervisor.spawn(Loop::NatsWriter, move || {
            let (writer, waiting) = (Arc::clone(&writer), Arc::clone(&waiting));
            async move { writer.run(&mut *waiting.lock().await).await }
        });
    }

    async fn run(&self, waiting: &mut Waiting) -> Exit {
        loop {
            if waiting.next.is_none() {
                waiting.next = waiting.chunks.recv().await;
            }
            let Some(next) = &waiting.next else {
                return Exit::Stopped;
            };
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return Exit::Stopped;
            };
            let is_connected = self.is_connected(next).await;
            let Some(first) = waiting.next.take() else {
                continue;
            };
            if !is_connected {
                first.refuse(Refusal::Nobody);
                continue;
            }
            let batch = self.gather(first, waiting);
            self.send(batch, permit).await;
        }
    }

    /// Waits for a connection for as long as the chunk may.
    async fn is_connected(&self, chunk: &Chunk) -> bool {
        let mut link = self.connection.link();
        let up = link.wait_for(|link| link.is_up);
        match tokio::time::timeout_at(chunk.patience_until, up).await {
            Ok(up) => up.is_ok(),
            Err(_) => self.connection.is_up(),
        }
    }

    /// What shares a record with `first`. What does not fit any more begins the next.
    fn gather(&self, first: Chunk, waiting: &mut Waiting) -> Vec<Chunk> {
        let room = Room::of(self.acks.max_payload()).len().min(SHARED_LEN_MAX);
        let mut len = first.part.len_max();
        let mut deliveries = first.part.len;
        let mut batch = vec![first];
        while let Ok(chunk) = waiting.chunks.try_recv() {
            len += chunk.part.len_max();
            deliveries += chunk.part.len;
            if len > room || deliveries > self.len_max {
                waiting.next = Some(chunk);
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
        let id = record_id(&first.part, batch.len());
        let deliveries: usize = batch.iter().map(|chunk| chunk.part.len).sum();
        #[expect(clippy::cast_precision_loss, reason = "a number to be read")]
        histogram!("nahook_nats_record_deliveries").record(deliveries as f64);
        let (body, offsets) = body(batch.iter().map(|chunk| &chunk.part));
        let headers = headers(batch.iter().map(|chunk| &chunk.part).zip(offsets));
        let record = Outgoing {
            subject: self.subject.clone(),
            id: Some(id),
            headers,
            body: Bytes::from(body),
        };
        let answer = self.acks.send(record, Some(permit)).await;
        let outlook = self.outlook.clone();
        tokio::spawn(async move {
            let fate = answer.await;
            resolve(
                batch,
                fate.unwrap_or(Fate::Unclear(FailureKind::Unconfirmed)),
                &outlook,
            )
            .await;
        });
    }
}

impl Chunk {
    fn refuse(self, refusal: Refusal) {
        self.cell.resolve(Outcome::Failed(refusal.kind()));
    }
}

impl Outlook {
    fn note(&self, fate: Fate) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        match fate {
            Fate::Stored => *full_at = None,
            Fate::Refused(Refusal::Full) => *full_at = Some(Instant::now()),
            Fate::Refused(_) | Fate::Unclear(_) => {}
        }
    }
}

/// Tells the publications what became of their chunks; what nobody took goes back, as long as it may.
async fn resolve(batch: Vec<Chunk>, fate: Fate, outlook: &Outlook) {
    let told = match fate {
        Fate::Stored => "stored",
        Fate::Refused(_) => "refused",
        Fate::Unclear(_) => "unclear",
    };
    counter!("nahook_nats_records_total", "fate" => told).increment(1);
    outlook.note(fate);
    let outcome = match fate {
        Fate::Stored => Outcome::Published,
        Fate::Unclear(kind) => Outcome::Failed(kind),
        Fate::Refused(Refusal::Nobody) => {
            let pause = Instant::now() + PAUSE;
            for chunk in &batch {
                chunk.cell.put_back();
            }
            let mending = Arc::clone(&outlook.mending);
            tokio::spawn(async move { mending.look().await });
            tokio::time::sleep_until(pause).await;
            for chunk in batch {
                match outlook.chunks.upgrade() {
                    _ if chunk.cell.is_withdrawn() => {}
                    Some(again) if pause < chunk.patience_until => {
                        let _ = again.send(chunk);
                    }
                    _ => chunk.refuse(Refusal::Nobody),
                }
            }
            return;
        }
        Fate::Refused(refusal) => Outcome::Failed(refusal.kind()),
    };
    for chunk in batch {
        chunk.cell.resolve(outcome);
    }
}

/// The record's id: its first delivery's message and where it begins in the fan-out, and how much it holds. No two records
/// that are published have one in common, and one that is sent again keeps it.
fn record_id(first: &Part, parts: usize) -> String {
    format!("{}/{}/{parts}", first.message, first.first_ordinal)
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;
    use nahook_testkit::declare;

    use super::*;
    use crate::record::part_of;

    /// A task that dies leaves nobody waiting for the chunks that it had in hand.
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
