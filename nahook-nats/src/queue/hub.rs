//! What the tasks and the handles of a queue share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use nahook_core::Timestamp;
use nahook_supervision::Exit;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use super::notes::Position;
use super::state::State;
use super::wake::Alarm;
use crate::acks::Acks;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::layout::{Mending, Names, Source, WORKERS};
use crate::log::LogWriter;

pub(crate) struct Hub {
    pub(super) connection: Connection,
    pub(super) acks: Arc<Acks>,
    pub(super) names: Names,
    pub(super) mending: Arc<Mending>,
    pub(super) settings: Arc<NatsSettings>,
    /// Whether retries wait as scheduled messages.
    pub(super) scheduled: bool,
    /// Who is told what became of deliveries.
    pub(super) log: Option<LogWriter>,
    pub(super) started: OnceCell<()>,
    pub(super) closed: watch::Sender<bool>,
    /// How far the notes of all processes have been read.
    pub(super) position: Position,
    pub(super) alarm: Alarm,
    state: Mutex<State>,
    generation: watch::Sender<u64>,
    room: [Notify; 2],
    /// Nothing more is taken until then.
    intake_from: Mutex<Instant>,
}

impl Hub {
    pub(crate) fn new(
        connection: &Connection,
        acks: &Arc<Acks>,
        names: &Names,
        mending: &Arc<Mending>,
        settings: &Arc<NatsSettings>,
        scheduled: bool,
    ) -> Self {
        Self {
            connection: connection.clone(),
            acks: Arc::clone(acks),
            names: names.clone(),
            mending: Arc::clone(mending),
            settings: Arc::clone(settings),
            scheduled,
            log: settings.log.then(|| LogWriter::new(acks, names, settings)),
            started: OnceCell::new(),
            closed: watch::Sender::new(false),
            position: Position::default(),
            alarm: Alarm::default(),
            state: Mutex::new(State {
                consumers: *mending.made_at().borrow(),
                ..State::default()
            }),
            generation: watch::Sender::new(0),
            room: Default::default(),
            intake_from: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Says that something may be leasable that was not.
    pub(super) fn changed(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(super) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Says that records have left.
    pub(super) fn has_room(&self) {
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

    /// Leaves what there is to others for so long.
    pub(super) fn pause_intake(&self, pause: Duration) {
        *self.intake_from() = Instant::now() + pause;
    }

    fn intake_from(&self) -> MutexGuard<'_, Instant> {
        self.intake_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more records may be taken in, by what those in hand are like.
    pub(super) fn room(&self) -> usize {
        if Instant::now() < *self.intake_from() {
            return 0;
        }
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

    /// Notes that so many of the consumer's deliveries have come.
    pub(super) fn seen(&self, source: Source, counted: u64) {
        let seen = &mut self.state().seen[source as usize];
        *seen = counted.max(*seen);
    }

    /// Waits until the streams have nothing for us that we have room for.
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
        // The consumer hears of a message a moment after whoever published it.
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

    /// Tells the server that these records are done. A word that gets lost is told again when it brings the record again.
    pub(super) async fn acknowledge(&self, acks: impl IntoIterator<Item = Subject>) {
        self.tell(acks, "+ACK").await;
    }

    /// Tells the server that these records are in work.
    pub(super) async fn keep_alive(&self, acks: impl IntoIterator<Item = Subject>) {
        self.tell(acks, "+WPI").await;
    }

    /// Tells the server to give these records to somebody else.
    pub(super) async fn give_back(&self, acks: impl IntoIterator<Item = Subject>) {
        self.tell(acks, "-NAK").await;
    }

    async fn tell(&self, acks: impl IntoIterator<Item = Subject>, word: &'static str) {
        for ack in acks.into_iter().filter(|ack| !ack.is_empty()) {
            // Without a connection it would be told when nobody cares any more.
            if !self.connection.is_up() {
                return;
            }
            let word = Bytes::from_static(word.as_bytes());
            let _ = self.connection.client.publish(ack, word).await;
        }
    }
}

/// Lets no acknowledgement that was meant for a consumer reach another that was made in its place.
pub(super) async fn mind_consumers(hub: Arc<Hub>) -> Exit {
    let mut made_at = hub.mending.made_at();
    // What changed while the loop was down is made good.
    made_at.mark_changed();
    while made_at.changed().await.is_ok() {
        let now = *made_at.borrow_and_update();
        let mut state = hub.state();
        for source in [Source::Deliveries, Source::Retries] {
            if now[source as usize] != state.consumers[source as usize] {
                state.forget_acks(source);
                // The new one begins to count anew.
                state.seen[source as usize] = 0;
            }
        }
        state.consumers = now;
    }
    Exit::Stopped
}
