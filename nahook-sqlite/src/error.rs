//! Errors of the store, told apart by SQLite's codes and never by a message's text.

use std::fmt;
use std::io;
use std::sync::Arc;

use nahook_control::MasterKeyError;
use nahook_core::StoreError;
use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

/// Why a store could not be opened. Nothing has been changed in the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is damaged.
    #[error("the store's file is damaged")]
    Corrupt,
    /// The directory that the file is to be in does not exist, or is none.
    #[error("the directory of the store's file does not exist")]
    DirectoryMissing,
    /// It is an SQLite file of another application.
    #[error("the file is another application's database")]
    Foreign,
    /// A server has it open already; or another process kept it locked for too long.
    #[error("the store is in use by another process")]
    InUse,
    /// The operating system refused.
    #[error("the store's file cannot be opened")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A newer version of this program has written it.
    #[error(
        "the store has schema version {found}, and this program knows versions up to {known}: use a newer program"
    )]
    NewerSchema {
        /// The file's version.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The operator's keys do not open the file's secrets.
    #[error(transparent)]
    SecretKey(#[from] MasterKeyError),
    /// It is something else than an SQLite file.
    #[error("the file is not a database")]
    NotADatabase,
    /// The file or its directory may not be written to.
    #[error("the store's file or its directory is read-only")]
    ReadOnly,
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt,
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            _ => Self::Io(error.into()),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::DirectoryMissing,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io(error.into()),
        }
    }
}

/// A write that was not acknowledged; shared by all whom it concerns.
#[derive(Clone, Debug)]
pub(crate) struct WriteError {
    cause: Arc<rusqlite::Error>,
    effect: WriteEffect,
}

/// State of a write that was not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WriteEffect {
    /// It was rolled back: the file does not hold it and never will.
    RolledBack,
    /// The log may end with it, and a crash may bring it to light.
    Unclear,
}

impl WriteError {
    pub(crate) fn new(cause: rusqlite::Error, effect: WriteEffect) -> Self {
        Self {
            cause: Arc::new(cause),
            effect,
        }
    }

    pub(crate) fn effect(&self) -> WriteEffect {
        self.effect
    }

    pub(crate) fn cause(&self) -> &rusqlite::Error {
        &self.cause
    }

    /// Returns true if the job has panicked.
    pub(crate) fn is_panic(&self) -> bool {
        matches!(*self.cause, rusqlite::Error::UnwindingPanic)
    }

    /// Returns true if a value was larger than SQLite keeps.
    pub(crate) fn is_too_big(&self) -> bool {
        is_too_big(&self.cause)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.effect {
            WriteEffect::RolledBack => "the write was rolled back",
            WriteEffect::Unclear => "the write may have taken effect",
        })
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        if is_permanent(&error.cause) {
            Self::internal(error)
        } else {
            Self::unavailable(error)
        }
    }
}

/// The error of a job that was in hand when the writer's thread died.
pub(crate) fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_INTERRUPT),
        Some("the writer was interrupted".to_owned()),
    )
}

/// Extended code of [`no_room`], which SQLite has not: nothing has failed.
const LEFT_TO_OTHERS: i32 = ffi::SQLITE_FULL | (255 << 8);

/// The error of a job that would take room which is left to others.
pub(crate) fn no_room() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(LEFT_TO_OTHERS),
        Some("what is left of the file is for settlements".to_owned()),
    )
}

/// The store is closed, or closing.
#[derive(Clone, Copy, Debug, Error)]
#[error("the store is closed")]
pub(crate) struct Closed;

impl From<Closed> for StoreError {
    fn from(closed: Closed) -> Self {
        Self::unavailable(closed)
    }
}

/// A query panicked. What it panicked with has gone to the panic hook.
#[derive(Clone, Copy, Debug, Error)]
#[error("a query panicked")]
pub(crate) struct Panicked;

/// Sorts a failed query by what a caller would do about it.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    if is_permanent(&error) {
        StoreError::internal(error)
    } else {
        StoreError::unavailable(error)
    }
}

/// Returns true if retrying cannot help: the file is damaged, or holds something invalid.
fn is_permanent(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OperationInterrupted
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
        )
    )
}

/// Returns true if a row was refused because another has its key.
pub(crate) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        )
    })
}

/// Returns true if a value was larger than SQLite keeps.
pub(crate) fn is_too_big(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::TooBig)
}

/// Returns true if the connection, and not just the statement, may have to be made anew.
pub(crate) fn is_of_connection(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
        )
    )
}

/// Returns true if the disk may have forgotten what was written to it.
pub(crate) fn is_flush_failure(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC | ffi::SQLITE_IOERR_CLOSE
        )
    })
}

/// Returns true if SQLite found no room: not if room is left to others.
pub(crate) fn is_out_of_room(error: &rusqlite::Error) -> bool {
    let is_ours = |error: &ffi::Error| error.extended_code == LEFT_TO_OTHERS;
    is_full(error) && !error.sqlite_error().is_some_and(is_ours)
}

/// Returns true if the disk is full or the file has reached its maximum size.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
