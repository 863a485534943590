//! Putting the log into the file, beside the writer.
//!
//! A checkpoint copies what the log has into the file and waits for the disk. Done by the writer, all who publish wait with it:
//! ten milliseconds and more for 32 MiB. SQLite lets another connection do it while the writer goes on. But the log begins anew only
//! when all of it is in the file, which while it is always written to nobody but the writer can bring about: it does the little
//! that the thread has left when the log has grown long.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use nahook_core::Causes;
use nahook_supervision::{Exit, Loop, Pulse};
use rusqlite::Connection;

use crate::connection::open_checkpointer;
use crate::error::is_flush_failure;
use crate::threads::PULSE_EVERY;
use crate::{OpenError, SqliteSettings};

/// WAL lengths at which to checkpoint, in pages of 4 KiB.
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
    log: Arc<Log>,
    /// The writer does not try again before the log has so many pages.
    not_before: Cell<u32>,
    /// `None` once it is to end.
    orders: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// State of the WAL.
#[derive(Debug, Default)]
struct Log {
    /// Number of its pages after the latest commit.
    pages: AtomicU32,
    /// Number of its pages that the thread has checkpointed, or has tried to.
    done: AtomicU32,
    /// The disk has refused to take what was written to the file, and may have forgotten it: the log is all that is certain, and stays
    /// as it is. Who opens the file next begins with the log from its start.
    is_kept: AtomicBool,
}

impl Log {
    /// Puts the log into the file as far as that goes. Answers how many of its pages are there; `None` if somebody else is at it, or
    /// it is not to be done.
    fn put_into_file(&self, connection: &Connection) -> Option<u32> {
        if self.is_kept.load(Ordering::Acquire) {
            return None;
        }
        checkpoint(connection).unwrap_or_else(|error| self.failed(&error))
    }

    fn failed(&self, error: &rusqlite::Error) -> Option<u32> {
        if is_flush_failure(error) {
            self.is_kept.store(true, Ordering::Release);
            tracing::error!(error = %Causes(error), "the disk fails: the log is kept, and grows until the next start");
            return None;
        }
        tracing::warn!(error = %Causes(error), "the log could not be put into the file");
        // Not again before there is more to do.
        Some(self.pages.load(Ordering::Relaxed))
    }
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
        let log = Arc::<Log>::default();
        let (orders, inbox) = sync_channel(1);
        let its_log = Arc::clone(&log);
        let (supervisor, which) = (&settings.supervisor, Loop::SqliteCheckpoint);
        let thread = supervisor.spawn_thread(which, "nahook-checkpoint", move |pulse| {
            work(&connection, &inbox, &its_log, pulse)
        })?;
        let started = Self {
            lengths,
            log,
            not_before: Cell::default(),
            orders: Some(orders),
            thread: Some(thread),
        };
        started.watch(writer)?;
        Ok(started)
    }

    /// Learns of the WAL's length by the connection that writes.
    pub(super) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let counted = Arc::clone(&self.log);
        // It takes the place of SQLite's own, which would make the checkpoint.
        writer.wal_hook(Some(move |_: &mut _, pages| {
            let pages = u32::try_from(pages).unwrap_or(0);
            counted.pages.store(pages, Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Has the thread do it now.
    pub(super) fn order(&self) {
        if let Some(orders) = &self.orders {
            // One order is as good as many.
            let _ = orders.try_send(());
        }
    }

    /// To be called by the writer after each commit.
    pub(super) fn committed(&self, writer: &Connection) {
        let pages = self.log.pages.load(Ordering::Relaxed);
        let mut done = self.log.done.load(Ordering::Relaxed);
        if pages < done {
            // The log has begun anew.
            self.log.done.store(0, Ordering::Relaxed);
            self.not_before.set(0);
            done = 0;
        }
        if pages >= self.lengths.max.max(self.not_before.get()) {
            // While the thread is at it nothing comes of this: then after one of the next commits.
            if let Some(done) = self.log.put_into_file(writer) {
                self.log.done.store(done, Ordering::Relaxed);
                // Somebody still reads what is in the log, or it failed.
                self.not_before.set(pages.saturating_add(self.lengths.step));
            }
        } else if pages.saturating_sub(done) >= self.lengths.step {
            self.order();
        }
    }

    /// Ends the thread. Answers whether the log must stay as it is.
    pub(super) fn end(self) -> bool {
        let log = Arc::clone(&self.log);
        drop(self);
        log.is_kept.load(Ordering::Acquire)
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

fn work(connection: &Connection, orders: &Receiver<()>, log: &Log, pulse: &Pulse<'_>) -> Exit {
    loop {
        let order = orders.recv_timeout(PULSE_EVERY);
        if order == Err(RecvTimeoutError::Disconnected) {
            return Exit::Stopped;
        }
        // An order that is lost with the loop is given again by one of the next commits.
        if let Some(exit) = pulse.check() {
            return exit;
        }
        if order.is_ok()
            && let Some(done) = log.put_into_file(connection)
        {
            log.done.store(done, Ordering::Relaxed);
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
mod tests;
