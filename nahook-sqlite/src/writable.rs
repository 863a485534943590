//! Readiness: checks that an event can be queued now.

use nahook_core::StoreError;
use rusqlite::params;
use tokio::sync::oneshot;

use crate::SqliteStore;
use crate::error::{Closed, WriteError, no_room};
use crate::queue::QueueState;
use crate::writer::{Job, Session, Urgency};

/// Bytes that are written to find out if there is room: a few pages.
const ROOM: u32 = 16 * 1024;

impl SqliteStore {
    /// Commits a small write, which leaves nothing behind, to the file that the store's path leads to.
    ///
    /// It shares the transaction of whatever else is written at that moment, and waits as long as that takes: set a
    /// timeout. Dropping the future cancels a check that has not begun.
    ///
    /// # Errors
    /// Nothing can be queued now: the disk or the file is full or fails, another process keeps the file locked, the file
    /// was deleted or replaced, or the store is closed.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let (answer, written) = oneshot::channel();
        self.shared().writer().send(Box::new(Check { answer }));
        Ok(written.await.map_err(|_| Closed)??)
    }
}

struct Check {
    answer: oneshot::Sender<Result<(), WriteError>>,
}

impl Job for Check {
    fn weight(&self) -> usize {
        1
    }

    fn urgency(&self) -> Urgency {
        Urgency::Publication
    }

    fn take(&mut self, _queue: &mut QueueState) -> bool {
        !self.answer.is_closed()
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        if session.is_disk_low() {
            return Err(no_room());
        }
        // Of a level that no limiter has. What is inserted needs pages, so that a file that may not grow is noticed.
        let connection = session.connection();
        connection
            .prepare_cached(
                "INSERT INTO nahook_limiter_arrival (level, id, arrival) VALUES (-1, hex(zeroblob(?1)), 0)",
            )?
            .execute(params![ROOM / 2])?;
        session.leave_room_to_settle(0)?;
        session
            .connection()
            .prepare_cached("DELETE FROM nahook_limiter_arrival WHERE level = -1")?
            .execute([])?;
        Ok(())
    }

    fn conclude(&mut self, _is_committed: bool, _queue: &mut QueueState) {}

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let _ = self.answer.send(outcome);
    }
}
