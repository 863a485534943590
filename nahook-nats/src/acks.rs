//! Sending records and taking the server's acknowledgements, all through one inbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::ErrorCode;
use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use nahook_core::FailureKind;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::connection::{Connection, Link};

/// How long after a new connection acknowledgements of what was sent over an older one are waited for: what the client
/// still had in its buffer goes out first.
const GRACE: Duration = Duration::from_secs(1);

/// After what silence a record lets others be sent …
const SILENCE: Duration = Duration::from_secs(3);
/// … and is not waited for any more: who leads the stream may have ended with it, and nobody will ever answer.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How soon a record that nobody took is sent again …
const PAUSE: Duration = Duration::from_millis(100);
/// … and for how long: a leader is chosen within that, and a stream that is gone must not hold up what does not need it.
const STUBBORN: Duration = Duration::from_secs(2);
/// How often that is looked after.
const INTERVAL: Duration = Duration::from_millis(500);

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
    /// Nobody took it just now: no connection, no leader, no stream.
    Nobody,
    /// The stream or the account is full, or closed for writing.
    Full,
    /// It is larger than the server or the stream takes.
    TooLarge,
}

impl Refusal {
    pub(crate) fn kind(self) -> FailureKind {
        match self {
            Self::Nobody | Self::Full => FailureKind::QueueUnavailable,
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

/// Records that were sent and are not acknowledged yet.
pub(crate) struct Acks {
    connection: Connection,
    inbox: String,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    records: HashMap<u64, Record>,
    drawn: u64,
}

struct Record {
    answer: oneshot::Sender<Fate>,
    generation: u64,
    sent_at: Instant,
    /// Given back when the record is answered, its connection is lost, or it has been silent for long: later ones need not
    /// wait for it.
    permit: Option<OwnedSemaphorePermit>,
}

impl Acks {
    /// Begins to listen for acknowledgements. The tasks end with the last handle.
    pub(crate) async fn start(
        connection: &Connection,
    ) -> Result<Arc<Self>, async_nats::SubscribeError> {
        let inbox = connection.client.new_inbox();
        let subscriber = connection.client.subscribe(format!("{inbox}.*")).await?;
        let acks = Arc::new(Self {
            connection: connection.clone(),
            inbox,
            waiting: Mutex::default(),
        });
        tokio::spawn(listen(Arc::downgrade(&acks), subscriber));
        tokio::spawn(watch(Arc::downgrade(&acks), connection.link()));
        tokio::spawn(sweep(Arc::downgrade(&acks)));
        Ok(acks)
    }

    /// The largest message that the server takes, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.connection.client.max_payload()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        let token = {
            let mut waiting = self.waiting();
            waiting.drawn += 1;
            let token = waiting.drawn;
            let record = Record {
                answer,
                generation: link.generation,
                sent_at: Instant::now(),
                permit,
            };
            waiting.records.insert(token, record);
            token
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
            self.answer(token, fate);
        }
        receiver
    }

    /// Sends a record that may be sent again, because it has an id or says the same however often it is said, and waits so
    /// long for what becomes of it. It is sent again while nobody takes it, and when its answer is overdue: a stream whose
    /// leader changes may never give one.
    pub(crate) async fn store(&self, record: Outgoing, patience: Duration) -> Fate {
        let until = Instant::now() + patience;
        let stubborn_until = until.min(Instant::now() + STUBBORN);
        let mut fate = Fate::Refused(Refusal::Nobody);
        while Instant::now() < until {
            let overdue = until.min(Instant::now() + SILENCE);
            let answer = async { self.send(record.clone(), None).await.await };
            match tokio::time::timeout_at(overdue, answer).await {
                Ok(Ok(Fate::Refused(Refusal::Nobody))) => {
                    let again_at = Instant::now() + PAUSE;
                    if again_at >= stubborn_until {
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

    fn answer(&self, token: u64, fate: Fate) {
        let record = self.waiting().records.remove(&token);
        if let Some(record) = record {
            let _ = record.answer.send(fate);
        }
    }

    /// Lets nobody wait for what a lost connection has not answered before it can be sent again.
    fn lost(&self) {
        let mut waiting = self.waiting();
        for record in waiting.records.values_mut() {
            record.permit = None;
        }
        waiting
            .records
            .retain(|_, record| !record.answer.is_closed());
    }

    /// Lets nobody wait for what has been silent for long.
    fn forget_silent(&self) {
        let now = Instant::now();
        let mut waiting = self.waiting();
        waiting.records.retain(|_, record| {
            let silence = now.duration_since(record.sent_at);
            if silence > SILENCE {
                record.permit = None;
            }
            silence <= SILENCE_MAX
        });
    }

    fn give_up(&self, before: u64) {
        self.waiting()
            .records
            .retain(|_, record| record.generation >= before);
    }
}

async fn listen(acks: Weak<Acks>, mut subscriber: Subscriber) {
    while let Some(message) = subscriber.next().await {
        let Some(acks) = acks.upgrade() else {
            return;
        };
        let token = message.subject.rsplit('.').next();
        if let Some(token) = token.and_then(|token| token.parse().ok()) {
            acks.answer(token, fate_of(&message));
        }
    }
}

async fn watch(acks: Weak<Acks>, mut link: tokio::sync::watch::Receiver<Link>) {
    while link.changed().await.is_ok() {
        let Link {
            is_up, generation, ..
        } = *link.borrow_and_update();
        let Some(held) = acks.upgrade() else {
            return;
        };
        if is_up {
            let acks = Weak::clone(&acks);
            tokio::spawn(async move {
                tokio::time::sleep(GRACE).await;
                if let Some(acks) = acks.upgrade() {
                    acks.give_up(generation);
                }
            });
        } else {
            held.lost();
        }
    }
}

async fn sweep(acks: Weak<Acks>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(acks) = acks.upgrade() else {
            return;
        };
        acks.forget_silent();
    }
}

#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    err_code: u64,
}

fn fate_of(message: &Message) -> Fate {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Fate::Refused(Refusal::Nobody);
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Acknowledgement {
            error: Some(refused),
            ..
        }) => of_code(ErrorCode(refused.err_code)),
        Ok(Acknowledgement {
            stream: Some(_), ..
        }) => Fate::Stored,
        _ => Fate::Unclear(FailureKind::Internal),
    }
}

/// The codes that are known to be said of messages that were not stored; what is not listed is unclear.
fn of_code(code: ErrorCode) -> Fate {
    let refusal = match code {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Refusal::TooLarge
        }
        // The leader is gone or not chosen yet, or the stream is.
        ErrorCode::CLUSTER_NOT_ACTIVE
        | ErrorCode::CLUSTER_NOT_ASSIGNED
        | ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::STREAM_NOT_FOUND
        | ErrorCode::STREAM_OFFLINE => Refusal::Nobody,
        // The store refused: also how a stream says that its limits are reached.
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_LIMITS
        | ErrorCode::STREAM_SEALED => Refusal::Full,
        _ => return Fate::Unclear(FailureKind::Internal),
    };
    Fate::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_unclear() {
        // Among them a wrong last sequence, an internal error, and codes that do not exist.
        for code in [0, 10_003, 10_051, 10_070, 10_071, 10_164, 99_999] {
            assert_eq!(
                of_code(ErrorCode(code)),
                Fate::Unclear(FailureKind::Internal),
                "{code}"
            );
        }
    }

    #[test]
    fn what_is_listed_is_definite() {
        let rows = [
            (10_002, Refusal::Full),
            (10_006, Refusal::Nobody),
            (10_007, Refusal::Nobody),
            (10_008, Refusal::Nobody),
            (10_009, Refusal::Nobody),
            (10_023, Refusal::Full),
            (10_028, Refusal::Full),
            (10_047, Refusal::Full),
            (10_053, Refusal::Full),
            (10_054, Refusal::TooLarge),
            (10_059, Refusal::Nobody),
            (10_077, Refusal::Full),
            (10_097, Refusal::TooLarge),
            (10_109, Refusal::Full),
            (10_118, Refusal::Nobody),
        ];
        for (code, refusal) in rows {
            assert_eq!(of_code(ErrorCode(code)), Fate::Refused(refusal), "{code}");
            assert!(!refusal.kind().may_be_queued(), "{code}");
        }
    }
}
