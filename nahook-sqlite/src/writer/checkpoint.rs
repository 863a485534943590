//! Putting the log into the file, beside the writer.
//!
//! A checkpoint copies what the log has into the file and waits for the disk. Done by the writer, all who publish wait with it:
//! ten milliseconds and more for 32 MiB. SQLite lets another connection do it while the writer goes on. But the log begins anew only
//! when all of it is in the file, which while it is always written to nobody but the writer can bring about: it does the little
//! that the thread has left when the log has grown long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::connection::open_checkpointer;
use crate::{OpenError, SqliteSettings};

/// When the log is put into the file, in its pages of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// By the thread, once so many more are in the log …
    pub(crate) step: u32,
    /// … and by the writer, once there are so many.
    pub(crate) max: u32,
}

impl Default for Lengths {
    /// 4 MiB, and 62 MiB: less than what the log is cut back to.
    fn default() -> Self {
        Self {
            step: 1_000,
            max: 16_000,
        }
    }
}

/// The thread, and what the writer knows of the log.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    lengths: Lengths,
    /// How many pages the log had after the latest commit.
    pages: Arc<AtomicU32>,
    /// How many of them the thread has put into the file.
    done: Arc<AtomicU32>,
    /// `None` once it is to end.
    orders: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread. From then on `writer` does not put the log into the file of its own accord.
    pub(crate) fn start(
        path: &Path,
        settings: &SqliteSettings,
        writer: &mut Connection,
        lengths: Lengths,
    ) -> Result<Self, OpenError> {
        let connection = open_checkpointer(path, settings)?;
        let (pages, done) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let counted = Arc::clone(&pages);
        // It takes the place of SQLite's own, which would make the checkpoint.
        writer.wal_hook(Some(move |_: &mut _, pages| {
            counted.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        // One order is as good as many.
        let (orders, inbox) = sync_channel(1);
        let told = Arc::clone(&done);
        let thread = thread::Builder::new()
            .name("nahook-log".to_owned())
            .spawn(move || work(&connection, &inbox, &told))?;
        Ok(Self {
            lengths,
            pages,
            done,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// To be called by the writer after each commit.
    pub(super) fn committed(&self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        let mut done = self.done.load(Ordering::Relaxed);
        if pages < done {
            // The log has begun anew.
            self.done.store(0, Ordering::Relaxed);
            done = 0;
        }
        if pages >= self.lengths.max {
            // The thread may be at it: then after one of the next commits.
            match checkpoint(writer) {
                Ok(Some(pages)) => self.done.store(pages, Ordering::Relaxed),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the log could not be put into the file"),
            }
        } else if pages - done >= self.lengths.step
            && let Some(orders) = &self.orders
        {
            let _ = orders.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(connection: &Connection, orders: &Receiver<()>, done: &AtomicU32) {
    while orders.recv().is_ok() {
        match checkpoint(connection) {
            Ok(Some(pages)) => done.store(pages, Ordering::Relaxed),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the log could not be put into the file"),
        }
    }
}

/// Puts into the file what nobody needs to find in the log any more. Answers how many of the log's pages are there; `None` if
/// somebody else is at it.
fn checkpoint(connection: &Connection) -> rusqlite::Result<Option<u32>> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
        .query_row([], |row| {
            let (is_busy, pages): (bool, i64) = (row.get(0)?, row.get(2)?);
            Ok((!is_busy).then(|| u32::try_from(pages).unwrap_or(0)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{open_writer, set_up_writer};

    const PAGE: u64 = 4_096;
    const LENGTHS: Lengths = Lengths { step: 20, max: 200 };

    fn write(connection: &Connection, checkpointer: &Checkpointer) {
        let statement = "INSERT INTO word VALUES (zeroblob(40000))";
        connection.execute(statement, []).unwrap();
        checkpointer.committed(connection);
    }

    #[test]
    fn the_log_is_put_into_the_file_beside_the_writer_and_stays_short() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let settings = SqliteSettings::server();
        let mut writer = open_writer(&path, &settings).unwrap();
        set_up_writer(&writer, &settings).unwrap();
        writer.execute_batch("CREATE TABLE word (word)").unwrap();
        let checkpointer = Checkpointer::start(&path, &settings, &mut writer, LENGTHS).unwrap();
        let len_of = |name| std::fs::metadata(directory.path().join(name)).map_or(0, |m| m.len());
        // By the thread alone: fewer than the writer would do anything about.
        for _ in 0..10 {
            write(&writer, &checkpointer);
        }
        let mut looks = 0;
        while len_of("db") < 50 * PAGE {
            looks += 1;
            assert!(looks < 1_000, "nobody puts the log into the file");
            thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(checkpointer.pages.load(Ordering::Relaxed) < LENGTHS.max);
        // Without a pause: it begins anew all the same.
        let mut written = 10;
        let mut longest = 0;
        while checkpointer.pages.load(Ordering::Relaxed) >= longest {
            longest = checkpointer.pages.load(Ordering::Relaxed);
            assert!(written < 5_000, "the log has {longest} pages");
            write(&writer, &checkpointer);
            written += 1;
        }
        assert!(longest >= LENGTHS.max, "{longest}");
        let count: i64 = writer
            .query_row("SELECT count(*) FROM word", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, written);
        drop(checkpointer);
        writer.close().unwrap();
        assert_eq!(len_of("db-wal"), 0);
    }
}
