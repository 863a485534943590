//! Which back end stands behind the ports: the one place that knows them all.

use std::error::Error;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use nahook_control::{
    Catalog, EndpointDirectory, KeyStore, Management, ManagementStore, SecretText,
};
use nahook_core::{
    Causes, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore, GcraLimiter, StoreError,
    SystemClock,
};
use nahook_memory::MemoryStore;
use nahook_nats::{Nats, NatsSettings, NotPublishable};
use nahook_postgres::{PostgresSettings, PostgresStore};
use nahook_queue::{
    DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliverySearch, LoggedPublisher, RecorderBuffer,
    RecorderBufferSettings, Redelivery,
};
use nahook_sqlite::{SqliteLimiter, SqliteSettings, SqliteStore};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::watch;

use crate::ServerError;
use crate::by_key::ByKey;
use crate::readiness::{Outcomes, Watched};
use crate::telemetry::metric;
use crate::usage::Usage;

/// Interval at which the metrics are updated with the state of the delivery log.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// Location of the state.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// Nowhere: it ends with the process.
    Memory,
    /// In a Postgres database, which any number of servers may share.
    Postgres(SecretText),
    /// In one file.
    Sqlite(PathBuf),
}

/// Location of the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QueueUrl {
    /// On the streams of these NATS servers, which any number of processes may share that share a store.
    Nats(SecretText),
    /// In the store.
    Store,
}

impl StoreUrl {
    /// Reads `sqlite://PATH`, `postgres://…` or `memory://`. The error says what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => {
                Ok(Self::Postgres(SecretText::new(url)))
            }
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(format!(
                "{:?} is not sqlite://PATH, postgres://… or memory://",
                without_password(url)
            )),
        }
    }

    /// The file that is the default in a data directory.
    pub fn default_in(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join("nahook.db"))
    }
}

impl QueueUrl {
    /// Reads `store`, or `nats://…` and `tls://…`, several separated by commas. The error says what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        let is_nats = |url: &str| {
            let server = url.trim().split_once("://");
            server
                .is_some_and(|(scheme, host)| matches!(scheme, "nats" | "tls") && !host.is_empty())
        };
        match url {
            "store" => Ok(Self::Store),
            _ if url.split(',').all(is_nats) => Ok(Self::Nats(SecretText::new(url))),
            _ => Err(format!(
                "{:?} is not a known queue; \"store\" is, and nats://…",
                without_password(url)
            )),
        }
    }
}

/// The URL up to its scheme, for messages: what follows may hold a password.
fn without_password(url: &str) -> String {
    url.split_once("://")
        .map_or_else(|| url.to_owned(), |(scheme, _)| format!("{scheme}://…"))
}

/// A back end for every port.
#[derive(Clone)]
#[non_exhaustive]
pub struct Backend {
    /// Workspaces and what is in them.
    pub catalog: Arc<dyn Catalog>,
    /// Endpoints as workers need them.
    pub endpoints: Arc<dyn EndpointDirectory>,
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
    /// Subscriptions.
    pub subscriptions: Arc<dyn DynSubscriptionStore>,
    /// Outcomes of the latest calls of the publishers and of each queue.
    pub(crate) outcomes: Vec<Outcomes>,
    /// The store's own queue, whether or not it is the queue.
    of_store: Arc<dyn DeliveryQueue>,
    opened: Opened,
    nats: Option<NatsBackend>,
}

/// A queue on NATS.
#[derive(Clone)]
struct NatsBackend {
    nats: Nats,
    /// Accepted deliveries on their way to the log.
    accepted: RecorderBuffer,
}

/// Resources to close.
#[derive(Clone)]
enum Opened {
    Memory,
    Postgres(PostgresStore),
    Sqlite(SqliteStore, Option<SqliteLimiter>),
}

impl Backend {
    /// Opens the store and the queue for a server, which is the only one on an embedded file and forgets what was settled and
    /// accepted longer ago than `retention`. Makes what does not exist yet.
    pub async fn open_server(
        store: &StoreUrl,
        postgres: PostgresSettings,
        queue: &QueueUrl,
        nats: &NatsSettings,
        retention: Duration,
        supervisor: &Supervisor,
    ) -> Result<Self, ServerError> {
        let mut backend =
            Self::open(store, postgres, Usage::Server { retention }, supervisor).await?;
        backend.of_store = backend.watch_queue(Arc::clone(&backend.of_store));
        backend.queue = Arc::clone(&backend.of_store);
        if let QueueUrl::Nats(servers) = queue {
            let opened = nahook_nats::connect(servers.expose(), nats.clone()).await;
            match opened {
                Ok(nats) => {
                    backend.put_queue_on(nats);
                    backend.queue = backend.watch_queue(Arc::clone(&backend.queue));
                }
                Err(error) => {
                    if let Err(error) = backend.close().await {
                        tracing::error!(error = %Causes(&error), "the store did not close cleanly");
                    }
                    return Err(ServerError::Queue(error.into()));
                }
            }
        }
        backend.watch_publisher();
        Ok(backend)
    }

    /// From here on readiness knows what calls of this queue come to.
    fn watch_queue(&mut self, queue: Arc<dyn DeliveryQueue>) -> Arc<dyn DeliveryQueue> {
        let outcomes = Outcomes::default();
        self.outcomes.push(outcomes.clone());
        Arc::new(Watched {
            inner: queue,
            outcomes,
        })
    }

    /// The same for what is published.
    fn watch_publisher(&mut self) {
        let outcomes = Outcomes::default();
        self.outcomes.push(outcomes.clone());
        self.publisher = Arc::new(Watched {
            inner: Arc::clone(&self.publisher),
            outcomes,
        });
    }

    /// From here on deliveries wait on NATS, and the store keeps their log.
    fn put_queue_on(&mut self, nats: Nats) {
        let accepted = RecorderBuffer::new(RecorderBufferSettings::default());
        let publisher = nats.publisher.clone();
        let publisher = LoggedPublisher::new(publisher, accepted.clone());
        self.publisher = Arc::new(ByKey {
            store: Arc::clone(&self.publisher),
            queue: publisher,
        });
        self.queue = Arc::new(nats.queue.clone());
        self.nats = Some(NatsBackend { nats, accepted });
    }

    /// The queues that need a worker: where the queue is on NATS the store's own as well, in which waits what was queued before
    /// that, and what only a store's transaction can queue.
    pub fn queues(&self) -> Vec<Arc<dyn DeliveryQueue>> {
        let mut queues = vec![Arc::clone(&self.queue)];
        if self.nats.is_some() {
            queues.push(Arc::clone(&self.of_store));
        }
        queues
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
        let Some(NatsBackend { nats, accepted }) = &self.nats else {
            return;
        };
        let (buffer, recorder) = (accepted.clone(), Arc::clone(&self.recorder));
        let recording_stop = stop.clone();
        let recording = supervisor.spawn(Loop::AcceptedRecorder, move || {
            let (buffer, recorder) = (buffer.clone(), Arc::clone(&recorder));
            let stop = stopped_by(recording_stop.clone());
            async move {
                tokio::select! {
                    () = buffer.run(&recorder, stop) => Exit::Stopped,
                    () = measure(&buffer) => Exit::failed("nothing is measured any more"),
                }
            }
        });
        if let Some(log) = nats.log.as_ref().filter(|_| delivers) {
            log.run(Arc::clone(&self.recorder), stopped_by(stop)).await;
        }
        // It has been stopped.
        let _ = recording.await;
    }

    /// Opens the store for a command that runs beside a server.
    pub async fn open_tool(store: &StoreUrl) -> Result<Self, ServerError> {
        let postgres = PostgresSettings::default();
        Self::open(store, postgres, Usage::Tool, &Supervisor::new()).await
    }

    /// Opens a store that exists already for a command that runs beside a server: a command that only looks must not make
    /// an empty store where somebody looked in the wrong place.
    pub async fn open_existing(store: &StoreUrl) -> Result<Self, ServerError> {
        if let StoreUrl::Sqlite(path) = store
            && !path.exists()
        {
            let (path, reason) = (path.clone(), "there is no store here".to_owned());
            return Err(ServerError::File { path, reason });
        }
        Self::open_tool(store).await
    }

    async fn open(
        store: &StoreUrl,
        postgres: PostgresSettings,
        usage: Usage,
        supervisor: &Supervisor,
    ) -> Result<Self, ServerError> {
        match store {
            StoreUrl::Memory => {
                let limiter = GcraLimiter::new(Arc::new(SystemClock));
                Ok(Self::over(
                    MemoryStore::default(),
                    Arc::new(limiter),
                    Opened::Memory,
                ))
            }
            StoreUrl::Postgres(url) => {
                let settings = usage.postgres(postgres, supervisor);
                let store = PostgresStore::connect(url.expose(), settings).await;
                let store = store.map_err(|error| ServerError::Database(error.into()))?;
                let limiter = Arc::new(store.limiter());
                Ok(Self::over(store.clone(), limiter, Opened::Postgres(store)))
            }
            StoreUrl::Sqlite(path) => {
                let (file, settings) = (path.clone(), usage.sqlite(supervisor));
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
        }
    }

    fn over<T>(store: T, limiter: Arc<dyn DynRateLimiter>, opened: Opened) -> Self
    where
        T: Catalog
            + EndpointDirectory
            + KeyStore
            + DeliveryLog
            + DynDeliveryPublisher
            + DeliveryQueue
            + DeliveryRecorder
            + DeliverySearch
            + ManagementStore
            + Redelivery
            + DynSubscriptionStore
            + 'static,
    {
        let store = Arc::new(store);
        Self {
            catalog: Arc::<T>::clone(&store),
            endpoints: Arc::<T>::clone(&store),
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
            subscriptions: store,
            outcomes: Vec::new(),
            opened,
            nats: None,
        }
    }

    /// Manages what is in the workspaces.
    pub fn management(&self) -> Management<Arc<dyn ManagementStore>> {
        Management::new(Arc::clone(&self.management))
    }

    /// Returns true if other servers may use the store, too.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.opened, Opened::Postgres(_))
    }

    /// Returns true if the store answers.
    pub async fn is_ready(&self) -> bool {
        self.catalog.workspaces().await.is_ok()
    }

    /// Returns true if deliveries can be written to the store, where they are queued there.
    pub(crate) async fn is_store_writable(&self) -> bool {
        // A queue on NATS takes deliveries all the same.
        match &self.opened {
            _ if self.nats.is_some() => true,
            Opened::Memory => true,
            Opened::Postgres(store) => store.check_writable().await.is_ok(),
            Opened::Sqlite(store, _) => store.check_writable().await.is_ok(),
        }
    }

    /// Checks that the queue takes deliveries, where it is not the store's.
    pub async fn check_queue(&self) -> Result<(), NotPublishable> {
        match &self.nats {
            Some(queue) => queue.nats.check_publishable().await,
            None => Ok(()),
        }
    }

    /// Writes out what is not yet, and closes the store. Nothing may use it afterwards.
    pub async fn close(self) -> Result<(), StoreError> {
        if let Some(queue) = &self.nats {
            // What this process still has in hand is somebody else's at once.
            queue.nats.close().await;
        }
        match self.opened {
            Opened::Memory => Ok(()),
            Opened::Postgres(store) => store.close().await,
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

/// Tells the metrics how the log gets on, for ever.
async fn measure(accepted: &RecorderBuffer) {
    loop {
        counter!(metric::LOG_DROPPED).absolute(accepted.dropped());
        #[expect(clippy::cast_precision_loss, reason = "a hundred thousand at most")]
        gauge!(metric::LOG_WAITING).set(accepted.len() as f64);
        tokio::time::sleep(MEASURE_INTERVAL).await;
    }
}

fn open_sqlite(path: &Path, settings: SqliteSettings) -> Result<SqliteStore, ServerError> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o700);
        made.create(parent).map_err(|error| ServerError::File {
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

fn not_opened(path: &Path, source: Box<dyn Error + Send + Sync>) -> ServerError {
    let path = path.to_owned();
    ServerError::Store { path, source }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}
