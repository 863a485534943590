use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nahook_core::StoreErrorKind;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{DeliveryRecorder, LogEntry};

/// The first pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// Shortest time between two calls, unless a whole batch waits: a commit of a hundred entries costs hardly more than one of ten.
const GATHERING: Duration = Duration::from_millis(5);

/// A buffer before a [`DeliveryRecorder`] that never blocks: entries wait in memory and are recorded in batches in the
/// background.
///
/// Memory is bounded: entries beyond it are dropped and [counted](Self::dropped). So recording is best effort, for entries
/// that a worker's later ones make up for, such as that an event was accepted.
#[derive(Clone, Debug)]
pub struct RecorderBuffer {
    shared: Arc<Shared>,
}

/// The buffer's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecorderBufferSettings {
    /// Largest number of entries that wait: 100,000.
    pub entries_max: usize,
    /// Largest number of payload bytes that their events have: 64 MiB.
    pub payload_bytes_max: usize,
    /// Largest number of entries recorded by one call: 1,000.
    pub batch_len_max: usize,
    /// The longest pause between two tries while the recorder fails: 5 s.
    pub pause_max: Duration,
}

impl Default for RecorderBufferSettings {
    fn default() -> Self {
        Self {
            entries_max: 100_000,
            payload_bytes_max: 64 << 20,
            batch_len_max: 1_000,
            pause_max: Duration::from_secs(5),
        }
    }
}

#[derive(Debug)]
struct Shared {
    settings: RecorderBufferSettings,
    waiting: Mutex<Waiting>,
    news: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<LogEntry>,
    payload_bytes: usize,
}

impl RecorderBuffer {
    /// An empty buffer.
    pub fn new(settings: RecorderBufferSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                waiting: Mutex::default(),
                news: Notify::new(),
                dropped: AtomicU64::new(0),
            }),
        }
    }

    /// Takes entries in, without waiting, as far as there is room. Entries of one event should come together.
    pub fn push(&self, entries: impl IntoIterator<Item = LogEntry>) {
        let settings = &self.shared.settings;
        let mut dropped = 0;
        {
            let mut waiting = self.waiting();
            for entry in entries {
                let bytes = waiting.further_bytes(&entry);
                if waiting.entries.len() >= settings.entries_max
                    || waiting.payload_bytes.saturating_add(bytes) > settings.payload_bytes_max
                {
                    dropped += 1;
                    continue;
                }
                waiting.payload_bytes += bytes;
                waiting.entries.push_back(entry);
            }
        }
        if dropped > 0 {
            self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        self.shared.news.notify_one();
    }

    /// Returns the number of entries that were dropped for want of room, or that the recorder refused for good.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of entries that wait.
    pub fn len(&self) -> usize {
        self.waiting().entries.len()
    }

    /// Returns true if none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records what comes, until `stop` resolves, and then once what is left. While the recorder is unavailable it is asked
    /// again after ever longer pauses. One task at a time.
    ///
    /// Dropping the future loses the batch under way and nothing else.
    pub async fn run(
        &self,
        recorder: impl DeliveryRecorder,
        stop: impl Future<Output = ()> + Send,
    ) {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.record_for_ever(&recorder) => {}
        }
        while !self.is_empty() {
            let batch = self.take();
            if recorder.record(&batch).await.is_err() {
                self.put_back(batch);
                return;
            }
        }
    }

    async fn record_for_ever(&self, recorder: &impl DeliveryRecorder) {
        let mut pause = PAUSE;
        let mut not_before = Instant::now();
        loop {
            if self.is_empty() {
                self.shared.news.notified().await;
                continue;
            }
            if self.len() < self.shared.settings.batch_len_max {
                sleep_until(not_before).await;
            }
            not_before = Instant::now() + GATHERING;
            // Put back if this is cancelled.
            let mut taken = Taken {
                buffer: self,
                batch: self.take(),
            };
            match recorder.record(&taken.batch).await {
                Ok(()) => pause = PAUSE,
                Err(error) if error.kind() == StoreErrorKind::Internal => {
                    let refused = refused_of(recorder, &taken.batch).await;
                    self.shared.dropped.fetch_add(refused, Ordering::Relaxed);
                }
                Err(_) => {
                    drop(taken);
                    sleep(pause).await;
                    pause = (pause * 2).min(self.shared.settings.pause_max);
                    continue;
                }
            }
            taken.batch.clear();
        }
    }

    fn take(&self) -> Vec<LogEntry> {
        let mut waiting = self.waiting();
        let len = waiting
            .entries
            .len()
            .min(self.shared.settings.batch_len_max.max(1));
        let batch: Vec<_> = waiting.entries.drain(..len).collect();
        waiting.payload_bytes -= waiting.bytes_before(&batch);
        batch
    }

    fn put_back(&self, batch: Vec<LogEntry>) {
        let mut waiting = self.waiting();
        waiting.payload_bytes += waiting.bytes_before(&batch);
        for entry in batch.into_iter().rev() {
            waiting.entries.push_front(entry);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Returns the payload bytes that the entry would add at the end: neighbours of one event share them.
    fn further_bytes(&self, entry: &LogEntry) -> usize {
        match self.entries.back() {
            Some(last) if Arc::ptr_eq(&last.event, &entry.event) => 0,
            _ => entry.event.payload.len(),
        }
    }

    /// Returns the payload bytes that the batch adds before the first.
    fn bytes_before(&self, batch: &[LogEntry]) -> usize {
        let next = batch.iter().skip(1).chain(self.entries.front());
        let next = next.map(Some).chain(std::iter::once(None));
        batch
            .iter()
            .zip(next)
            .filter(|(entry, next)| next.is_none_or(|next| !Arc::ptr_eq(&entry.event, &next.event)))
            .map(|(entry, _)| entry.event.payload.len())
            .sum()
    }
}

/// Records event by event what was refused together; answers how many entries are refused still.
async fn refused_of(recorder: &impl DeliveryRecorder, batch: &[LogEntry]) -> u64 {
    let mut refused = 0;
    for entries in batch.chunk_by(|one, next| one.event.id == next.event.id) {
        if recorder.record(entries).await.is_err() {
            refused += entries.len() as u64;
        }
    }
    refused
}

/// A batch that is being recorded.
struct Taken<'a> {
    buffer: &'a RecorderBuffer,
    batch: Vec<LogEntry>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.batch.is_empty() {
            self.buffer.put_back(std::mem::take(&mut self.batch));
        }
    }
}
