//! Sends records and receives their acknowledgements through one inbox.

mod answer;
mod in_flight;
mod loops;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;

pub(crate) use self::answer::{RecordOutcome, Refusal};
use self::in_flight::{InFlight, Record};
use crate::Authentication;
use crate::authentication::Kind;
use crate::connection::Connection;
use crate::record::{Part, body, headers};

/// Time after which a record without an answer is sent again, if that is allowed.
const OVERDUE: Duration = Duration::from_secs(3);
/// Pause before a record that nobody took is sent again …
const PAUSE: Duration = Duration::from_millis(100);
/// … and the time for which that goes on: long enough for the election of a leader, and short enough for callers that do not
/// need the stream.
const RESEND_FOR: Duration = Duration::from_secs(2);
/// Name of no stream. A stream refuses a message that expects it.
const NO_STREAM: &str = "-";

/// Message for a stream.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    /// Lets the server drop a repeated one. Absent where repeating does no harm.
    pub(crate) id: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Outgoing {
    /// Makes a message of these parts, without an id.
    pub(crate) fn of<'a>(
        subject: String,
        parts: impl Iterator<Item = &'a Part> + Clone,
        kind: Kind,
        authentication: &Authentication,
    ) -> Self {
        let (body, offsets) = body(parts.clone());
        let mut headers = headers(parts.zip(offsets));
        authentication.sign(kind, &mut headers, &body);
        Self {
            subject,
            id: None,
            headers,
            body: Bytes::from(body),
        }
    }

    /// Makes a message that the stream of this subject refuses with [`Refusal::OtherStream`], after it has checked everything
    /// except its room.
    pub(crate) fn probe(subject: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, NO_STREAM);
        Self {
            subject,
            id: None,
            headers,
            body: Bytes::new(),
        }
    }
}

/// Sends records and matches acknowledgements to them.
pub(crate) struct Acks {
    connection: Connection,
    inbox: String,
    in_flight: Mutex<InFlight>,
    /// Ends the loops when it is dropped.
    open: watch::Sender<()>,
}

impl Acks {
    fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            inbox: connection.client.new_inbox(),
            in_flight: Mutex::default(),
            open: watch::Sender::default(),
        }
    }

    /// Largest message that the server accepts, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.connection.client.max_payload()
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a record. The receiver gets its outcome, which is [`RecordOutcome::Unclear`] if the sender is dropped.
    pub(crate) async fn send(
        &self,
        record: Outgoing,
        permit: Option<OwnedSemaphorePermit>,
    ) -> oneshot::Receiver<RecordOutcome> {
        let (answer, receiver) = oneshot::channel();
        let Outgoing {
            subject,
            id,
            mut headers,
            body,
        } = record;
        let link = *self.connection.link().borrow();
        // Without a connection the client would buffer it, and nobody could take it back.
        if !link.is_up {
            let _ = answer.send(RecordOutcome::Refused(Refusal::Nobody));
            return receiver;
        }
        if let Some(id) = id {
            headers.insert(NATS_MESSAGE_ID, id);
        }
        let record = Record {
            subject: subject.clone(),
            answer,
            generation: link.generation,
            sent_at: Instant::now(),
            permit,
        };
        let Some(token) = self.in_flight().insert(record) else {
            return receiver;
        };
        let reply = format!("{}.{token}", self.inbox);
        let sent = self
            .connection
            .client
            .publish_with_reply_and_headers(subject, reply, headers, body)
            .await;
        if let Err(error) = sent {
            use async_nats::client::PublishErrorKind as Kind;
            let outcome = match error.kind() {
                Kind::MaxPayloadExceeded => RecordOutcome::Refused(Refusal::TooLarge),
                // It was not handed to the connection.
                Kind::InvalidSubject | Kind::Send => RecordOutcome::Refused(Refusal::Nobody),
            };
            self.in_flight().answer(token, outcome);
        }
        receiver
    }

    /// Sends a record that may be stored twice, because it has an id or is idempotent. Sends it again while nobody takes it, and
    /// when its answer is overdue: a stream whose leader changes may never answer. Returns true once a stream holds it, and
    /// false if that is not so or not known within `patience`.
    pub(crate) async fn store(&self, record: Outgoing, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let resend_until = until.min(Instant::now() + RESEND_FOR);
        while Instant::now() < until {
            let overdue = until.min(Instant::now() + OVERDUE);
            let answer = async { self.send(record.clone(), None).await.await };
            match tokio::time::timeout_at(overdue, answer).await {
                Ok(Ok(RecordOutcome::Refused(Refusal::Nobody))) => {
                    let again_at = Instant::now() + PAUSE;
                    if again_at >= resend_until {
                        return false;
                    }
                    tokio::time::sleep_until(again_at).await;
                }
                Ok(Ok(outcome)) => return outcome == RecordOutcome::Stored,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        false
    }
}
