//! Moving retries whose time has come, on servers that have no scheduled messages.
//!
//! Every process does it; the ids of what they move let the server drop what two of them move at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::response::Response;
use nahook_core::Timestamp;
use nahook_supervision::Exit;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;

use super::hub::Hub;
use crate::acks::{Fate, Outgoing};
use crate::layout::Source;

/// How often the seconds that others' retries wait for are asked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// The same where they wait as scheduled messages: a process with other settings, or an older server, may have left some.
const LEFT_OVER_INTERVAL: Duration = Duration::from_secs(30);
/// How many records are moved together.
const BATCH: usize = 64;

/// The seconds that retries are known to wait for.
#[derive(Default)]
pub(super) struct Alarm {
    seconds: Mutex<BTreeSet<u64>>,
    rung: Notify,
}

impl Alarm {
    fn seconds(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, second: u64) {
        self.seconds().insert(second);
    }

    /// When the first of them is due that is not due at `now`. Rings if another is.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.seconds().first().copied()?;
        if first <= now.as_secs() {
            self.rung.notify_one();
        }
        let next = self.seconds().range(now.as_secs() + 1..).next().copied()?;
        Some(Timestamp::from_millis(next.saturating_mul(1_000)))
    }
}

#[derive(Deserialize)]
struct StreamInfo {
    state: StreamState,
}

#[derive(Deserialize)]
struct StreamState {
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

#[derive(Deserialize)]
struct Purged {}

/// Looks again and again for retries whose time has come.
pub(super) async fn run(hub: Arc<Hub>) -> Exit {
    let interval = if hub.scheduled {
        LEFT_OVER_INTERVAL
    } else {
        LOOK_INTERVAL
    };
    loop {
        hub.move_due_retries().await;
        let now = hub.now();
        let next = hub.alarm.next_due(now);
        let wait = next.map_or(interval, |next| next.saturating_since(now));
        tokio::select! {
            () = tokio::time::sleep(wait.clamp(Duration::from_millis(50), interval)) => {}
            () = hub.alarm.rung.notified() => {}
        }
    }
}

impl Hub {
    /// Moves every retry whose second has come to where the workers find it.
    pub(super) async fn move_due_retries(&self) {
        if !self.connection.is_up() {
            return;
        }
        let Some(seconds) = self.waiting_seconds().await else {
            return;
        };
        let due: Vec<u64> = seconds.range(..=self.now().as_secs()).copied().collect();
        *self.alarm.seconds() = seconds;
        for second in due {
            if self.move_second(second).await.is_none() {
                return;
            }
            self.alarm.seconds().remove(&second);
        }
    }

    /// For which seconds retries wait, as the stream tells.
    async fn waiting_seconds(&self) -> Option<BTreeSet<u64>> {
        let stream = self.names.stream(Source::Retries);
        let asked = json!({ "subjects_filter": self.names.all_waiting() });
        let answer: Response<StreamInfo> = self
            .connection
            .context
            .request(format!("STREAM.INFO.{stream}"), &asked)
            .await
            .ok()?;
        let Response::Ok(info) = answer else {
            return None;
        };
        let subjects = info.state.subjects.unwrap_or_default();
        Some(
            subjects
                .keys()
                .filter_map(|subject| self.names.second_of(subject))
                .collect(),
        )
    }

    async fn move_second(&self, second: u64) -> Option<()> {
        let name = self.names.stream(Source::Retries);
        let subject = self.names.waiting(second);
        let stream = self.connection.context.get_stream(&name).await.ok()?;
        let mut next = 1;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Ok(message) = stream
                    .get_first_raw_message_by_subject(&subject, next)
                    .await
            {
                next = message.sequence + 1;
                batch.push(message);
            }
            if batch.is_empty() {
                return Some(());
            }
            let moving = batch.into_iter().map(|message| {
                let mut headers = HeaderMap::new();
                for (name, values) in message.headers.iter() {
                    for value in values {
                        headers.append(name.clone(), value.clone());
                    }
                }
                let moved = Outgoing {
                    subject: self.names.due(Source::Retries),
                    // The time beside the place: a stream that is made again counts from 1 again.
                    id: Some(format!(
                        "due-{}-{}",
                        message.sequence,
                        message.time.unix_timestamp_nanos()
                    )),
                    headers,
                    body: message.payload,
                };
                self.acks.store(moved, self.settings.answer_timeout)
            });
            let fates = futures_util::future::join_all(moving).await;
            if fates.iter().any(|fate| *fate != Fate::Stored) {
                return None;
            }
            let asked = json!({ "filter": subject, "seq": next });
            let answer: Response<Purged> = self
                .connection
                .context
                .request(format!("STREAM.PURGE.{name}"), &asked)
                .await
                .ok()?;
            if let Response::Err { .. } = answer {
                return None;
            }
        }
    }
}
