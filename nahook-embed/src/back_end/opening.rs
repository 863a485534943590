//! Opening a back end by URL.

use std::sync::Arc;

use nahook_control::MasterKeys;
#[cfg(not(feature = "nats"))]
use nahook_control::SecretText;
use nahook_core::{Clock, GcraLimiter, IdSource, SystemClock};
use nahook_memory::MemoryStore;

#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::usage::Usage;
use super::{Backend, BackendSettings, QueueUrl, Store, StoreUrl};
use crate::OpenError;

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
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        let _ = (usage, settings);
        match store {
            StoreUrl::Memory => Ok(Self::over_own(MemoryStore::default())),
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(url) => postgres::open(url, usage, settings).await,
            #[cfg(not(feature = "postgres"))]
            StoreUrl::Postgres(_) => Err(OpenError::NotBuilt("postgres")),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => sqlite::open(path, usage, settings).await,
            #[cfg(not(feature = "sqlite"))]
            StoreUrl::Sqlite(_) => Err(OpenError::NotBuilt("sqlite")),
        }
    }

    /// A back end over a store of the app's own, whose rates are limited in memory. The app closes the store.
    pub(crate) fn over_own(store: impl Store) -> Self {
        let limiter = GcraLimiter::new(Arc::new(SystemClock));
        Self::over(store, Arc::new(limiter), None)
    }

    /// A back end in memory with this clock and these ids, for tests.
    pub(crate) fn memory(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        let limiter = GcraLimiter::new(Arc::clone(&clock));
        let store = MemoryStore::new(clock, ids);
        Self::over(store, Arc::new(limiter), None)
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
}
