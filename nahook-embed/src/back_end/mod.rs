//! The back end behind the ports, chosen by URL.

#[cfg(feature = "nats")]
mod by_key;
mod gate;
mod latest_call;
#[cfg(feature = "nats")]
mod nats;
mod parts;
mod url;
mod usage;
mod watched;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    Catalog, CreatingSubscriptions, EndpointDirectory, KeyStore, Management, ManagementStore,
    MasterKeys, RotateError, SecretBox, SecretText, SessionStore,
};
use nahook_core::{
    Clock, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore, GcraLimiter, IdSource,
    StoreError, SystemClock,
};
use nahook_delivery::{
    DeliveryEvents, DeliveryLag, EventSender, HttpTransport, Worker, WorkerSettings,
};
use nahook_memory::MemoryStore;
#[cfg(feature = "postgres")]
use nahook_postgres::PostgresStore;
use nahook_queue::{
    DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliverySearch, EventSearch, Redelivery,
};
#[cfg(feature = "sqlite")]
use nahook_sqlite::{SqliteLimiter, SqliteSettings, SqliteStore};
use nahook_supervision::Supervisor;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::gate::Gated;
pub use self::gate::PublishGate;
pub use self::latest_call::LatestCall;
#[cfg(feature = "nats")]
use self::nats::NatsBackend;
pub(crate) use self::parts::Parts;
pub use self::parts::Store;
pub use self::url::{QueueUrl, StoreUrl};
use self::usage::Usage;
pub use self::watched::LatestCalls;
use self::watched::Watched;
use crate::OpenError;

/// A back end for every port.
#[derive(Clone)]
#[non_exhaustive]
pub struct Backend {
    /// Workspaces and what is in them.
    pub catalog: Arc<dyn Catalog>,
    /// Endpoints as workers need them.
    pub endpoints: Arc<dyn EndpointDirectory>,
    /// Lists of events.
    pub event_search: Arc<dyn EventSearch>,
    /// Keys and tokens.
    pub keys: Arc<dyn KeyStore>,
    /// Rate limits.
    pub limiter: Arc<dyn DynRateLimiter>,
    /// History of deliveries.
    pub log: Arc<dyn DeliveryLog>,
    /// Records of the workspaces, changed one decision at a time.
    pub management: Arc<dyn ManagementStore>,
    /// Publishes deliveries to the queue.
    pub publisher: Arc<dyn DynDeliveryPublisher>,
    /// The queue.
    pub queue: Arc<dyn DeliveryQueue>,
    /// Log that a queue outside the store reports its deliveries to.
    pub recorder: Arc<dyn DeliveryRecorder>,
    /// Deliveries that can be queued again.
    pub redelivery: Arc<dyn Redelivery>,
    /// Lists of deliveries.
    pub search: Arc<dyn DeliverySearch>,
    /// Sessions of the pages.
    pub sessions: Arc<dyn SessionStore>,
    /// Subscriptions.
    pub subscriptions: Arc<dyn DynSubscriptionStore>,
    /// Latest calls of the publisher, of each queue and of look-ups.
    pub latest_calls: Vec<LatestCalls>,
    /// Time that deliveries wait for the workers of this process.
    pub lag: DeliveryLag,
    /// Gate that publishing passes.
    pub gate: PublishGate,
    /// News of what the workers of this process deliver.
    pub(crate) events: EventSender,
    /// Accounts of the workspaces, which both APIs draw on.
    #[cfg(feature = "http")]
    pub(crate) budgets: nahook_http::Budgets,
    /// The store's own queue, whether or not it is the queue.
    of_store: Arc<dyn DeliveryQueue>,
    opened: Opened,
    #[cfg(feature = "nats")]
    nats: Option<NatsBackend>,
}

/// Choices that an opening takes beside the URLs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendSettings {
    /// Time for which the delivery log is kept: 7 days. What is not settled is kept until it is.
    pub retention: Duration,
    /// Bytes of the disk of a file that publishing leaves free; 5 % of it and at most 256 MiB unless set. Zero turns this off.
    pub disk_free_min: Option<u64>,
    /// Accepts a file that an app has made, and adds the store's tables to it. [`Hooks`](crate::Hooks) always does.
    pub shares_file: bool,
    /// The operator's keys, with which the store's secrets are sealed: signing secrets, passwords, configurations. Without
    /// any they are kept as they are; a store that was sealed needs one.
    pub secret_keys: Option<MasterKeys>,
    /// Runs the loops.
    pub supervisor: Supervisor,
    /// Settings of a store on Postgres.
    #[cfg(feature = "postgres")]
    pub postgres: nahook_postgres::PostgresSettings,
    /// Settings of a queue on NATS.
    #[cfg(feature = "nats")]
    pub nats: nahook_nats::NatsSettings,
}

impl Default for BackendSettings {
    fn default() -> Self {
        Self {
            retention: Duration::from_hours(7 * 24),
            disk_free_min: None,
            shares_file: false,
            secret_keys: None,
            supervisor: Supervisor::new(),
            #[cfg(feature = "postgres")]
            postgres: nahook_postgres::PostgresSettings::default(),
            #[cfg(feature = "nats")]
            nats: nahook_nats::NatsSettings::default(),
        }
    }
}

/// Storage without space for new events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoSpace {
    /// The disk of the store's file, or that of the database.
    Disk,
    /// The queue's own.
    Queue,
}

/// Resources to close.
#[derive(Clone)]
enum Opened {
    /// Nothing is to be closed, or the app does it.
    Elsewhere,
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore, Option<SqliteLimiter>),
}

impl Backend {
    /// Opens the store and the queue for a process that serves, which is the only one on an embedded file and forgets what was
    /// settled and accepted longer ago than the retention. Makes what does not exist yet.
    pub async fn open_server(
        store: &StoreUrl,
        queue: &QueueUrl,
        settings: &BackendSettings,
    ) -> Result<Self, OpenError> {
        let backend = Self::open(store, Usage::Server, settings).await?;
        Box::pin(backend.watched(queue, settings)).await
    }

    /// Connects the queue, and watches what calls come to.
    pub(crate) async fn watched(
        mut self,
        queue: &QueueUrl,
        settings: &BackendSettings,
    ) -> Result<Self, OpenError> {
        self.of_store = self.watch_queue(Arc::clone(&self.of_store));
        self.queue = Arc::clone(&self.of_store);
        if let QueueUrl::Nats(servers) = queue {
            self = self.with_nats(servers, settings).await?;
        }
        self.watch_publisher();
        self.watch_look_ups();
        Ok(self)
    }

    #[cfg(not(feature = "nats"))]
    async fn with_nats(self, _: &SecretText, _: &BackendSettings) -> Result<Self, OpenError> {
        self.close().await?;
        Err(OpenError::NotBuilt("nats"))
    }

    /// From here on readiness knows what calls of this queue come to.
    fn watch_queue(&mut self, queue: Arc<dyn DeliveryQueue>) -> Arc<dyn DeliveryQueue> {
        let latest_calls = LatestCalls::default();
        self.latest_calls.push(latest_calls.clone());
        Arc::new(Watched {
            inner: queue,
            latest_calls,
        })
    }

    /// The same for what is published.
    fn watch_publisher(&mut self) {
        let latest_calls = LatestCalls::default();
        self.latest_calls.push(latest_calls.clone());
        // Outside of what is watched: waiting at the gate is no sign of a queue that does not answer.
        self.publisher = Arc::new(Gated {
            inner: Watched {
                inner: Arc::clone(&self.publisher),
                latest_calls,
            },
            gate: self.gate.clone(),
        });
    }

    /// The same for what each request looks up.
    fn watch_look_ups(&mut self) {
        let latest_calls = LatestCalls::default();
        self.latest_calls.push(latest_calls.clone());
        self.keys = Arc::new(Watched {
            inner: Arc::clone(&self.keys),
            latest_calls: latest_calls.clone(),
        });
        self.subscriptions = Arc::new(Watched {
            inner: Arc::clone(&self.subscriptions),
            latest_calls,
        });
    }

    /// The queues that need a worker: where the queue is on NATS the store's own as well, in which waits what was queued before
    /// that, and what only a store's transaction can queue.
    pub fn queues(&self) -> Vec<Arc<dyn DeliveryQueue>> {
        let mut queues = vec![Arc::clone(&self.queue)];
        if self.has_queue_elsewhere() {
            queues.push(Arc::clone(&self.of_store));
        }
        queues
    }

    /// Returns true if the queue is not the store's.
    fn has_queue_elsewhere(&self) -> bool {
        !Arc::ptr_eq(&self.queue, &self.of_store)
    }

    /// Delivers what waits in the queues, with at most so many connections, until `stop` says so. The workers run on `runtime`.
    pub fn deliver(
        &self,
        transport: &Arc<HttpTransport>,
        connections_max: usize,
        supervisor: &Supervisor,
        runtime: &Handle,
        stop: &watch::Sender<bool>,
    ) -> JoinHandle<()> {
        let queues = self.queues();
        let mut settings = WorkerSettings::default();
        let share = connections_max / queues.len().max(1);
        settings.in_flight_max = settings.in_flight_max.min(share);
        let mut workers = Vec::new();
        for queue in queues {
            let endpoints = Arc::clone(&self.endpoints);
            let worker = Worker::new(queue, endpoints, Arc::clone(transport));
            let worker = worker.with_settings(settings.clone());
            let worker = worker.with_events(self.events.clone());
            let worker = worker.with_lag(self.lag.clone());
            let stop = stop.subscribe();
            let stopping = move || stopped_by(stop.clone());
            workers.push(worker.supervise(supervisor, runtime, stopping));
        }
        tokio::spawn(async move {
            for worker in workers {
                // An error says that the runtime has ended it.
                let _ = worker.await;
            }
        })
    }

    /// Brings what happens on a queue that is not the store's into the store's log, until `stop` says so; returns at once
    /// where the queue is the store's. What this process has accepted it tells in any case; `delivers` says whether it also
    /// brings there what workers tell, of whichever process.
    pub async fn keep_log(
        &self,
        delivers: bool,
        supervisor: &Supervisor,
        stop: watch::Receiver<bool>,
    ) {
        let attempted = async {
            if delivers {
                self.record_attempted(stop.clone()).await;
            }
        };
        tokio::join!(self.record_accepted(supervisor, stop.clone()), attempted);
    }

    /// The part of [`keep_log`](Self::keep_log) that every process needs: one call at a time.
    pub(crate) async fn record_accepted(
        &self,
        supervisor: &Supervisor,
        stop: watch::Receiver<bool>,
    ) {
        #[cfg(not(feature = "nats"))]
        let _ = (supervisor, stop);
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            queue
                .record_accepted(&self.recorder, supervisor, stop)
                .await;
        }
    }

    /// A back end in memory with this clock and these ids, for tests.
    pub(crate) fn memory(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        let limiter = GcraLimiter::new(Arc::clone(&clock));
        let store = MemoryStore::new(clock, ids);
        Self::over(store, Arc::new(limiter), Opened::Elsewhere)
    }

    /// The part of [`keep_log`](Self::keep_log) that goes with delivering: any number of calls at a time.
    pub(crate) async fn record_attempted(&self, stop: watch::Receiver<bool>) {
        #[cfg(not(feature = "nats"))]
        let _ = stop;
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            queue.record_attempted(&self.recorder, stop).await;
        }
    }

    /// Opens the store for a command that runs beside a server.
    pub async fn open_tool(
        store: &StoreUrl,
        secret_keys: Option<MasterKeys>,
    ) -> Result<Self, OpenError> {
        let settings = BackendSettings {
            secret_keys,
            ..BackendSettings::default()
        };
        Self::open(store, Usage::Tool, &settings).await
    }

    /// Opens a store that exists already for a command that runs beside a server: a command that only looks must not make
    /// an empty store at a wrong place.
    pub async fn open_existing(
        store: &StoreUrl,
        secret_keys: Option<MasterKeys>,
    ) -> Result<Self, OpenError> {
        if let StoreUrl::Sqlite(path) = store
            && !path.exists()
        {
            let (path, reason) = (path.clone(), "there is no store here".to_owned());
            return Err(OpenError::File { path, reason });
        }
        Self::open_tool(store, secret_keys).await
    }

    async fn open(
        store: &StoreUrl,
        usage: Usage,
        settings: &BackendSettings,
    ) -> Result<Self, OpenError> {
        match store {
            StoreUrl::Memory => {
                let limiter = GcraLimiter::new(Arc::new(SystemClock));
                let store = MemoryStore::default();
                Ok(Self::over(store, Arc::new(limiter), Opened::Elsewhere))
            }
            StoreUrl::Postgres(url) => Self::open_postgres(url, usage, settings).await,
            StoreUrl::Sqlite(path) => Self::open_sqlite(path, usage, settings).await,
        }
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres(
        url: &SecretText,
        usage: Usage,
        settings: &BackendSettings,
    ) -> Result<Self, OpenError> {
        let store = PostgresStore::connect(url.expose(), usage.postgres(settings)).await;
        let store = store.map_err(|error| OpenError::Database(error.into()))?;
        let limiter = Arc::new(store.limiter());
        Ok(Self::over(store.clone(), limiter, Opened::Postgres(store)))
    }

    #[cfg(not(feature = "postgres"))]
    async fn open_postgres(
        _: &SecretText,
        _: Usage,
        _: &BackendSettings,
    ) -> Result<Self, OpenError> {
        Err(OpenError::NotBuilt("postgres"))
    }

    #[cfg(feature = "sqlite")]
    async fn open_sqlite(
        path: &Path,
        usage: Usage,
        settings: &BackendSettings,
    ) -> Result<Self, OpenError> {
        let (file, settings) = (path.to_owned(), usage.sqlite(settings));
        let opening = tokio::task::spawn_blocking(move || open_sqlite(&file, settings));
        let store = opening
            .await
            .map_err(|error| not_opened(path, error.into()))??;
        if usage == Usage::Tool {
            // A tool charges nobody, and must not write down debts beside the server that does.
            let limiter = Arc::new(GcraLimiter::new(Arc::new(SystemClock)));
            let opened = Opened::Sqlite(store.clone(), None);
            return Ok(Self::over(store, limiter, opened));
        }
        let limiter = SqliteLimiter::load(&store).await?;
        let opened = Opened::Sqlite(store.clone(), Some(limiter.clone()));
        Ok(Self::over(store, Arc::new(limiter), opened))
    }

    #[cfg(not(feature = "sqlite"))]
    async fn open_sqlite(_: &Path, _: Usage, _: &BackendSettings) -> Result<Self, OpenError> {
        Err(OpenError::NotBuilt("sqlite"))
    }

    /// A back end over a store of the app's own, whose rates are limited in memory. The app closes the store.
    pub(crate) fn over_own(store: impl Store) -> Self {
        let limiter = GcraLimiter::new(Arc::new(SystemClock));
        Self::over(store, Arc::new(limiter), Opened::Elsewhere)
    }

    fn over<T: Store>(store: T, limiter: Arc<dyn DynRateLimiter>, opened: Opened) -> Self {
        let store = Arc::new(store);
        Self {
            catalog: Arc::<T>::clone(&store),
            endpoints: Arc::<T>::clone(&store),
            event_search: Arc::<T>::clone(&store),
            keys: Arc::<T>::clone(&store),
            limiter,
            log: Arc::<T>::clone(&store),
            management: Arc::<T>::clone(&store),
            publisher: Arc::<T>::clone(&store),
            queue: Arc::<T>::clone(&store),
            of_store: Arc::<T>::clone(&store),
            recorder: Arc::<T>::clone(&store),
            redelivery: Arc::<T>::clone(&store),
            search: Arc::<T>::clone(&store),
            sessions: Arc::<T>::clone(&store),
            subscriptions: store,
            latest_calls: Vec::new(),
            lag: DeliveryLag::default(),
            gate: PublishGate::default(),
            events: EventSender::default(),
            #[cfg(feature = "http")]
            budgets: nahook_http::Budgets::default(),
            opened,
            #[cfg(feature = "nats")]
            nats: None,
        }
    }

    /// The store, if it is on Postgres.
    #[cfg(feature = "postgres")]
    pub fn postgres(&self) -> Option<&PostgresStore> {
        if let Opened::Postgres(store) = &self.opened {
            Some(store)
        } else {
            None
        }
    }

    /// The store, if it is in a file.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(&self) -> Option<&SqliteStore> {
        if let Opened::Sqlite(store, _) = &self.opened {
            Some(store)
        } else {
            None
        }
    }

    /// Returns true if the store seals its secrets, or keeps none.
    pub fn seals_secrets(&self) -> bool {
        self.secrets().is_none_or(SecretBox::has_key)
    }

    /// Seals and opens what the store keeps, if it keeps anything.
    fn secrets(&self) -> Option<&SecretBox> {
        match &self.opened {
            Opened::Elsewhere => None,
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => Some(store.secrets()),
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(store, _) => Some(store.secrets()),
        }
    }

    /// Wraps the store's key with the first of these, which one of them has wrapped before. Returns false if it already
    /// was, or if there is none. Processes that have the store open go on as they were.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(unused_variables, clippy::unused_async, reason = "no store has a key")
    )]
    pub async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        match &self.opened {
            Opened::Elsewhere => Ok(false),
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => store.rotate_master_key(master).await,
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(store, _) => store.rotate_master_key(master).await,
        }
    }

    /// Subscriptions; with `creates_event_types` one that is looked up is made if it does not exist.
    pub(crate) fn subscription_store(
        &self,
        creates_event_types: bool,
    ) -> Arc<dyn DynSubscriptionStore> {
        let subscriptions = Arc::clone(&self.subscriptions);
        if !creates_event_types {
            return subscriptions;
        }
        let catalog = Arc::clone(&self.catalog);
        Arc::new(CreatingSubscriptions::new(subscriptions, catalog))
    }

    /// Manages what is in the workspaces.
    pub fn management(&self) -> Management<Arc<dyn ManagementStore>> {
        Management::new(Arc::clone(&self.management))
    }

    /// News of what the workers of this process deliver from now on, for every workspace.
    pub fn events(&self) -> DeliveryEvents {
        self.events.subscribe()
    }

    /// Returns true if other servers may use the store, too.
    pub fn is_shared(&self) -> bool {
        match self.opened {
            #[cfg(feature = "postgres")]
            Opened::Postgres(_) => true,
            _ => false,
        }
    }

    /// Returns true if the store answers.
    pub async fn is_ready(&self) -> bool {
        self.catalog.workspaces().await.is_ok()
    }

    /// Returns true if deliveries can be written to the store, where they are queued there.
    pub async fn is_store_writable(&self) -> bool {
        // A queue elsewhere takes deliveries all the same.
        match &self.opened {
            _ if self.has_queue_elsewhere() => true,
            Opened::Elsewhere => true,
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => store.check_writable().await.is_ok(),
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(store, _) => store.check_writable().await.is_ok(),
        }
    }

    /// Bytes that are free on the disk of a store in a file.
    pub fn disk_free(&self) -> Option<u64> {
        match &self.opened {
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(store, _) => Some(store.disk_space().free),
            _ => None,
        }
    }

    /// Returns what has no space for new events, if anything has none. Answers at once.
    pub fn lack_of_space(&self) -> Option<NoSpace> {
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats
            && queue.nats.is_full()
        {
            return Some(NoSpace::Queue);
        }
        let is_full = match &self.opened {
            Opened::Elsewhere => false,
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => store.is_disk_full(),
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(store, _) => store.disk_space().is_low,
        };
        is_full.then_some(NoSpace::Disk)
    }

    /// Checks that the queue takes deliveries, where it is not the store's. The error says what is wrong.
    pub async fn check_queue(&self) -> Result<(), String> {
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            let checked = queue.nats.check_publishable().await;
            return checked.map_err(|reason| reason.to_string());
        }
        Ok(())
    }

    /// Writes out what is not yet, and closes the store. Nothing may use it afterwards.
    pub async fn close(self) -> Result<(), StoreError> {
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            // What this process still has in hand is somebody else's at once.
            queue.nats.close().await;
        }
        match self.opened {
            Opened::Elsewhere => Ok(()),
            #[cfg(feature = "postgres")]
            Opened::Postgres(store) => store.close().await,
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(store, limiter) => {
                let saved = match limiter {
                    Some(limiter) => limiter.save().await,
                    None => Ok(()),
                };
                // Closed in any case; the first error counts.
                let closed = store.close().await;
                saved.and(closed)
            }
        }
    }
}

async fn stopped_by(mut stop: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

#[cfg(feature = "sqlite")]
fn open_sqlite(path: &Path, settings: SqliteSettings) -> Result<SqliteStore, OpenError> {
    use std::fs::{DirBuilder, OpenOptions};
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o700);
        made.create(parent).map_err(|error| OpenError::File {
            path: parent.to_owned(),
            reason: error.to_string(),
        })?;
    }
    // The file holds signing secrets. What SQLite keeps beside it gets the same mode; an existing file keeps its own, and
    // what is wrong with the place is said by opening it.
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    SqliteStore::open(path, settings).map_err(|error| not_opened(path, error.into()))
}

#[cfg(feature = "sqlite")]
fn not_opened(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> OpenError {
    let path = path.to_owned();
    OpenError::Store { path, source }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}
