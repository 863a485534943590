//! Sending records and taking the server's acknowledgements, all through one inbox.

mod answer;
mod in_flight;
mod loops;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use bytes::Bytes;
use nahook_core::FailureKind;
use nahook_supervision::Supervisor;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;

use self::in_flight::{InFlight, Record};
use crate::connection::Connection;

/// How long a record that may be sent again is waited for before it is.
const OVERDUE: Duration = Duration::from_secs(3);
/// How soon a record that nobody took is sent again …
const PAUSE: Duration = Duration::from_millis(100);
/// … and for how long: a leader is chosen within that, and a stream that is gone must not hold up what does not need it.
const RESEND_FOR: Duration = Duration::from_secs(2);
/// The name of no stream: a stream refuses a message that expects it, and does not store it.
const NO_STREAM: &str = "-";

/// What became of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// A stream holds it.
    Stored,
    /// No stream holds it nor will.
    Refused(Refusal),
    /// A stream may hold it.
    Unclear(FailureKind),
}

/// Why no stream holds a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// We have no right to publish to its subject.
    Forbidden,
    /// The stream or the account is full, or closed for writing.
    Full,
    /// Nobody took it just now: no connection, no leader, no stream.
    Nobody,
    /// It is a probe, for another stream.
    OtherStream,
    /// It is larger than the server or the stream takes.
    TooLarge,
}

impl Refusal {
    pub(crate) fn kind(self) -> FailureKind {
        match self {
            Self::Forbidden | Self::Full | Self::Nobody | Self::OtherStream => {
                FailureKind::QueueUnavailable
            }
            Self::TooLarge => FailureKind::PayloadTooLarge,
        }
    }
}

/// A message for a stream.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    /// By which the server knows a repeated one; absent where repeating does no harm.
    pub(crate) id: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Outgoing {
    /// A message that the stream of this subject refuses, with [`Refusal::OtherStream`], after it has checked everything
    /// but whether it has room.
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

/// Records that were sent and are not acknowledged yet.
pub(crate) struct Acks {
    connection: Connection,
    inbox: String,
    in_flight: Mutex<InFlight>,
    /// Ends the loops when it is dropped.
    open: watch::Sender<()>,
}

impl Acks {
    /// Begins to listen for acknowledgements. The loops end with the last handle.
    pub(crate) async fn start(
        connection: &Connection,
        supervisor: &Supervisor,
    ) -> Result<Arc<Self>, async_nats::SubscribeError> {
        let acks = Arc::new(Self {
            connection: connection.clone(),
            inbox: connection.client.new_inbox(),
            in_flight: Mutex::default(),
            open: watch::Sender::default(),
        });
        loops::spawn(&acks, supervisor).await?;
        Ok(acks)
    }

    /// The largest message that the server takes, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.connection.client.max_payload()
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a record; the receiver tells what becomes of it, and that is [`Fate::Unclear`] if it ends without a word.
    pub(crate) async fn send(
        &self,
        record: Outgoing,
        permit: Option<OwnedSemaphorePermit>,
    ) -> oneshot::Receiver<Fate> {
        let (answer, receiver) = oneshot::channel();
        let Outgoing {
            subject,
            id,
            mut headers,
            body,
        } = record;
        let link = *self.connection.link().borrow();
        // Without a connection the client would keep it and send it whenever there is one: nobody could take it back.
        if !link.is_up {
            let _ = answer.send(Fate::Refused(Refusal::Nobody));
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
            let fate = match error.kind() {
                Kind::MaxPayloadExceeded => Fate::Refused(Refusal::TooLarge),
                // Said before anything was handed to the connection.
                Kind::InvalidSubject | Kind::Send => Fate::Refused(Refusal::Nobody),
            };
            self.in_flight().answer(token, fate);
        }
        receiver
    }

    /// Sends a record that may be sent again, because it has an id or says the same however often it is said, and waits so
    /// long for what becomes of it. It is sent again while nobody takes it, and when its answer is overdue: a stream whose
    /// leader changes may never give one.
    pub(crate) async fn store(&self, record: Outgoing, patience: Duration) -> Fate {
        let until = Instant::now() + patience;
        let resend_until = until.min(Instant::now() + RESEND_FOR);
        let mut fate = Fate::Refused(Refusal::Nobody);
        while Instant::now() < until {
            let overdue = until.min(Instant::now() + OVERDUE);
            let answer = async { self.send(record.clone(), None).await.await };
            match tokio::time::timeout_at(overdue, answer).await {
                Ok(Ok(Fate::Refused(Refusal::Nobody))) => {
                    let again_at = Instant::now() + PAUSE;
                    if again_at >= resend_until {
                        return fate;
                    }
                    tokio::time::sleep_until(again_at).await;
                }
                Ok(Ok(answered)) => return answered,
                // It may be there all the same.
                Ok(Err(_)) | Err(_) => fate = Fate::Unclear(FailureKind::Unconfirmed),
            }
        }
        fate
    }
}
