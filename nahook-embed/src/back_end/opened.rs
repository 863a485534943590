//! Stores that were opened by URL.

use async_trait::async_trait;
use nahook_control::{MasterKeys, RotateError, SecretBox};
use nahook_core::StoreError;

/// A store that the back end has opened, and closes.
#[async_trait]
pub(super) trait Opened: Send + Sync {
    /// Seals and opens what the store keeps.
    fn secrets(&self) -> &SecretBox;

    async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError>;

    /// Checks that deliveries can be written.
    async fn check_writable(&self) -> Result<(), StoreError>;

    /// Returns true if the disk has no space for new events.
    fn is_disk_full(&self) -> bool;

    async fn close(&self) -> Result<(), StoreError>;

    /// Returns true if other processes may serve the store, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Bytes that are free on the disk of a file.
    fn disk_free(&self) -> Option<u64> {
        None
    }

    #[cfg(feature = "postgres")]
    fn postgres(&self) -> Option<&nahook_postgres::PostgresStore> {
        None
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(&self) -> Option<&nahook_sqlite::SqliteStore> {
        None
    }
}
