//! One server a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::OpenError;

/// Interval between attempts at a lock that another process holds.
const RETRY_EVERY: Duration = Duration::from_millis(5);

/// Proof that no other process serves the file. The operating system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ServerLock {
    // Held for as long as the file is open.
    _file: File,
}

impl ServerLock {
    /// Takes the lock, waiting at most `patience` for whoever is about to let it go.
    pub(crate) fn take(database: &Path, patience: Duration) -> Result<Self, OpenError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock_path(&followed(database)))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) if waited >= patience => {
                    return Err(OpenError::InUse);
                }
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(RETRY_EVERY);
                    waited += RETRY_EVERY;
                }
            }
        }
    }
}

/// The database that a path leads to. SQLite follows links, and so must the lock: one file, one lock.
fn followed(database: &Path) -> PathBuf {
    database
        .canonicalize()
        .unwrap_or_else(|_| database.to_owned())
}

/// The lock is on a file of its own: SQLite's locks on the database come and go with each transaction.
fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-server");
    name.into()
}
