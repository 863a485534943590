//! Proving, when connecting, that the server grants every right that the process will need.
//!
//! A missing right is reported beside the answers, and often much later than it could be: nobody settles before the first
//! delivery. So each subject is used once in a way that changes nothing and is answered.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::acks::{Acks, Outgoing};
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::layout::{API_TIMEOUT, Names, RECORDERS, Source, WORKERS};
use crate::violation::Violation;

/// The name of what exists only to be asked for.
pub(crate) const CHECK: &str = "nahook-check";
/// How long a consumer of that name stays.
const CHECK_CONSUMER_AGE: Duration = Duration::from_secs(10);
/// A request of the API that does nothing but be answered: it cannot be read.
const BAD_REQUEST: &str = "{";

/// Runs `work` unless the server reports a missing right.
pub(crate) async fn permitted<T>(
    mut violations: broadcast::Receiver<Violation>,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let refused = async {
        match violations.recv().await {
            Ok(violation) => ConnectError::Forbidden {
                missing: violation.to_string(),
            },
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        refused = refused => Err(refused),
        done = work => done,
    }
}

/// Uses every subject once that the process will need.
pub(crate) async fn prove(
    connection: &Connection,
    acks: &Acks,
    names: &Names,
    settings: &NatsSettings,
    scheduled: bool,
) -> Result<(), ConnectError> {
    let proof = Proof {
        connection,
        acks,
        names,
    };
    let mut uses: Vec<BoxFuture<'_, Result<(), ConnectError>>> = Vec::new();
    if settings.publishes {
        uses.push(proof.stream(names.due(Source::Deliveries)).boxed());
    }
    if settings.delivers {
        let waiting = if scheduled {
            names.scheduled(CHECK)
        } else {
            names.waiting(0)
        };
        let mut subjects = vec![
            names.due(Source::Retries),
            waiting,
            names.progress(),
            names.dead_letters(),
        ];
        let mut consumers = vec![
            (names.stream(Source::Deliveries), WORKERS),
            (names.stream(Source::Retries), WORKERS),
        ];
        if settings.log {
            subjects.push(names.log());
            consumers.push((names.log_stream(), RECORDERS));
        }
        let streams = subjects.into_iter().map(|name| proof.stream(name).boxed());
        uses.extend(streams);
        let consumers = consumers.into_iter();
        uses.extend(consumers.map(|(stream, name)| proof.consumer(stream, name).boxed()));
        uses.push(proof.notes().boxed());
        uses.push(proof.workers().boxed());
        if !scheduled {
            uses.push(proof.moving().boxed());
        }
    }
    try_join_all(uses).await.map(|_| ())
}

struct Proof<'a> {
    connection: &'a Connection,
    acks: &'a Acks,
    names: &'a Names,
}

impl Proof<'_> {
    /// Publishing to a stream, and the acknowledgement.
    async fn stream(&self, subject: String) -> Result<(), ConnectError> {
        let answer = self.acks.send(Outgoing::probe(subject), None).await;
        answered(timeout(API_TIMEOUT, answer).await)
    }

    /// Pulling from a consumer and acknowledging.
    async fn consumer(&self, stream: String, name: &str) -> Result<(), ConnectError> {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        self.ask(next, BAD_REQUEST).await?;
        // Of a message that cannot have been given out.
        let ack = format!("$JS.ACK.{stream}.{name}.1.{}.1.1.0", u64::MAX >> 1);
        self.ask(ack, "+WPI").await
    }

    /// Reading the notes, by a consumer whose name is drawn. The one that is made here goes by itself.
    async fn notes(&self) -> Result<(), ConnectError> {
        let stream = self.names.progress_stream();
        let create = format!("$JS.API.CONSUMER.CREATE.{stream}.{CHECK}");
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{CHECK}");
        let wanted = json!({
            "stream_name": stream,
            "config": {
                "name": CHECK,
                "deliver_policy": "new",
                "ack_policy": "none",
                "inactive_threshold": CHECK_CONSUMER_AGE.as_nanos(),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        self.ask(create, wanted.to_string()).await?;
        self.ask(next, BAD_REQUEST).await
    }

    /// Telling the other workers, and hearing them.
    async fn workers(&self) -> Result<(), ConnectError> {
        let client = &self.connection.client;
        let subject = self.names.workers();
        let subscribed = client.subscribe(subject.clone()).await;
        let mut messages = subscribed.map_err(unreachable)?;
        // No worker reads this.
        let word = Bytes::from(client.new_inbox());
        let sent = client.publish(subject, word.clone()).await;
        sent.map_err(unreachable)?;
        let heard = async {
            while let Some(message) = messages.next().await {
                if message.payload == word {
                    return;
                }
            }
        };
        answered(timeout(API_TIMEOUT, heard).await)
    }

    /// Moving retries that are due, where the server does not.
    async fn moving(&self) -> Result<(), ConnectError> {
        let stream = self.names.stream(Source::Retries);
        self.ask(format!("$JS.API.STREAM.MSG.GET.{stream}"), BAD_REQUEST)
            .await?;
        self.ask(format!("$JS.API.STREAM.PURGE.{stream}"), BAD_REQUEST)
            .await
    }

    /// Asks a subject; what is answered is all one.
    async fn ask(&self, subject: String, request: impl Into<Bytes>) -> Result<(), ConnectError> {
        let asked = self.connection.client.request(subject, request.into());
        match asked.await {
            Err(error) if error.kind() != RequestErrorKind::NoResponders => Err(unreachable(error)),
            _ => Ok(()),
        }
    }
}

fn answered<T, E>(answer: Result<T, E>) -> Result<(), ConnectError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    answer.map(|_| ()).map_err(unreachable)
}

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
    ConnectError::Unreachable(error.into())
}
