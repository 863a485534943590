//! A store in a file.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use nahook_control::{MasterKeys, RotateError, SecretBox};
use nahook_core::{DynRateLimiter, GcraLimiter, StoreError, SystemClock};
use nahook_sqlite::{SqliteLimiter, SqliteSettings, SqliteStore};

use super::opened::Opened;
use super::usage::Usage;
use super::{Backend, BackendSettings};
use crate::OpenError;

/// The store, and the limiter whose debts it keeps.
struct OpenedFile {
    store: SqliteStore,
    limiter: Option<SqliteLimiter>,
}

pub(super) async fn open(
    path: &Path,
    usage: Usage,
    settings: &BackendSettings,
) -> Result<Backend, OpenError> {
    let (file, settings) = (path.to_owned(), usage.sqlite(settings));
    let opening = tokio::task::spawn_blocking(move || open_file(&file, settings));
    let store = opening
        .await
        .map_err(|error| not_opened(path, error.into()))??;
    // A tool charges nobody, and must not write down debts beside the server that does.
    let limiter = match usage {
        Usage::Server => Some(SqliteLimiter::load(&store).await?),
        Usage::Tool => None,
    };
    let limiting: Arc<dyn DynRateLimiter> = match &limiter {
        Some(limiter) => Arc::new(limiter.clone()),
        None => Arc::new(GcraLimiter::new(Arc::new(SystemClock))),
    };
    let opened = Arc::new(OpenedFile {
        store: store.clone(),
        limiter,
    });
    Ok(Backend::over(store, limiting, Some(opened)))
}

fn open_file(path: &Path, settings: SqliteSettings) -> Result<SqliteStore, OpenError> {
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

fn not_opened(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> OpenError {
    let path = path.to_owned();
    OpenError::Store { path, source }
}

#[async_trait]
impl Opened for OpenedFile {
    fn secrets(&self) -> &SecretBox {
        self.store.secrets()
    }

    async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        self.store.rotate_master_key(master).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.store.check_writable().await
    }

    fn is_disk_full(&self) -> bool {
        self.store.disk_space().is_low
    }

    async fn close(&self) -> Result<(), StoreError> {
        let saved = match &self.limiter {
            Some(limiter) => limiter.save().await,
            None => Ok(()),
        };
        // Closed in any case; the first error counts.
        let closed = self.store.close().await;
        saved.and(closed)
    }

    fn disk_free(&self) -> Option<u64> {
        Some(self.store.disk_space().free)
    }

    fn sqlite(&self) -> Option<&SqliteStore> {
        Some(&self.store)
    }
}
