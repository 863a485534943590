//! Opening connections.

use std::fs::{self, File};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::{OpenError, SqliteSettings};

/// Statements that each connection keeps prepared: more than there are.
const STATEMENTS_MAX: usize = 256;

/// Opens the connection that writes, and makes the file if there is none.
pub(crate) fn open_writer(path: &Path, settings: &SqliteSettings) -> Result<Connection, OpenError> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(OpenError::DirectoryMissing);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags, settings).map_err(|error| why_not(path, error))?;
    // SQLite opens a file that may not be written to without complaint.
    if connection.is_readonly("main")? {
        return Err(OpenError::ReadOnly);
    }
    Ok(connection)
}

/// Opens another connection that writes to a file that is there and in use.
pub(crate) fn reopen_writer(
    path: &Path,
    settings: &SqliteSettings,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(path, flags, settings)
}

fn connect(
    path: &Path,
    flags: OpenFlags,
    settings: &SqliteSettings,
) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(settings.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// SQLite does not say why it could not make a file; the operating system does.
fn why_not(path: &Path, error: rusqlite::Error) -> OpenError {
    if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !path.exists() {
        return match File::create_new(path) {
            Ok(_) => {
                let _ = fs::remove_file(path);
                error.into()
            }
            Err(refusal) => refusal.into(),
        };
    }
    error.into()
}

/// Sets what the writer relies on; the first of it writes to the file.
pub(crate) fn set_up_writer(
    connection: &Connection,
    settings: &SqliteSettings,
) -> rusqlite::Result<()> {
    keep_plans(connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit returns once the disk has it: what a 202 promises.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A secret that is replaced or removed does not linger in its page.
    connection.pragma_update(None, "secure_delete", "fast")?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    // What undoes part of a transaction is kept in memory and not in a file of its own.
    connection.pragma_update(None, "temp_store", "memory")?;
    // Where no thread does it.
    connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
    // A log that a burst has grown is cut back.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    if let Some(pages) = settings.pages_max {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(())
}

/// Leaves checkpoints to the thread that makes them.
pub(crate) fn leave_checkpoints(writer: &Connection) -> rusqlite::Result<()> {
    writer.pragma_update(None, "wal_autocheckpoint", 0)
}

/// Opens a connection that reads and never blocks the writer.
pub(crate) fn open_reader(path: &Path, settings: &SqliteSettings) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags, settings)?;
    keep_plans(&connection)?;
    Ok(connection)
}

/// Opens the connection that checkpoints the WAL beside the writer.
pub(crate) fn open_checkpointer(
    path: &Path,
    settings: &SqliteSettings,
) -> Result<Connection, OpenError> {
    let connection = reopen_writer(path, settings)?;
    // The file is on the disk before the log begins anew.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Plans are made without looking at what is bound: a statement whose plan could have been another for another value is
/// prepared again each time it is given one, even where in the end it makes no difference. Reading an event by its number was
/// such a statement, because of an index of some events.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}
