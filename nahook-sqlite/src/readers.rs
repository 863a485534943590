//! Connections that read: they never block the writer, nor the writer them.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nahook_core::StoreError;
use rusqlite::{Connection, Transaction};
use tokio::time::Instant;

use crate::connection::open_reader;
use crate::error::store_error;
use crate::threads::Threads;
use crate::{OpenError, SqliteSettings};

/// How long the version that was read last is taken to be that of other processes' last change. Asking the file
/// twice a trigger was a fortieth of the server's time.
const SEEN_FOR: Duration = Duration::from_millis(1);

/// Reads on threads of their own, and the catalog's version on the caller's.
#[derive(Debug)]
pub(crate) struct Readers {
    threads: Threads<Connection>,
    /// For the catalog's version alone, which takes microseconds: worth no change of threads.
    versions: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
    /// How often this process has changed the catalog.
    changes: Arc<AtomicU64>,
    seen: Mutex<Option<Seen>>,
}

/// A version that was read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    version: i64,
    at: Instant,
    /// How often this process had changed the catalog before.
    changes: u64,
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
        Ok(Self {
            threads: Threads::start("nahook-reader", connections(count)?)?,
            versions: connections(count)?.into_iter().map(Mutex::new).collect(),
            turn: AtomicUsize::new(0),
            changes,
            seen: Mutex::new(None),
        })
    }

    /// The version of the catalog at this moment, as far as this process has changed it; a change of another process is seen
    /// within a millisecond.
    pub(crate) fn catalog_version(&self) -> Result<i64, StoreError> {
        let at = Instant::now();
        let changes = self.changes.load(Ordering::Acquire);
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen
            && seen.changes == changes
            && at.saturating_duration_since(seen.at) < SEEN_FOR
        {
            return Ok(seen.version);
        }
        // Read after both were taken: what changes from here on is not passed for older than it is.
        let version = catalog_version(&self.version_connection()).map_err(store_error)?;
        let seen = Seen {
            version,
            at,
            changes,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(version)
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

    /// One that is free, or the next in turn.
    fn version_connection(&self) -> MutexGuard<'_, Connection> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (behind, ahead) = self.versions.split_at(turn % self.versions.len());
        for connection in ahead.iter().chain(behind) {
            if let Ok(free) = connection.try_lock() {
                return free;
            }
        }
        self.versions[turn % self.versions.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The catalog's version as the connection sees it.
pub(crate) fn catalog_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT version FROM catalog_state")?
        .query_row([], |row| row.get(0))
}
