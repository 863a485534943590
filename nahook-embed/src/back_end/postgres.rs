//! A store on Postgres.

use std::sync::Arc;

use async_trait::async_trait;
use nahook_control::{MasterKeys, RotateError, SecretBox, SecretText};
use nahook_core::StoreError;
use nahook_postgres::PostgresStore;

use super::opened::Opened;
use super::usage::Usage;
use super::{Backend, BackendSettings};
use crate::OpenError;

pub(super) async fn open(
    url: &SecretText,
    usage: Usage,
    settings: &BackendSettings,
) -> Result<Backend, OpenError> {
    let store = PostgresStore::connect(url.expose(), usage.postgres(settings)).await;
    let store = store.map_err(|error| OpenError::Database(error.into()))?;
    let limiter = Arc::new(store.limiter());
    let opened = Arc::new(store.clone());
    Ok(Backend::over(store, limiter, Some(opened)))
}

#[async_trait]
impl Opened for PostgresStore {
    fn secrets(&self) -> &SecretBox {
        self.secrets()
    }

    async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        self.rotate_master_key(master).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.check_writable().await
    }

    fn is_disk_full(&self) -> bool {
        self.is_disk_full()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.close().await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn postgres(&self) -> Option<&PostgresStore> {
        Some(self)
    }
}
