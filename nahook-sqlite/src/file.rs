//! The file that is open, and whether its path still leads to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

/// The device and the number of a file on it.
type Identity = (u64, u64);

/// The database and its WAL, as they were when they were opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    database: (PathBuf, Identity),
    wal: (PathBuf, Identity),
}

impl OpenFile {
    /// Remembers the files that the path leads to. A connection must have them open.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        // SQLite follows links, and keeps the WAL beside what they lead to.
        let mut wal = path.canonicalize()?.into_os_string();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        Ok(Self {
            database: (path.clone(), identity(&path)?),
            wal: (wal.clone(), identity(&wal)?),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.database.0
    }

    /// Fails if the database or its WAL is no longer at its path: what is committed to a deleted file is lost with the
    /// process.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        for (path, expected) in [&self.database, &self.wal] {
            if identity(path).ok() != Some(*expected) {
                return Err(rusqlite::Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED),
                    Some("the store's file is no longer at its path".to_owned()),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// That it is there is all that can be told.
#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|_| (0, 0))
}
