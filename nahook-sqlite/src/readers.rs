//! Connections that read: they never block the writer, nor the writer them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nahook_core::StoreError;
use nahook_supervision::Loop;
use rusqlite::{Connection, Transaction};
use tokio::time::Instant;

use crate::changes::{CatalogChanges, Found};
use crate::connection::open_reader;
use crate::error::store_error;
use crate::threads::Threads;
use crate::{OpenError, SqliteSettings};

/// Duration for which another process's change of the catalog may stay unseen. Asking the file for its version twice a
/// trigger was a fortieth of the server's time.
const SEEN_FOR: Duration = Duration::from_millis(1);

/// Reads on threads of their own.
#[derive(Debug)]
pub(crate) struct Readers {
    threads: Threads<Connection>,
    /// For the catalog's version alone, so that no trigger waits behind a long list.
    versions: Threads<Connection>,
    /// Number of changes that this process has made to the catalog.
    changes: Arc<AtomicU64>,
    catalog: CatalogChanges,
}

impl Readers {
    /// `changes` counts this process's changes of the catalog, each before anybody is told of it.
    pub(crate) fn open(
        path: &Path,
        settings: &SqliteSettings,
        changes: Arc<AtomicU64>,
    ) -> Result<Self, OpenError> {
        let count = settings.readers.max(1);
        let connections = |count| {
            std::iter::repeat_with(|| open_reader(path, settings))
                .take(count)
                .collect::<Result<Vec<_>, _>>()
        };
        let start = |name, count| {
            let (supervisor, which) = (&settings.supervisor, Loop::SqliteReader);
            Threads::start(supervisor, which, name, connections(count)?)
        };
        Ok(Self {
            threads: start("nahook-reader", count)?,
            versions: start("nahook-version", 1)?,
            changes,
            catalog: CatalogChanges::default(),
        })
    }

    /// When each workspace changed last, as of this moment for what this process has changed; a change of another process is
    /// seen within a millisecond.
    pub(crate) async fn look_at_catalog(&self) -> Result<&CatalogChanges, StoreError> {
        let at = Instant::now();
        let changes = self.changes.load(Ordering::Acquire);
        if self.catalog.is_seen(changes, at, SEEN_FOR) {
            return Ok(&self.catalog);
        }
        // Read after both were taken: what changes from here on is not passed for older than it is.
        let known = self.catalog.known();
        let found = self
            .versions
            .ask(move |connection| {
                let transaction = connection.transaction()?;
                Found::since(&transaction, known)
            })
            .await?
            .map_err(store_error)?;
        self.catalog.add(found, changes, at);
        Ok(&self.catalog)
    }

    /// Makes the next call look at the catalog again: another process is known to have changed something.
    pub(crate) fn forget_version(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Runs `query` in a transaction of its own: everything it reads is of one moment.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.threads
            .ask(move |connection| query(&connection.transaction()?))
            .await?
            .map_err(store_error)
    }
}

/// The catalog's version as the connection sees it.
pub(crate) fn catalog_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT version FROM nahook_catalog_state")?
        .query_row([], |row| row.get(0))
}
