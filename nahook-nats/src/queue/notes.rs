//! Notes on the progress of records: writes those of this process and reads those of all.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use futures_util::StreamExt as _;
use metrics::counter;
use nahook_supervision::Exit;
use tokio::time::Instant;

use super::hub::Hub;
use super::progress::{self, Progress, RecordKey};
use crate::acks::Outgoing;
use crate::authentication::{HEADER_LEN, Kind};
use crate::metric;

/// Pause before the notes are read again after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Time for which it counts that all notes have been read.
const FRESH: Duration = Duration::from_millis(200);

/// Most bytes of the headers of a note.
const HEADERS_LEN_MAX: usize = 64 + HEADER_LEN;

impl Hub {
    /// Notes the progress of records. Returns true once all of it is stored.
    pub(super) async fn note<'a>(
        &self,
        records: impl Iterator<Item = (&'a RecordKey, &'a Progress)>,
    ) -> bool {
        let room = self.acks.max_payload().saturating_sub(HEADERS_LEN_MAX);
        let bodies = bodies(&records.collect::<Vec<_>>(), room);
        let notes = bodies.into_iter().map(|body| {
            let mut headers = HeaderMap::new();
            let authentication = &self.settings.authentication;
            authentication.sign(Kind::Note, &mut headers, &body);
            let note = Outgoing {
                subject: self.names.progress(),
                id: None,
                headers,
                body: Bytes::from(body),
            };
            self.acks.store(note, self.settings.answer_timeout)
        });
        let notes = futures_util::future::join_all(notes).await;
        notes.into_iter().all(|is_stored| is_stored)
    }

    /// Waits until every note that is stored by now has been read. Gives up after the timeout of answers.
    pub(super) async fn read_all_notes(&self) {
        if is_fresh(*self.notes_read_at()) {
            return;
        }
        let reading = async {
            let began = Instant::now();
            let stream = self.names.progress_stream();
            let stream = self.connection.context.get_stream(stream).await.ok()?;
            let state = &stream.cached_info().state;
            if state.messages > 0 {
                let last = state.last_sequence;
                let mut read = self.note_read.subscribe();
                read.wait_for(|read| *read >= last).await.ok()?;
            }
            Some(began)
        };
        let read = tokio::time::timeout(self.settings.answer_timeout, reading).await;
        if let Ok(Some(began)) = read {
            *self.notes_read_at() = Some(began);
        } else {
            tracing::warn!(
                "the notes on progress cannot be read: deliveries that were settled may be repeated"
            );
        }
    }
}

/// Returns true if all notes have been read so recently that none need be waited for.
fn is_fresh(read_at: Option<Instant>) -> bool {
    read_at.is_some_and(|at| at.elapsed() < FRESH)
}

/// Bodies of notes on these records: as few as have room each.
fn bodies(records: &[(&RecordKey, &Progress)], room: usize) -> Vec<Vec<u8>> {
    let (mut left, mut bodies) = (vec![records], Vec::new());
    while let Some(records) = left.pop() {
        let body = progress::write(records.iter().copied());
        if body.len() > room && records.len() > 1 {
            let (front, back) = records.split_at(records.len() / 2);
            left.extend([back, front]);
        } else {
            bodies.push(body);
        }
    }
    bodies
}

/// Reads the notes of all processes, from the oldest on.
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
    // With a name, since one without is created by another right.
    let config = pull::OrderedConfig {
        name: Some(format!("notes-{:x}", hub.settings.ids.random())),
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.ok()?;
    let mut messages = consumer.messages().await.ok()?;
    loop {
        let message = messages.next().await?.ok()?;
        let sequence = message.info().ok()?.stream_sequence;
        let (mut acks, now) = (Vec::new(), hub.now());
        let (headers, body) = (message.headers.as_ref(), &message.payload);
        let authentication = &hub.settings.authentication;
        if authentication.is_authentic(Kind::Note, headers, body, now) {
            let mut state = hub.state();
            for (key, noted) in progress::read(&message.payload) {
                acks.extend(state.learn(key, &noted, now));
            }
        } else {
            counter!(metric::UNAUTHENTIC).increment(1);
            tracing::error!("a note on progress was not signed with the store's key");
        }
        hub.note_read.send_replace(sequence);
        if !acks.is_empty() {
            hub.acknowledge(acks).await;
            hub.notify_room();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Source;

    #[tokio::test(start_paused = true)]
    async fn notes_are_fresh_for_a_moment() {
        assert!(!is_fresh(None));
        let read_at = Some(Instant::now());
        tokio::time::advance(Duration::from_millis(199)).await;
        assert!(is_fresh(read_at));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!is_fresh(read_at));
    }

    #[test]
    fn notes_are_parted_where_one_has_no_room() {
        let settled: Vec<_> = (100..110)
            .map(|sequence| {
                let key = RecordKey {
                    source: Source::Deliveries,
                    sequence,
                    stored_at: 1_712_345_678_901_234_567,
                };
                let mut progress = Progress::of(9);
                progress.settle(3);
                (key, progress)
            })
            .collect();
        let records: Vec<_> = settled
            .iter()
            .map(|(key, progress)| (key, progress))
            .collect();
        let len = |count: usize| progress::write(records[..count].iter().copied()).len();
        for (room, sizes) in [
            (len(10), vec![10]),
            (len(10) - 1, vec![5, 5]),
            (len(5) - 1, vec![2, 3, 2, 3]),
            (len(3) - 1, vec![2, 1, 2, 2, 1, 2]),
            (0, vec![1; 10]),
        ] {
            let read: Vec<_> = bodies(&records, room)
                .iter()
                .map(|body| progress::read(body))
                .collect();
            let counts: Vec<_> = read.iter().map(Vec::len).collect();
            assert_eq!(counts, sizes, "{room}");
            assert_eq!(read.concat(), settled, "{room}");
        }
    }
}
