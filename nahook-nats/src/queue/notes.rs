//! The notes of all processes on the progress of records: writing ours, reading everybody's.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use futures_util::StreamExt as _;
use nahook_supervision::Exit;
use tokio::sync::watch;
use tokio::time::Instant;

use super::hub::Hub;
use super::progress::{self, Progress, RecordKey};
use crate::acks::{Fate, Outgoing};

/// How soon the notes are read again after reading has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// For so long it counts that all notes have been read.
const FRESH: Duration = Duration::from_millis(200);

/// What the headers of a note take at most.
const HEADERS_LEN_MAX: usize = 64;

/// How far the notes have been read.
#[derive(Default)]
pub(super) struct Position {
    read: watch::Sender<u64>,
    caught_up_at: std::sync::Mutex<Option<Instant>>,
}

impl Position {
    fn caught_up_at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.caught_up_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Hub {
    /// Writes down what has become of records. `false` if that may not be so, of some of them.
    pub(super) async fn note<'a>(
        &self,
        records: impl Iterator<Item = (&'a RecordKey, &'a Progress)>,
    ) -> bool {
        let room = self.acks.max_payload().saturating_sub(HEADERS_LEN_MAX);
        let records: Vec<_> = records.collect();
        let (mut left, mut notes) = (vec![&records[..]], Vec::new());
        while let Some(records) = left.pop() {
            let body = progress::write(records.iter().copied());
            if body.len() > room && records.len() > 1 {
                let (front, back) = records.split_at(records.len() / 2);
                left.extend([back, front]);
                continue;
            }
            let note = Outgoing {
                subject: self.names.progress(),
                id: None,
                headers: HeaderMap::new(),
                body: Bytes::from(body),
            };
            notes.push(self.acks.store(note, self.settings.answer_timeout));
        }
        let fates = futures_util::future::join_all(notes).await;
        fates.iter().all(|fate| *fate == Fate::Stored)
    }

    /// Waits until every note that was written by now has been read, or as long as an answer may take.
    pub(super) async fn read_all_notes(&self) {
        let is_fresh = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < FRESH);
        if is_fresh(*self.position.caught_up_at()) {
            return;
        }
        let reading = async {
            let began = Instant::now();
            let stream = self.names.progress_stream();
            let stream = self.connection.context.get_stream(stream).await.ok()?;
            let state = &stream.cached_info().state;
            if state.messages > 0 {
                let last = state.last_sequence;
                let mut read = self.position.read.subscribe();
                read.wait_for(|read| *read >= last).await.ok()?;
            }
            Some(began)
        };
        let read = tokio::time::timeout(self.settings.answer_timeout, reading).await;
        if let Ok(Some(began)) = read {
            *self.position.caught_up_at() = Some(began);
        } else {
            tracing::warn!(
                "the notes on progress cannot be read: deliveries that were settled may be repeated"
            );
        }
    }
}

/// Reads everybody's notes, from the oldest that there is.
pub(super) async fn read(hub: Arc<Hub>) -> Exit {
    loop {
        if read_on(&hub).await.is_none() {
            tracing::debug!("the notes on progress are read from the beginning again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_on(hub: &Hub) -> Option<()> {
    let stream = hub.names.progress_stream();
    let stream = hub.connection.context.get_stream(stream).await.ok()?;
    let consumer = stream
        .create_consumer(pull::OrderedConfig::default())
        .await
        .ok()?;
    let mut messages = consumer.messages().await.ok()?;
    loop {
        let message = messages.next().await?.ok()?;
        let sequence = message.info().ok()?.stream_sequence;
        let mut acks = Vec::new();
        {
            let now = hub.now();
            let mut state = hub.state();
            for (key, noted) in progress::read(&message.payload) {
                acks.extend(state.learn(key, &noted, now));
            }
        }
        hub.position.read.send_replace(sequence);
        if !acks.is_empty() {
            hub.acknowledge(acks).await;
            hub.has_room();
        }
    }
}
