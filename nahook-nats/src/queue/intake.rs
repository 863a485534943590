//! Pulls records from a stream, as far as there is room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use metrics::counter;
use nahook_core::Causes;
use nahook_supervision::Exit;
use tokio::time::{Instant, sleep_until};

use super::hub::Hub;
use super::progress::RecordKey;
use super::state::Admission;
use crate::acks::Outgoing;
use crate::authentication::Kind;
use crate::layout::{Source, WORKERS};
use crate::metric;
use crate::record::{self, Malformed};

/// Most records that are requested at a time.
const BATCH: usize = 256;
/// Time for which a request waits at the server for records …
const EXPIRES: Duration = Duration::from_secs(20);
/// … interval of the server's heartbeats meanwhile …
const HEARTBEAT: Duration = Duration::from_secs(1);
/// … and silence after which the request counts as lost.
const SILENCE: Duration = Duration::from_millis(2_500);
/// Time after which the server has ended a request and has said so.
const ENDED: Duration = Duration::from_secs(21);
/// Pause after a request that the server refused.
const PAUSE: Duration = Duration::from_millis(250);
/// Header with the number of records that a request ended without.
const UNANSWERED: &str = "Nats-Pending-Messages";
/// Leaves a record to a newer program for a minute.
const LEFT_ALONE: &str = r#"-NAK {"delay":60000000000}"#;

/// Works for as long as the subscription lasts.
pub(super) async fn run(hub: Arc<Hub>, source: Source) -> Exit {
    let Some(mut intake) = Intake::open(&hub, source).await else {
        return Exit::failed("the inbox of records cannot be subscribed to");
    };
    intake.work().await
}

struct Intake {
    hub: Arc<Hub>,
    source: Source,
    client: Client,
    inbox: String,
    subject: String,
    subscriber: Subscriber,
    /// Requests that may still be answered. A record does not tell which of them it answers.
    requests: HashMap<u64, Request>,
    /// Number of requested records that have not come.
    asked: usize,
    drawn: u64,
    not_before: Instant,
    /// Instant until which any record may have been held by another process, whatever the server counts.
    suspicious_until: Instant,
}

struct Request {
    heard_at: Instant,
    ends_at: Instant,
}

impl Intake {
    async fn open(hub: &Arc<Hub>, source: Source) -> Option<Self> {
        let client = hub.connection.client.clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(format!("{inbox}.*")).await.ok()?;
        let stream = hub.names.stream(source);
        Some(Self {
            hub: Arc::clone(hub),
            source,
            client,
            inbox,
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{WORKERS}"),
            subscriber,
            requests: HashMap::new(),
            asked: 0,
            drawn: 0,
            not_before: Instant::now(),
            // The server may have been killed just before, and have lost acknowledgements.
            suspicious_until: Instant::now() + 2 * hub.settings.ack_wait,
        })
    }

    async fn work(&mut self) -> Exit {
        let hub = Arc::clone(&self.hub);
        let mut link = hub.connection.link();
        loop {
            let now = Instant::now();
            self.requests.retain(|_, request| {
                now < request.ends_at && now.duration_since(request.heard_at) < SILENCE
            });
            self.ask(now).await;
            tokio::select! {
                message = self.subscriber.next() => match message {
                    Some(message) => self.take_all(message).await,
                    None => return Exit::failed("the subscription of records has ended"),
                },
                () = hub.room_of(self.source).notified() => {}
                () = sleep_until(now + HEARTBEAT.min(PAUSE)) => {}
                changed = link.changed() => {
                    if changed.is_err() {
                        return Exit::Stopped;
                    }
                    // The server forgets requests with their connection, and after a crash the holders of records.
                    self.requests.clear();
                    self.suspicious_until = Instant::now() + 2 * hub.settings.ack_wait;
                }
            }
        }
    }

    /// Requests more records, as far as there is room for them.
    async fn ask(&mut self, now: Instant) {
        if self.requests.is_empty() {
            self.asked = 0;
        }
        if now < self.not_before || !self.hub.connection.is_up() {
            return;
        }
        let wanted = self.hub.room().min(BATCH);
        if self.asked * 2 > wanted || wanted <= self.asked {
            return;
        }
        let more = wanted - self.asked;
        self.drawn += 1;
        let request = format!(
            r#"{{"batch":{more},"expires":{},"idle_heartbeat":{}}}"#,
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        );
        let reply = format!("{}.{}", self.inbox, self.drawn);
        let sent = self
            .client
            .publish_with_reply(self.subject.clone(), reply, Bytes::from(request))
            .await;
        if sent.is_ok() {
            self.asked += more;
            let request = Request {
                heard_at: now,
                ends_at: now + ENDED,
            };
            self.requests.insert(self.drawn, request);
        }
    }

    /// Takes a message and those that have arrived behind it. Notes are read once for all of them: while they cannot be read, a
    /// wait for each record would let the others pass to another process, which would wait for them as long.
    async fn take_all(&mut self, first: Message) {
        let mut arrived = vec![first];
        while arrived.len() < BATCH
            && let Some(Some(message)) = self.subscriber.next().now_or_never()
        {
            arrived.push(message);
        }
        let now = Instant::now();
        let may_be_settled = |message: &Message| {
            let delivered = message.reply.as_deref().and_then(Delivered::of);
            delivered.is_some_and(|of| of.may_be_settled(now, self.suspicious_until))
        };
        if arrived.iter().any(may_be_settled) {
            self.hub.read_all_notes().await;
        }
        for message in arrived {
            self.take(message).await;
        }
    }

    async fn take(&mut self, message: Message) {
        let Some(status) = message.status else {
            self.asked = self.asked.saturating_sub(1);
            let now = Instant::now();
            for request in self.requests.values_mut() {
                request.heard_at = now;
            }
            self.take_record(message).await;
            return;
        };
        let token = message.subject.rsplit('.').next();
        let Some(token) = token.and_then(|token| token.parse::<u64>().ok()) else {
            return;
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            if let Some(request) = self.requests.get_mut(&token) {
                request.heard_at = Instant::now();
            }
            return;
        }
        self.requests.remove(&token);
        let headers = message.headers.as_ref();
        let unanswered = headers.and_then(|headers| headers.get(UNANSWERED));
        let unanswered = unanswered.and_then(|count| count.as_str().parse().ok());
        self.asked = self.asked.saturating_sub(unanswered.unwrap_or(0));
        match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => {}
            // The stream or the consumer is gone, or has no leader.
            StatusCode::NO_RESPONDERS => {
                self.hub.repair.repair().await;
                self.not_before = Instant::now() + PAUSE;
            }
            // It may exist again, and then the acknowledgements of held records have to be forgotten.
            StatusCode::REQUEST_TERMINATED if is_deleted(&message) => {
                self.hub.repair.repair().await;
                self.not_before = Instant::now() + PAUSE;
            }
            // A leader that has changed, too many requests, and the like.
            _ => self.not_before = Instant::now() + PAUSE,
        }
    }

    async fn take_record(&mut self, message: Message) {
        let Some(ack) = message.reply.clone() else {
            return;
        };
        let Some(delivered) = Delivered::of(&ack) else {
            return;
        };
        let key = RecordKey {
            source: self.source,
            sequence: delivered.sequence,
            stored_at: delivered.stored_at,
        };
        let (now, headers) = (self.hub.now(), message.headers.as_ref());
        let authentication = &self.hub.settings.authentication;
        let read = if authentication.is_authentic(Kind::Record, headers, &message.payload, now) {
            record::read(&message.payload)
        } else {
            counter!(metric::UNAUTHENTIC).increment(1);
            Err(Malformed::Unauthentic)
        };
        match read {
            Ok(entries) => {
                let len = message.payload.len();
                let admission = self.hub.state().admit(key, ack.clone(), entries, len, now);
                match admission {
                    Admission::Admitted => self.hub.notify_changed(),
                    Admission::Complete => self.hub.acknowledge([ack]).await,
                    Admission::AlreadyHeld => {}
                }
            }
            Err(error) => self.set_aside(&message, ack, &delivered, &error).await,
        }
        self.hub.mark_seen(self.source, delivered.counted);
    }

    /// Moves a record that cannot be read or is not ours to the dead letters, and leaves one of a newer format to newer programs.
    async fn set_aside(
        &self,
        message: &Message,
        ack: Subject,
        delivered: &Delivered,
        error: &Malformed,
    ) {
        tracing::error!(
            error = %Causes(error),
            stream = self.hub.names.stream(self.source),
            "a record cannot be read"
        );
        if let Malformed::Newer(_) = error {
            let word = Bytes::from_static(LEFT_ALONE.as_bytes());
            let _ = self.client.publish(ack, word).await;
            return;
        }
        let copy = Outgoing {
            subject: self.hub.names.dead_letters(),
            id: Some(format!(
                "aside-{}-{}-{}",
                self.hub.names.stream(self.source),
                delivered.sequence,
                delivered.stored_at
            )),
            headers: message.headers.clone().unwrap_or_default(),
            body: message.payload.clone(),
        };
        let patience = self.hub.settings.answer_timeout;
        if self.hub.acks.store(copy, patience).await {
            self.hub.acknowledge([ack]).await;
        }
    }
}

/// Returns true if the server refuses because the consumer was deleted.
fn is_deleted(refusal: &Message) -> bool {
    let description = refusal.description.as_deref();
    description.is_some_and(|text| text.eq_ignore_ascii_case("consumer deleted"))
}

/// Facts about a message that the subject of its acknowledgement tells.
#[derive(Debug, PartialEq)]
struct Delivered {
    /// Number of times that the server has handed it out, this one included.
    times: u64,
    /// Sequence in the stream.
    sequence: u64,
    /// Number of this delivery among the consumer's.
    counted: u64,
    /// Instant at which the stream stored it, in nanoseconds since 1970.
    stored_at: u64,
}

impl Delivered {
    /// Parses `$JS.ACK.<stream>.<consumer>.<times>.<sequence>.<counted>.<stored at>.<pending>`, or with a domain and an account
    /// before the stream, and perhaps more at the end.
    fn of(ack: &str) -> Option<Self> {
        let tokens: Vec<_> = ack.split('.').collect();
        let first = match tokens.len() {
            9 => 4,
            11.. => 6,
            _ => return None,
        };
        let number = |nth: usize| tokens.get(first + nth)?.parse().ok();
        Some(Self {
            times: number(0)?,
            sequence: number(1)?,
            counted: number(2)?,
            stored_at: number(3)?,
        })
    }

    /// Returns true if another process may have held the record, and noted its progress.
    fn may_be_settled(&self, now: Instant, suspicious_until: Instant) -> bool {
        self.times > 1 || now < suspicious_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_that_came_before_or_early_may_be_settled() {
        let of = |times: u64| {
            let ack = format!("$JS.ACK.S.workers.{times}.17.40.1712345678901234567.5");
            Delivered::of(&ack).expect("a subject")
        };
        let until = Instant::now();
        let before = until - Duration::from_nanos(1);
        assert!(of(1).may_be_settled(before, until));
        assert!(of(2).may_be_settled(until, until));
        assert!(!of(1).may_be_settled(until, until));
    }

    #[test]
    fn every_form_of_an_acknowledgements_subject_is_read() {
        for ack in [
            "$JS.ACK.S.workers.2.17.40.1712345678901234567.5",
            "$JS.ACK.hub.ACC.S.workers.2.17.40.1712345678901234567.5",
            "$JS.ACK._.ACC.S.workers.2.17.40.1712345678901234567.5.random",
        ] {
            let told = Delivered {
                times: 2,
                sequence: 17,
                counted: 40,
                stored_at: 1_712_345_678_901_234_567,
            };
            assert_eq!(Delivered::of(ack), Some(told), "{ack}");
        }
        for ack in ["", "$JS.ACK.S.workers", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(Delivered::of(ack), None, "{ack}");
        }
    }
}
