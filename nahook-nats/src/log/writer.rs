//! Telling the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use nahook_core::{IdSource as _, LogEntry};
use tokio::time::{Instant, timeout_at};

use super::text::{by_event, part};
use crate::acks::{Acks, Fate, Outgoing};
use crate::config::NatsSettings;
use crate::layout::Names;
use crate::record::{Part, body, headers};

/// Parts are put together up to so many bytes; a larger one goes alone.
const MESSAGE_LEN_MAX: usize = 256 << 10;
/// Deliveries of one event in one part.
const PART_LEN_MAX: usize = 500;

/// Tells the stream what the workers of this process have settled.
#[derive(Clone)]
pub(crate) struct LogWriter {
    acks: Arc<Acks>,
    subject: String,
    patience: Duration,
    process: u128,
    count: Arc<AtomicU64>,
}

impl LogWriter {
    pub(crate) fn new(acks: &Arc<Acks>, names: &Names, settings: &NatsSettings) -> Self {
        Self {
            acks: Arc::clone(acks),
            subject: names.log(),
            patience: settings.answer_timeout,
            process: settings.ids.random(),
            count: Arc::default(),
        }
    }

    /// Tells the stream, and waits until it holds what it was told. What it does not take is lost to the log, counted in
    /// `nahook_nats_log_lost_total`, and hinders nobody: deliveries do not wait for their log.
    pub(crate) async fn write(&self, entries: &[LogEntry]) {
        let deadline = Instant::now() + self.patience;
        let mut answers = Vec::new();
        let mut batch: Vec<Part> = Vec::new();
        let mut len = 0;
        for group in by_event(entries) {
            for piece in group.chunks(PART_LEN_MAX) {
                let Some(part) = part(piece) else {
                    continue;
                };
                if len + part.json.len() > MESSAGE_LEN_MAX && !batch.is_empty() {
                    answers.push(self.send(std::mem::take(&mut batch)).await);
                    len = 0;
                }
                len += part.json.len();
                batch.push(part);
            }
        }
        if !batch.is_empty() {
            answers.push(self.send(batch).await);
        }
        for (deliveries, answer) in answers {
            match timeout_at(deadline, answer).await {
                Ok(Ok(Fate::Stored)) => {}
                fate => {
                    counter!("nahook_nats_log_lost_total").increment(deliveries);
                    tracing::warn!(
                        ?fate,
                        "the log's stream did not take what became of deliveries"
                    );
                }
            }
        }
    }

    async fn send(&self, parts: Vec<Part>) -> (u64, tokio::sync::oneshot::Receiver<Fate>) {
        let deliveries = parts.iter().map(|part| part.len as u64).sum();
        let (body, offsets) = body(&parts);
        let headers = headers(parts.iter().zip(offsets));
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let message = Outgoing {
            subject: self.subject.clone(),
            id: Some(format!("{:032x}/{number}", self.process)),
            headers,
            body: Bytes::from(body),
        };
        (deliveries, self.acks.send(message, None).await)
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
