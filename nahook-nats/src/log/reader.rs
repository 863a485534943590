//! From the stream to the store.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, PullConsumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use metrics::counter;
use nahook_core::{Causes, StoreErrorKind};
use nahook_queue::{DeliveryRecorder, LogEntry};
use nahook_supervision::Exit;
use tokio::time::sleep;

use super::text::read;
use crate::authentication::Kind;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::layout::{Names, RECORDERS};
use crate::metric;
use crate::record::Malformed;

/// Most messages that are recorded together …
const MESSAGES_MAX: usize = 256;
/// … and most bytes of them.
const BYTES_MAX: usize = 8 << 20;
/// Time for which the server waits for the first of them.
const WAIT: Duration = Duration::from_secs(5);
/// Pause after a failure: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

pub(super) struct Reader<'a> {
    connection: &'a Connection,
    names: &'a Names,
    settings: &'a NatsSettings,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<'a> Reader<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        names: &'a Names,
        settings: &'a NatsSettings,
    ) -> Self {
        Self {
            connection,
            names,
            settings,
        }
    }

    /// Goes on for ever.
    pub(super) async fn run(&self, recorder: &impl DeliveryRecorder) -> Exit {
        let mut pause = PAUSE;
        loop {
            match self.work(recorder, &mut pause).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(
                        error = %Causes(&*error),
                        "the delivery log's stream cannot be read; trying again"
                    );
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn work(
        &self,
        recorder: &impl DeliveryRecorder,
        pause: &mut Duration,
    ) -> Result<(), Failure> {
        let consumer = consumer(self.connection, self.names).await?;
        loop {
            let messages = fetch(&consumer).await?;
            if messages.is_empty() {
                continue;
            }
            record(recorder, &messages, self.settings, pause).await;
            for message in &messages {
                message.ack().await?;
            }
            *pause = PAUSE;
        }
    }
}

/// Fetches the messages that are there. If there are none, waits for the next one.
async fn fetch(consumer: &PullConsumer) -> Result<Vec<Message>, Failure> {
    let mut batch = consumer
        .fetch()
        .max_messages(MESSAGES_MAX)
        .max_bytes(BYTES_MAX)
        .messages()
        .await?;
    let mut messages = Vec::new();
    while let Some(message) = batch.next().await {
        messages.push(message?);
    }
    if messages.is_empty() {
        let mut batch = consumer
            .batch()
            .max_messages(1)
            .expires(WAIT)
            .messages()
            .await?;
        while let Some(message) = batch.next().await {
            messages.push(message?);
        }
    }
    Ok(messages)
}

/// Records all of it, however long the store takes to come back; meanwhile the stream keeps what is to come.
async fn record(
    recorder: &impl DeliveryRecorder,
    messages: &[Message],
    settings: &NatsSettings,
    pause: &mut Duration,
) {
    let entries = |message| entries_of(message, settings);
    let told: Vec<_> = messages.iter().filter_map(entries).collect();
    let all: Vec<LogEntry> = told.iter().flatten().cloned().collect();
    loop {
        match recorder.record(&all).await {
            Ok(()) => return,
            Err(error) if error.kind() == StoreErrorKind::Internal => {
                tracing::error!(
                    error = %Causes(&error),
                    "the store refuses entries of the delivery log; trying one by one"
                );
                break;
            }
            Err(error) => {
                counter!(metric::LOG_DELAYED).increment(1);
                tracing::warn!(
                    error = %Causes(&error),
                    "the delivery log cannot be written; trying again"
                );
                keep_alive(messages).await;
                sleep(*pause).await;
                *pause = (*pause * 2).min(PAUSE_MAX);
            }
        }
    }
    for entries in told {
        if let Err(error) = recorder.record(&entries).await {
            counter!(metric::LOG_REFUSED).increment(entries.len() as u64);
            tracing::error!(
                error = %Causes(&error),
                "the store does not take these entries of the delivery log"
            );
        }
    }
}

/// Tells the server that they are in work, so that no other process takes them as well.
async fn keep_alive(messages: &[Message]) {
    for message in messages {
        // At worst another records them, too.
        let _ = message.ack_with(AckKind::Progress).await;
    }
}

fn entries_of(message: &Message, settings: &NatsSettings) -> Option<Vec<LogEntry>> {
    let (headers, body, now) = (
        message.headers.as_ref(),
        &message.payload,
        settings.clock.now(),
    );
    let authentication = &settings.authentication;
    let entries = if authentication.is_authentic(Kind::Log, headers, body, now) {
        read(body)
    } else {
        counter!(metric::UNAUTHENTIC).increment(1);
        Err(Malformed::Unauthentic)
    };
    match entries {
        Ok(entries) => Some(entries),
        Err(error) => {
            counter!(metric::LOG_REFUSED).increment(1);
            let error = Causes(&error);
            tracing::error!(%error, "a message of the delivery log cannot be read");
            None
        }
    }
}

pub(super) async fn consumer(
    connection: &Connection,
    names: &Names,
) -> Result<PullConsumer, Failure> {
    let found: Consumer<pull::Config> = connection
        .context
        .get_consumer_from_stream(RECORDERS, names.log_stream())
        .await?;
    Ok(found)
}

pub(super) async fn lag(connection: &Connection, names: &Names) -> Option<u64> {
    let mut consumer = consumer(connection, names).await.ok()?;
    let info = consumer.info().await.ok()?;
    Some(info.num_pending + u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX))
}
