//! The file that is open, and whether its path still leads to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

/// The device and the number of a file on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileId(u64, u64);

/// The database and its WAL, as they were when they were opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    database: (PathBuf, FileId),
    wal: (PathBuf, FileId),
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
            database: (path.clone(), FileId::of(&path)?),
            wal: (wal.clone(), FileId::of(&wal)?),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.database.0
    }

    /// Fails if the database or its WAL is no longer at its path: what is committed to a deleted file is lost with the
    /// process.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        for (path, expected) in [&self.database, &self.wal] {
            if FileId::of(path).ok() != Some(*expected) {
                return Err(rusqlite::Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED),
                    Some("the store's file is no longer at its path".to_owned()),
                ));
            }
        }
        Ok(())
    }
}

impl FileId {
    /// The file that the path leads to.
    #[cfg(unix)]
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(path).map(|file| Self(file.dev(), file.ino()))
    }

    /// That it is there is all that can be told.
    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|_| Self(0, 0))
    }
}
