//! Telling other processes, and hearing from them: LISTEN and NOTIFY on a channel with the schema's name.
//!
//! `c` and a workspace's id: its catalog has changed; sent in the transaction that changes it. `q`: deliveries may have
//! become leasable; sent in a caller's own transaction where it publishes, and else right after the commit: taking
//! the server-wide lock of NOTIFY in every publish would make all of them wait for one another. `r`: the same, and they are records
//! that anybody may take.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use nahook_core::Causes;
use nahook_core::id::WorkspaceId;
use nahook_queue::Generation;
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, Client, Notification};

use crate::cache::Cache;
use crate::connection::{Connector, Link};
use crate::error::PgError;
use crate::lender::Lender;
use crate::metric;
use crate::parameter::Parameter;
use crate::statement::quoted;
use crate::{ConnectError, PostgresSettings};

/// Interval at which the connection is checked.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Timeout of an answer, after which the connection counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Every so many heartbeats workers look for themselves: a process may die between its commit and telling of it.
const HEARTBEATS_PER_LOOK: u32 = 5;

/// At most one notification is sent in this time.
const TELL_PAUSE: Duration = Duration::from_millis(2);

/// The same behind a pooler, where each takes a transaction.
const TELL_PAUSE_POOLED: Duration = Duration::from_millis(100);

/// Nothing waits for the disk: others look for themselves, too.
const TELL: &str =
    "SELECT pg_notify($1, $2) WHERE set_config('synchronous_commit', 'off', true) = 'off'";

/// Delay before connecting again, shortest and longest; it doubles each time.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Time for which a write that found no room on the server's disk counts; then the next one tries.
const DISK_FULL_FOR: Duration = Duration::from_secs(2);

/// Notifications of changes for the tasks of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) cache: Cache,
    generation: Generation,
    /// True if rows may have become leasable since somebody looked.
    rows_changed: AtomicBool,
    /// True if there may be records since somebody looked.
    records_changed: AtomicBool,
    to_tell: Notify,
    /// True if they are to be told of rows.
    are_rows_to_tell: AtomicBool,
    /// Instant at which the server last had no room on its disk.
    disk_full_at: Mutex<Option<Instant>>,
    /// True once it had none: who asks for each event takes no lock before.
    was_disk_full: AtomicBool,
}

impl Signals {
    pub(crate) fn new(cache_len_max: usize) -> Self {
        Self {
            cache: Cache::new(cache_len_max),
            generation: Generation::default(),
            rows_changed: AtomicBool::new(true),
            records_changed: AtomicBool::new(true),
            to_tell: Notify::new(),
            are_rows_to_tell: AtomicBool::new(false),
            disk_full_at: Mutex::default(),
            was_disk_full: AtomicBool::new(false),
        }
    }

    /// The server has refused to write for lack of room on its disk.
    pub(crate) fn note_full_disk(&self) {
        let mut at = self
            .disk_full_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_news = at.is_none_or(|at| at.elapsed() >= 2 * DISK_FULL_FOR);
        *at = Some(Instant::now());
        self.was_disk_full.store(true, Ordering::Release);
        if is_news {
            tracing::warn!("the database's disk is full");
        }
    }

    /// Returns true if the server had no room on its disk a moment ago.
    pub(crate) fn is_disk_full(&self) -> bool {
        if !self.was_disk_full.load(Ordering::Acquire) {
            return false;
        }
        let at = self.disk_full_at.lock();
        let at = *at.unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < DISK_FULL_FOR)
    }

    /// Rows may have become leasable by our doing: our workers know at once, others soon.
    pub(crate) fn rows_have_changed(&self) {
        self.wake();
        self.are_rows_to_tell.store(true, Ordering::Release);
        self.to_tell.notify_one();
    }

    /// There are records that anybody may take, or rows that will be ready in time: our workers know at once, others soon.
    pub(crate) fn records_have_come(&self) {
        self.wake_for_records();
        self.to_tell.notify_one();
    }

    /// Deliveries of records may have become leasable for this process alone.
    pub(crate) fn wake_for_records(&self) {
        self.note_records();
        self.wake_for_room();
    }

    /// There is room for further deliveries in hand.
    pub(crate) fn wake_for_room(&self) {
        self.generation.advance();
    }

    /// Returns true if rows may have become leasable since this was last asked.
    pub(crate) fn take_rows_changed(&self) -> bool {
        self.rows_changed.swap(false, Ordering::AcqRel)
    }

    /// Returns true if there may be records since this was last asked.
    pub(crate) fn take_records_changed(&self) -> bool {
        self.records_changed.swap(false, Ordering::AcqRel)
    }

    /// There may be records that nobody has taken.
    pub(crate) fn note_records(&self) {
        self.records_changed.store(true, Ordering::Release);
    }

    /// The payload of the notification that is due.
    fn news(&self) -> &'static str {
        if self.are_rows_to_tell.swap(false, Ordering::AcqRel) {
            "q"
        } else {
            "r"
        }
    }

    /// Rows may be leasable that were not leased.
    pub(crate) fn note_rows(&self) {
        self.rows_changed.store(true, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    pub(crate) async fn changed(&self, generation: u64) {
        self.generation.changed(generation).await;
    }

    /// Deliveries may have become leasable for this process alone.
    pub(crate) fn wake(&self) {
        self.note_rows();
        self.wake_for_records();
    }

    fn heard(&self, notification: &Notification, own_process: i32) {
        match notification.payload().split_at_checked(1) {
            // Whoever sent it from here has been woken.
            Some(("q" | "r", _)) if notification.process_id() == own_process => {}
            Some(("r", _)) => self.wake_for_records(),
            Some(("c", id)) => {
                match WorkspaceId::new(id) {
                    Ok(workspace) => self.cache.forget(&workspace),
                    Err(_) => self.cache.forget_all(),
                }
                self.wake();
            }
            _ => self.wake(),
        }
    }

    /// Nothing is heard from here on, and something may have been missed.
    fn lost(&self) {
        self.cache.distrust();
        self.wake();
    }
}

/// Means of hearing of changes.
#[derive(Clone, Debug)]
pub(crate) enum Ears {
    /// On a session of our own.
    Listen(Box<Connector>),
    /// Not at all: only a pooler's sessions are within reach, which belong to others after each transaction.
    Poll,
}

impl Ears {
    /// The direct URL if there is one, and else the store's own unless it leads to a pooler.
    ///
    /// `link` is a connection of the store's own URL.
    pub(crate) async fn of(
        connector: &Connector,
        link: &Link,
        settings: &PostgresSettings,
    ) -> Result<Self, ConnectError> {
        if let Some(url) = &settings.direct_url {
            let (direct, direct_link) = Connector::recognize(url, settings).await?;
            if direct.is_pooled() {
                return Err(ConnectError::DirectUrl);
            }
            // 63 random bits, which always fit.
            let key = i64::try_from(settings.ids.random() >> 65).unwrap_or(i64::MAX);
            if !lead_to_same_database(&direct_link, link, key).await? {
                return Err(ConnectError::OtherDatabase);
            }
            return Ok(Self::Listen(Box::new(direct)));
        }
        if connector.is_pooled() {
            tracing::warn!(
                "a pooler is in between and there is no direct URL: look-ups are not cached, and workers poll"
            );
            return Ok(Self::Poll);
        }
        Ok(Self::Listen(Box::new(connector.clone())))
    }
}

/// Returns true if a lock that one connection holds is held for the other, too: advisory locks belong to a database.
async fn lead_to_same_database(direct: &Link, link: &Link, key: i64) -> Result<bool, PgError> {
    // Held until the direct connection ends.
    direct
        .ask_key("SELECT pg_try_advisory_lock($1)", key)
        .await?;
    let is_free = link.ask_key("SELECT pg_try_advisory_xact_lock($1)", key);
    Ok(!is_free.await?)
}

/// Shared parts that the listener works with.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) ears: Ears,
    pub(crate) lender: Lender,
    pub(crate) schema: String,
    pub(crate) signals: Arc<Signals>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Listener {
    /// Listens, or polls, until told to stop.
    pub(crate) fn start(self, supervisor: &Supervisor) -> JoinHandle<()> {
        supervisor.spawn(Loop::PostgresListener, move || {
            let listener = self.clone();
            async move {
                let mut stop = listener.stop.clone();
                let working = async {
                    match &listener.ears {
                        Ears::Listen(connector) => listener.listen(connector).await,
                        Ears::Poll => listener.poll().await,
                    }
                };
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => {}
                    () = working => {}
                }
                Exit::Stopped
            }
        })
    }

    async fn listen(&self, connector: &Connector) {
        let mut pause = RECONNECT_PAUSES.0;
        loop {
            let started = Instant::now();
            let Err(error) = session(connector, &self.schema, &self.signals).await;
            counter!(metric::LISTENER_LOSSES).increment(1);
            tracing::warn!(error = %Causes(&error), "not listening for changes; look-ups go to the database");
            if started.elapsed() > RECONNECT_PAUSES.1 {
                pause = RECONNECT_PAUSES.0;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSES.1);
        }
    }

    /// Wakes the workers every second, and tells others that deliveries may have become leasable.
    async fn poll(&self) {
        let mut looks = tokio::time::interval(HEARTBEAT);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.signals.wake(),
                () = self.signals.to_tell.notified() => {
                    // A pooler that does not answer must not keep the workers from looking.
                    let parameters: [&dyn Parameter; 2] = [&self.schema, &self.signals.news()];
                    let telling = timeout(ANSWER_TIMEOUT, self.lender.query(TELL, &parameters));
                    let told = telling.await.unwrap_or(Err(PgError::NoConnection));
                    if let Err(error) = told {
                        tracing::debug!(error = %Causes(&error), "other processes are not told; they look for themselves");
                    }
                    tokio::time::sleep(TELL_PAUSE_POOLED).await;
                }
            }
        }
    }
}

/// Stops trusting what was heard when the session ends, however it ends.
struct Trust<'a>(&'a Signals);

impl Drop for Trust<'_> {
    fn drop(&mut self) {
        self.0.lost();
    }
}

/// Listens for as long as one connection lasts.
async fn session(
    connector: &Connector,
    schema: &str,
    signals: &Arc<Signals>,
) -> Result<std::convert::Infallible, PgError> {
    let _trust = Trust(signals);
    let connecting = timeout(ANSWER_TIMEOUT, connector.open());
    let (client, mut connection) = connecting.await.map_err(|_| PgError::NoConnection)??;
    let hearing = Arc::clone(signals);
    let (own_process, process) = watch::channel(0);
    let _driver = AbortOnDrop(tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                hearing.heard(&notification, *process.borrow());
            }
        }
    }));
    timeout(ANSWER_TIMEOUT, connector.check(&client))
        .await
        .map_err(|_| PgError::NoConnection)??;
    // Losing a notification to a crash of the server loses its listeners, too: nothing to wait for the disk for.
    say(&client, "SET synchronous_commit = off").await?;
    let pid = timeout(
        ANSWER_TIMEOUT,
        client.query_one("SELECT pg_backend_pid()", &[]),
    );
    let pid = pid.await.map_err(|_| PgError::NoConnection)??;
    own_process.send_replace(pid.try_get(0)?);
    let listening_since = Instant::now();
    let channel = quoted(schema);
    say(&client, &format!("LISTEN {channel}")).await?;
    // What happened before is not heard any more.
    signals.cache.forget_all();
    signals.cache.confirm(listening_since);
    signals.wake();
    // A notification that was due when the last connection was lost.
    say(&client, &format!("NOTIFY {channel}, 'q'")).await?;
    let mut heartbeats = tokio::time::interval(HEARTBEAT);
    heartbeats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        tokio::select! {
            _ = heartbeats.tick() => {
                let asked_at = Instant::now();
                say(&client, "SELECT 1").await?;
                signals.cache.confirm(asked_at);
                looks += 1;
                if looks % HEARTBEATS_PER_LOOK == 0 {
                    signals.wake();
                }
            }
            () = signals.to_tell.notified() => {
                say(&client, &format!("NOTIFY {channel}, '{}'", signals.news())).await?;
                tokio::time::sleep(TELL_PAUSE).await;
            }
        }
    }
}

async fn say(client: &Client, statement: &str) -> Result<(), PgError> {
    timeout(ANSWER_TIMEOUT, client.batch_execute(statement))
        .await
        .map_err(|_| PgError::NoConnection)??;
    Ok(())
}

/// A task that ends with whoever started it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
