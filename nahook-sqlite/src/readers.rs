//! Connections that read: they never block the writer, nor the writer them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nahook_core::StoreError;
use rusqlite::{Connection, Transaction};

use crate::connection::open_reader;
use crate::error::store_error;
use crate::threads::Threads;
use crate::{OpenError, SqliteSettings};

/// Reads on threads of their own, and the catalog's version on the caller's.
#[derive(Debug)]
pub(crate) struct Readers {
    threads: Threads<Connection>,
    /// For the catalog's version alone, which takes microseconds: worth no change of threads.
    versions: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Readers {
    pub(crate) fn open(path: &Path, settings: &SqliteSettings) -> Result<Self, OpenError> {
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
        })
    }

    /// The version of the catalog at this moment, whichever process has changed it last.
    pub(crate) fn catalog_version(&self) -> Result<i64, StoreError> {
        catalog_version(&self.version_connection()).map_err(store_error)
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
