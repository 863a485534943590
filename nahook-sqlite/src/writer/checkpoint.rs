//! Checkpoints of the WAL on a background thread.
//!
//! A checkpoint copies the WAL into the file and waits for the disk: ten milliseconds and more for 32 MiB. If the writer
//! made it, every publish would wait. SQLite lets another connection checkpoint while the writer goes on. But the WAL starts over
//! only once all of it is in the file, and under constant load the thread never gets that far. So when the WAL has grown
//! long, the writer checkpoints the little that the thread has left.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use nahook_core::Causes;
use nahook_supervision::{Exit, Loop, Pulse};
use rusqlite::Connection;

use crate::connection::{leave_checkpoints, open_checkpointer};
use crate::error::is_flush_failure;
use crate::threads::PULSE_EVERY;
use crate::{OpenError, SqliteSettings};

/// WAL lengths at which to checkpoint, in pages of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Growth since the last checkpoint at which the thread makes the next.
    pub(crate) step: u32,
    /// Length at which the writer checkpoints.
    pub(crate) max: u32,
}

impl Default for Lengths {
    /// 4 MiB and 62 MiB, which is less than the size that the WAL is cut back to.
    fn default() -> Self {
        Self {
            step: 1_000,
            max: 16_000,
        }
    }
}

/// The checkpoint thread, and the writer's view of the WAL.
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
    /// True once a flush of the file has failed: the disk may have lost pages, so only the WAL is certain. It is not
    /// checkpointed any more, and the next start recovers from it.
    is_kept: AtomicBool,
}

impl Log {
    /// Checkpoints as much of the WAL as possible. Returns the number of pages done; `None` if another connection is
    /// checkpointing, or after a failed flush.
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
    /// Starts the thread and turns off automatic checkpoints by `writer`.
    pub(crate) fn start(
        path: &Path,
        settings: &SqliteSettings,
        writer: &Connection,
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
        leave_checkpoints(writer)?;
        Ok(started)
    }

    /// Wakes the thread to checkpoint now.
    pub(super) fn order(&self) {
        if let Some(orders) = &self.orders {
            // One order is as good as many.
            let _ = orders.try_send(());
        }
    }

    /// Checkpoints if the WAL has grown enough. The writer calls this after each commit.
    pub(super) fn committed(&self, writer: &Connection) {
        // One that cannot be read now is read after the next commit.
        if let Ok(pages) = wal_pages(writer) {
            self.grown_to(pages, writer);
        }
    }

    fn grown_to(&self, pages: u32, writer: &Connection) {
        self.log.pages.store(pages, Ordering::Relaxed);
        let mut done = self.log.done.load(Ordering::Relaxed);
        if pages < done {
            // The WAL has started over.
            self.log.done.store(0, Ordering::Relaxed);
            self.not_before.set(0);
            done = 0;
        }
        if pages >= self.lengths.max.max(self.not_before.get()) {
            // Does nothing while the thread checkpoints: one of the next commits tries again.
            if let Some(done) = self.log.put_into_file(writer) {
                self.log.done.store(done, Ordering::Relaxed);
                // A reader still needs the WAL, or the checkpoint failed.
                self.not_before.set(pages.saturating_add(self.lengths.step));
            }
        } else if pages.saturating_sub(done) >= self.lengths.step {
            self.order();
        }
    }

    /// Ends the thread. Returns true if the WAL must not be checkpointed.
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

/// Number of pages of the WAL, by a checkpoint that does nothing.
fn wal_pages(connection: &Connection) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| row.get(1))
}

/// Checkpoints the pages of the WAL that no reader needs. Returns the number of pages done; `None` if another connection is
/// checkpointing.
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
