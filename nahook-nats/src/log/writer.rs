//! Telling the stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use nahook_queue::LogEntry;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::text::{by_event, part};
use crate::acks::{Acks, Fate, Outgoing, Refusal};
use crate::config::NatsSettings;
use crate::layout::Names;
use crate::record::{LOG_ROW_LEN_MAX, Part, Room, body, headers};

/// Parts are put together up to so many bytes; a larger one goes alone.
const MESSAGE_LEN_MAX: usize = 256 << 10;
/// Deliveries of one event in one part.
const PART_LEN_MAX: usize = 500;
/// For how long what the stream has not taken is told again: entries may come twice, and late.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon.
const PAUSE: Duration = Duration::from_millis(250);

/// Tells the stream what the workers of this process have settled.
#[derive(Clone)]
pub(crate) struct LogWriter {
    acks: Arc<Acks>,
    subject: String,
    answer_timeout: Duration,
}

/// What was sent and is not known to be stored.
pub(crate) struct Telling {
    writer: LogWriter,
    messages: Vec<(Arc<Vec<Part>>, oneshot::Receiver<Fate>)>,
}

impl LogWriter {
    pub(crate) fn new(acks: &Arc<Acks>, names: &Names, settings: &NatsSettings) -> Self {
        Self {
            acks: Arc::clone(acks),
            subject: names.log(),
            answer_timeout: settings.answer_timeout,
        }
    }

    /// Hands the entries to the connection: what is handed over later reaches the server later.
    pub(crate) async fn tell(&self, entries: &[LogEntry]) -> Telling {
        let mut telling = Telling {
            writer: self.clone(),
            messages: Vec::new(),
        };
        for parts in self.messages(entries) {
            let parts = Arc::new(parts);
            let answer = self.send(&parts).await;
            telling.messages.push((parts, answer));
        }
        telling
    }

    /// The entries as parts, and those by message.
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
                    part = part_without_errors(piece).unwrap_or(part);
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

    async fn send(&self, parts: &[Part]) -> oneshot::Receiver<Fate> {
        let (body, offsets) = body(parts);
        let headers = headers(parts.iter().zip(offsets));
        let message = Outgoing {
            subject: self.subject.clone(),
            // Told twice is told once: the server need not compare.
            id: None,
            headers,
            body: Bytes::from(body),
        };
        self.acks.send(message, None).await
    }
}

impl Telling {
    /// Waits until the stream holds it, and tells it again where it does not. What it never takes is lost to the log, counted in
    /// `nahook_nats_log_lost_total`, and hinders nobody: deliveries do not wait for their log.
    pub(crate) async fn stored(self) {
        let give_up = Instant::now() + PATIENCE;
        for (parts, mut answer) in self.messages {
            loop {
                let deadline = Instant::now() + self.writer.answer_timeout;
                let fate = timeout_at(deadline, answer).await;
                match fate {
                    Ok(Ok(Fate::Stored)) => break,
                    Ok(Ok(Fate::Refused(Refusal::TooLarge))) => {
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
                answer = self.writer.send(&parts).await;
            }
        }
    }
}

/// The entries without the texts of their errors, which alone have no bound.
fn part_without_errors(entries: &[&LogEntry]) -> Option<Part> {
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut entry = LogEntry::clone(entry);
            if let Some(attempt) = &mut entry.attempt {
                attempt.error = None;
            }
            entry
        })
        .collect();
    part(&entries.iter().collect::<Vec<_>>())
}

fn lost(parts: &[Part], why: &'static str) {
    let deliveries = parts.iter().map(|part| part.len as u64).sum();
    counter!("nahook_nats_log_lost_total").increment(deliveries);
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
