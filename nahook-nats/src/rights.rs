//! Proof, when connecting, that the server grants every right that the process will need.
//!
//! The server reports a missing right beside the answers, and only once the right is used: nobody settles before the first
//! delivery. So each subject is used once in a way that changes nothing and is answered.

use std::pin::pin;
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
use crate::connection::{API_TIMEOUT, Connection};
use crate::error::ConnectError;
use crate::layout::{CHECK, Names, RECORDERS, Source, WORKERS};
use crate::violation::Violation;

/// Time after which the server removes the consumer that exists only for the proof.
const CHECK_CONSUMER_AGE: Duration = Duration::from_secs(10);
/// Malformed request of the API: the server answers it and does nothing.
const BAD_REQUEST: &str = "{";

/// Runs `work` until the server reports a missing right.
pub(crate) async fn permitted<T>(
    mut violations: broadcast::Receiver<Violation>,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let mut refused = pin!(async {
        match violations.recv().await {
            Ok(violation) => ConnectError::Forbidden {
                missing: violation.to_string(),
            },
            Err(_) => std::future::pending().await,
        }
    });
    tokio::select! {
        biased;
        refused = &mut refused => Err(refused),
        // It may have ended by the very report, which has come since it was looked for.
        done = work => refused.now_or_never().map_or(done, Err),
    }
}

/// Uses every subject that the process will need once.
pub(crate) async fn prove(
    connection: &Connection,
    acks: &Acks,
    names: &Names,
    settings: &NatsSettings,
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
        let mut subjects = vec![
            names.due(Source::Retries),
            names.scheduled(CHECK),
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
        // Of a message that no consumer can have handed out.
        let ack = format!("$JS.ACK.{stream}.{name}.1.{}.1.1.0", u64::MAX >> 1);
        self.ask(ack, "+WPI").await
    }

    /// Reading the notes. The server removes the consumer that this creates.
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

    /// Publishing to the other workers, and receiving from them.
    async fn workers(&self) -> Result<(), ConnectError> {
        let client = &self.connection.client;
        let subject = self.names.workers();
        let subscribed = client.subscribe(subject.clone()).await;
        let mut messages = subscribed.map_err(unreachable)?;
        // Workers ignore this text.
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

    /// Sends a request. Any answer will do.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn right_that_is_missed_by_the_last_answer_is_reported() {
        let (reports, violations) = broadcast::channel(1);
        // The report itself ends what waits for an answer.
        let work = async {
            let violation = Violation::Publish("nahook.deliveries".to_owned());
            assert!(reports.send(violation).is_ok());
            Ok(())
        };
        let permitted = permitted(violations, work).await;
        assert!(matches!(permitted, Err(ConnectError::Forbidden { .. })));
    }
}
