//! Which back end stands behind the ports: the one place that knows them all.

use std::error::Error;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nahook_core::memory::MemoryStore;
use nahook_core::{
    DynCatalog, DynDeliveryLog, DynDeliveryPublisher, DynDeliveryQueue, DynEndpointDirectory,
    DynKeyStore, DynRateLimiter, DynSubscriptionStore, GcraLimiter, SecretText, StoreError,
    SystemClock,
};
use nahook_postgres::{PostgresSettings, PostgresStore};
use nahook_sqlite::{Role, SqliteLimiter, SqliteSettings, SqliteStore};

use crate::ServerError;

/// Where the state is kept.
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

/// Where deliveries wait.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QueueUrl {
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
    /// Reads `store`. The error says what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        match url {
            "store" => Ok(Self::Store),
            _ => Err(format!(
                "{:?} is not a known queue; \"store\" is",
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
    pub catalog: Arc<dyn DynCatalog>,
    /// What a worker must know of endpoints.
    pub endpoints: Arc<dyn DynEndpointDirectory>,
    /// Keys and tokens.
    pub keys: Arc<dyn DynKeyStore>,
    /// Rate limits.
    pub limiter: Arc<dyn DynRateLimiter>,
    /// What became of deliveries.
    pub log: Arc<dyn DynDeliveryLog>,
    /// The way to the queue.
    pub publisher: Arc<dyn DynDeliveryPublisher>,
    /// The queue.
    pub queue: Arc<dyn DynDeliveryQueue>,
    /// Who is subscribed.
    pub subscriptions: Arc<dyn DynSubscriptionStore>,
    opened: Opened,
}

/// What has to be closed.
#[derive(Clone)]
enum Opened {
    Memory,
    Postgres(PostgresStore),
    Sqlite(SqliteStore, Option<SqliteLimiter>),
}

impl Backend {
    /// Opens the store for a server, which is the only one on an embedded file. Makes what does not exist yet.
    pub async fn open_server(store: &StoreUrl) -> Result<Self, ServerError> {
        Self::open(store, Role::Server).await
    }

    /// Opens the store for a command that runs beside a server.
    pub async fn open_tool(store: &StoreUrl) -> Result<Self, ServerError> {
        Self::open(store, Role::Tool).await
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

    async fn open(store: &StoreUrl, role: Role) -> Result<Self, ServerError> {
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
                let settings = PostgresSettings::default();
                let store = PostgresStore::connect(url.expose(), settings).await;
                let store = store.map_err(|error| ServerError::Database(error.into()))?;
                let limiter = Arc::new(store.limiter());
                Ok(Self::over(store.clone(), limiter, Opened::Postgres(store)))
            }
            StoreUrl::Sqlite(path) => {
                let file = path.clone();
                let opening = tokio::task::spawn_blocking(move || open_sqlite(&file, role));
                let store = opening
                    .await
                    .map_err(|error| not_opened(path, error.into()))??;
                if role == Role::Tool {
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
        T: DynCatalog
            + DynEndpointDirectory
            + DynKeyStore
            + DynDeliveryLog
            + DynDeliveryPublisher
            + DynDeliveryQueue
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
            publisher: Arc::<T>::clone(&store),
            queue: Arc::<T>::clone(&store),
            subscriptions: store,
            opened,
        }
    }

    /// Whether the store answers.
    pub async fn is_ready(&self) -> bool {
        self.catalog.workspaces_dyn().await.is_ok()
    }

    /// Writes out what is not yet, and closes the store. Nothing may use it afterwards.
    pub async fn close(self) -> Result<(), StoreError> {
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

fn open_sqlite(path: &Path, role: Role) -> Result<SqliteStore, ServerError> {
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
    let settings = match role {
        Role::Server => SqliteSettings::server(),
        Role::Tool => SqliteSettings::tool(),
    };
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
