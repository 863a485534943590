//! State that the tasks and the handles of a queue share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use bytes::Bytes;
use nahook_core::{StoreError, Timestamp};
use nahook_supervision::Exit;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use super::state::State;
use crate::acks::Acks;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::layout::{Names, Source, StreamRepair, WORKERS};
use crate::log::LogWriter;

pub(crate) struct Hub {
    pub(super) connection: Connection,
    pub(super) acks: Arc<Acks>,
    pub(super) names: Names,
    pub(super) repair: Arc<StreamRepair>,
    pub(super) settings: Arc<NatsSettings>,
    /// Delivery log, if the settings ask for it.
    pub(super) log: Option<LogWriter>,
    pub(super) started: OnceCell<()>,
    pub(super) closed: watch::Sender<bool>,
    /// Sequence of the last note that was read.
    pub(super) note_read: watch::Sender<u64>,
    /// Instant up to which all notes are known to have been read.
    notes_read_at: Mutex<Option<Instant>>,
    state: Mutex<State>,
    generation: watch::Sender<u64>,
    room: [Notify; 2],
}

impl Hub {
    pub(crate) fn new(
        connection: &Connection,
        acks: &Arc<Acks>,
        names: &Names,
        repair: &Arc<StreamRepair>,
        settings: &Arc<NatsSettings>,
    ) -> Self {
        Self {
            connection: connection.clone(),
            acks: Arc::clone(acks),
            names: names.clone(),
            repair: Arc::clone(repair),
            settings: Arc::clone(settings),
            log: settings.log.then(|| LogWriter::new(acks, names, settings)),
            started: OnceCell::new(),
            closed: watch::Sender::new(false),
            note_read: watch::Sender::new(0),
            notes_read_at: Mutex::new(None),
            state: Mutex::new(State {
                consumers: *repair.created_at().borrow(),
                ..State::default()
            }),
            generation: watch::Sender::new(0),
            room: Default::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Wakes the workers: something may have become leasable.
    pub(super) fn notify_changed(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(super) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Wakes the intake: the window has room.
    pub(super) fn notify_room(&self) {
        for room in &self.room {
            room.notify_one();
        }
    }

    pub(super) fn room_of(&self, source: Source) -> &Notify {
        match source {
            Source::Deliveries => &self.room[0],
            Source::Retries => &self.room[1],
        }
    }

    pub(super) fn notes_read_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.notes_read_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of further records that fit into the window, judged by the size of the held ones.
    pub(super) fn room(&self) -> usize {
        let settings = &self.settings;
        let state = self.state();
        let records = state.records.len();
        let free = settings.window_records_max.saturating_sub(records);
        let share = |used: usize, max: usize| {
            let each = used.checked_div(records).unwrap_or_default().max(1);
            max.saturating_sub(used).div_ceil(each)
        };
        free.min(share(state.slots.len(), settings.window_len_max))
            .min(share(state.bytes, settings.window_bytes_max))
    }

    /// Records that this many of the consumer's deliveries have arrived.
    pub(super) fn mark_seen(&self, source: Source, counted: u64) {
        let seen = &mut self.state().seen[source as usize];
        *seen = counted.max(*seen);
    }

    /// Waits until the streams have nothing left that this process has room for.
    pub(super) async fn wait_for_arrivals(&self) {
        for source in [Source::Deliveries, Source::Retries] {
            while !self.has_arrived(source).await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    async fn has_arrived(&self, source: Source) -> bool {
        let name = self.names.stream(source);
        let Ok(stream) = self.connection.context.get_stream(&name).await else {
            return false;
        };
        let Ok(consumer) = stream.get_consumer::<pull::Config>(WORKERS).await else {
            return false;
        };
        let info = consumer.cached_info();
        // The consumer learns of a message after its publisher.
        let state = &stream.cached_info().state;
        let has_heard = match source {
            Source::Deliveries => {
                state.messages == 0 || info.delivered.stream_sequence >= state.last_sequence
            }
            Source::Retries => true,
        };
        let seen = self.state().seen[source as usize];
        (has_heard && info.num_pending == 0 && seen >= info.delivered.consumer_sequence)
            || self.room() == 0
    }

    /// Number of the source's records that no process has pulled.
    pub(super) async fn unpulled(&self, source: Source) -> Result<u64, StoreError> {
        let stream = self.names.stream(source);
        let context = &self.connection.context;
        let consumer = context.get_consumer_from_stream(WORKERS, stream).await;
        let consumer: PullConsumer = consumer.map_err(StoreError::unavailable)?;
        Ok(consumer.cached_info().num_pending)
    }

    /// Acknowledges records. If the acknowledgement gets lost, the record comes again, and is acknowledged again.
    pub(super) async fn acknowledge(&self, acks: impl IntoIterator<Item = Subject>) {
        self.send_word(acks, "+ACK").await;
    }

    /// Tells the server that these records are in progress.
    pub(super) async fn keep_alive(&self, acks: impl IntoIterator<Item = Subject>) {
        self.send_word(acks, "+WPI").await;
    }

    /// Releases records to other processes.
    pub(super) async fn send_nak(&self, acks: impl IntoIterator<Item = Subject>) {
        self.send_word(acks, "-NAK").await;
    }

    async fn send_word(&self, acks: impl IntoIterator<Item = Subject>, word: &'static str) {
        for ack in acks.into_iter().filter(|ack| !ack.is_empty()) {
            // Without a connection the client would send it too late.
            if !self.connection.is_up() {
                return;
            }
            let word = Bytes::from_static(word.as_bytes());
            let _ = self.connection.client.publish(ack, word).await;
        }
    }
}

/// Keeps acknowledgements that were meant for a consumer from another that was created in its place.
pub(super) async fn watch_consumers(hub: Arc<Hub>) -> Exit {
    let mut created_at = hub.repair.created_at();
    // A change that was missed while the loop was down is made up for.
    created_at.mark_changed();
    while created_at.changed().await.is_ok() {
        let now = *created_at.borrow_and_update();
        let mut state = hub.state();
        for source in [Source::Deliveries, Source::Retries] {
            if now[source as usize] != state.consumers[source as usize] {
                state.forget_acks(source);
                // The new one counts from 1.
                state.seen[source as usize] = 0;
            }
        }
        state.consumers = now;
    }
    Exit::Stopped
}
