//! Writes log entries to the stream.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use nahook_queue::LogEntry;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::text::{by_event, part};
use crate::Authentication;
use crate::acks::{Acks, Outgoing, RecordOutcome, Refusal};
use crate::authentication::Kind;
use crate::config::NatsSettings;
use crate::layout::Names;
use crate::metric;
use crate::record::{LOG_ROW_LEN_MAX, Part, Room};

/// Most bytes of parts that share a message. A larger part has a message of its own.
const MESSAGE_LEN_MAX: usize = 256 << 10;
/// Most deliveries of one event in one part.
const PART_LEN_MAX: usize = 500;
/// Time for which entries are sent again that the stream has not stored. They may be stored twice, and late.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before entries are sent again.
const PAUSE: Duration = Duration::from_millis(250);

/// Writes what the workers of this process have settled to the stream.
#[derive(Clone)]
pub(crate) struct LogWriter {
    acks: Arc<Acks>,
    subject: String,
    answer_timeout: Duration,
    authentication: Authentication,
}

/// Entries that were sent and are not known to be stored.
pub(crate) struct SentEntries {
    writer: LogWriter,
    messages: Vec<(Arc<Vec<Part>>, oneshot::Receiver<RecordOutcome>)>,
}

impl LogWriter {
    pub(crate) fn new(acks: &Arc<Acks>, names: &Names, settings: &NatsSettings) -> Self {
        Self {
            acks: Arc::clone(acks),
            subject: names.log(),
            answer_timeout: settings.answer_timeout,
            authentication: settings.authentication.clone(),
        }
    }

    /// Hands the entries to the connection, in order: what is handed over later reaches the server later.
    pub(crate) async fn send(&self, entries: &[LogEntry]) -> SentEntries {
        let mut sent = SentEntries {
            writer: self.clone(),
            messages: Vec::new(),
        };
        for parts in self.messages(entries) {
            let parts = Arc::new(parts);
            let answer = self.send_parts(&parts).await;
            sent.messages.push((parts, answer));
        }
        sent
    }

    /// The entries as parts, grouped by message.
    fn messages(&self, entries: &[LogEntry]) -> Vec<Vec<Part>> {
        let room = Room::of(self.acks.max_payload()).len() + LOG_ROW_LEN_MAX;
        let (mut messages, mut batch, mut len) = (Vec::new(), Vec::new(), 0);
        for group in by_event(entries) {
            let mut pieces: Vec<_> = group.chunks(PART_LEN_MAX).rev().collect();
            while let Some(piece) = pieces.pop() {
                let Some(mut part) = part(piece) else {
                    continue;
                };
                if part.len_max() > room {
                    if piece.len() > 1 {
                        let (front, back) = piece.split_at(piece.len() / 2);
                        pieces.extend([back, front]);
                        continue;
                    }
                    part = part_without_texts(piece).unwrap_or(part);
                }
                if len + part.len_max() > MESSAGE_LEN_MAX.min(room) && !batch.is_empty() {
                    messages.push(std::mem::take(&mut batch));
                    len = 0;
                }
                len += part.len_max();
                batch.push(part);
            }
        }
        if !batch.is_empty() {
            messages.push(batch);
        }
        messages
    }

    async fn send_parts(&self, parts: &[Part]) -> oneshot::Receiver<RecordOutcome> {
        // Entries are idempotent, so the server need not drop repeated ones by an id.
        let subject = self.subject.clone();
        let message = Outgoing::of(subject, parts.iter(), Kind::Log, &self.authentication);
        self.acks.send(message, None).await
    }
}

impl SentEntries {
    /// Waits until the stream holds the entries, and sends them again where it does not. Entries that it never stores are lost
    /// to the log and counted in `nahook_nats_log_lost_total`: deliveries do not wait for their log.
    pub(crate) async fn wait_until_stored(self) {
        let give_up = Instant::now() + PATIENCE;
        for (parts, mut answer) in self.messages {
            loop {
                let deadline = Instant::now() + self.writer.answer_timeout;
                let outcome = timeout_at(deadline, answer).await;
                match outcome {
                    Ok(Ok(RecordOutcome::Stored)) => break,
                    Ok(Ok(RecordOutcome::Refused(Refusal::TooLarge))) => {
                        lost(&parts, "it is too large");
                        break;
                    }
                    _ if Instant::now() >= give_up => {
                        lost(&parts, "the log's stream does not take it");
                        break;
                    }
                    _ => {}
                }
                sleep(PAUSE).await;
                answer = self.writer.send_parts(&parts).await;
            }
        }
    }
}

/// The entries without the texts of their errors and answers, the only long members.
fn part_without_texts(entries: &[&LogEntry]) -> Option<Part> {
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut entry = LogEntry::clone(entry);
            if let Some(attempt) = &mut entry.attempt {
                (attempt.error, attempt.response_body) = (None, None);
            }
            entry
        })
        .collect();
    part(&entries.iter().collect::<Vec<_>>())
}

fn lost(parts: &[Part], why: &'static str) {
    let deliveries = parts.iter().map(|part| part.len as u64).sum();
    counter!(metric::LOG_LOST).increment(deliveries);
    tracing::warn!(
        deliveries,
        why,
        "what became of deliveries is lost to the log"
    );
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
