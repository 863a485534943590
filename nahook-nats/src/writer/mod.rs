//! The writer: chunks that wait while records are under way share the next record.
//!
//! It waits for nothing but a free place among the records in flight: the acknowledgement that frees one is what the
//! chunks behind it are batched by, so that a chunk that comes alone is sent at once.

mod cell;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::{counter, histogram};
use nahook_core::{FailureKind, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

pub(crate) use self::cell::Cell;
use crate::acks::{Acks, Fate, Outgoing, Refusal};
use crate::connection::Connection;
use crate::layout::Mending;
use crate::record::{Part, body, headers};

/// Chunks are put together up to so many bytes; a larger one goes alone.
const SHARED_LEN_MAX: usize = 256 << 10;
/// How soon a record that nobody took is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Deliveries of one event on their way into a record.
pub(crate) struct Chunk {
    pub(crate) part: Part,
    pub(crate) cell: Arc<Cell>,
    /// Until then it is tried again if nobody took it.
    pub(crate) patience_until: Instant,
}

/// What a writer works with.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) acks: Arc<Acks>,
    pub(crate) subject: String,
    pub(crate) in_flight: Arc<Semaphore>,
    /// How many deliveries a record may have.
    pub(crate) len_max: usize,
    pub(crate) again: Again,
}

/// The way back for what nobody took.
#[derive(Clone)]
pub(crate) struct Again {
    pub(crate) chunks: mpsc::WeakUnboundedSender<Chunk>,
    pub(crate) mending: Arc<Mending>,
}

impl Writer {
    /// Works until the last publisher is gone.
    pub(crate) async fn run(self, mut chunks: mpsc::UnboundedReceiver<Chunk>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(chunk) => chunk,
                None => match chunks.recv().await {
                    Some(chunk) => chunk,
                    None => return,
                },
            };
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return;
            };
            if !self.is_connected(&first).await {
                first.refuse(Refusal::Nobody);
                continue;
            }
            let (batch, left) = self.gather(first, &mut chunks);
            next = left;
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

    /// What shares a record with `first`, and what does not fit any more.
    fn gather(
        &self,
        first: Chunk,
        chunks: &mut mpsc::UnboundedReceiver<Chunk>,
    ) -> (Vec<Chunk>, Option<Chunk>) {
        let mut len = first.part.json.len();
        let mut deliveries = first.part.len;
        let mut batch = vec![first];
        while let Ok(chunk) = chunks.try_recv() {
            len += chunk.part.json.len();
            deliveries += chunk.part.len;
            if len > SHARED_LEN_MAX || deliveries > self.len_max {
                return (batch, Some(chunk));
            }
            batch.push(chunk);
        }
        (batch, None)
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
        let again = self.again.clone();
        tokio::spawn(async move {
            let fate = answer.await;
            resolve(
                batch,
                fate.unwrap_or(Fate::Unclear(FailureKind::Unconfirmed)),
                &again,
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

/// Tells the publications what became of their chunks; what nobody took goes back, as long as it may.
async fn resolve(batch: Vec<Chunk>, fate: Fate, again: &Again) {
    let told = match fate {
        Fate::Stored => "stored",
        Fate::Refused(_) => "refused",
        Fate::Unclear(_) => "unclear",
    };
    counter!("nahook_nats_records_total", "fate" => told).increment(1);
    let outcome = match fate {
        Fate::Stored => Outcome::Published,
        Fate::Unclear(kind) => Outcome::Failed(kind),
        Fate::Refused(Refusal::Nobody) => {
            let pause = Instant::now() + PAUSE;
            for chunk in &batch {
                chunk.cell.put_back();
            }
            let mending = Arc::clone(&again.mending);
            tokio::spawn(async move { mending.look().await });
            tokio::time::sleep_until(pause).await;
            for chunk in batch {
                match again.chunks.upgrade() {
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
