//! Adoption of events that another connection has queued, in a transaction of the app's own.
//!
//! The rows are in the file; the queue in memory does not know them. The writer notices that another connection has committed, reads
//! which events that has queued, and tells the queue. It marks them in a transaction of its own: the flush at its end covers the app's
//! transaction, too, so nothing is sent that a power cut could undo.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, ErrorCode};

use super::{Counters, Job, Session, Urgency};
use crate::error::WriteError;
use crate::queue::QueueState;
use crate::record;

/// Upper bound on events adopted in one transaction.
const EVENTS_MAX: usize = 1_024;

/// Adopts what there is.
pub(super) struct AdoptJob {
    counters: Arc<Counters>,
    /// Events that were adopted before.
    known: Vec<i64>,
    events: Vec<i64>,
    /// Endpoints and keys of each one's deliveries.
    found: Vec<Vec<(i64, i64)>>,
}

impl AdoptJob {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        Self {
            counters: Arc::clone(counters),
            known: Vec::new(),
            events: Vec::new(),
            found: Vec::new(),
        }
    }
}

impl Job for AdoptJob {
    fn weight(&self) -> usize {
        1
    }

    fn urgency(&self) -> Urgency {
        Urgency::Publication
    }

    fn is_awaited(&self) -> bool {
        false
    }

    fn take(&mut self, queue: &mut QueueState) -> bool {
        // The lock of the file is held: what is queued from here on is asked for again.
        self.counters.is_adopting.store(false, Ordering::Release);
        self.known = queue.adopted().to_vec();
        true
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        let connection = session.connection();
        let mut remove =
            connection.prepare_cached("DELETE FROM nahook_submission WHERE event = ?1")?;
        for event in &self.known {
            remove.execute([event])?;
        }
        self.events = submitted(connection)?;
        self.found.clear();
        for event in &self.events {
            self.found.push(adopt(connection, *event)?);
        }
        Ok(())
    }

    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState) {
        if !is_committed {
            return;
        }
        for (event, found) in self.events.iter().zip(&self.found) {
            // Another adoption in the same group has read it too.
            if queue.adopted().contains(event) {
                continue;
            }
            for (endpoint, key) in found {
                queue.add_fresh(*endpoint, *key);
            }
        }
        if self.events.len() == EVENTS_MAX {
            self.counters.must_adopt.store(true, Ordering::Release);
        }
        queue.set_adopted(std::mem::take(&mut self.events));
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        // The app still holds the lock, or the disk fails: then it is tried again with the next look at the file.
        let is_busy =
            |error: &WriteError| error.cause().sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        match outcome {
            Ok(()) => {}
            Err(error) if is_busy(&error) => {
                self.counters.must_adopt.store(true, Ordering::Release);
            }
            Err(_) => self.counters.must_look.store(true, Ordering::Release),
        }
    }
}

/// The first events that are yet to be adopted.
fn submitted(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT event FROM nahook_submission ORDER BY event LIMIT ?1")?
        .query_map([i64::try_from(EVENTS_MAX).unwrap_or(i64::MAX)], |row| {
            row.get(0)
        })?
        .collect()
}

/// Reads the event's deliveries.
fn adopt(connection: &Connection, event: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    connection
        .prepare_cached("UPDATE nahook_submission SET is_adopted = 1 WHERE event = ?1")?
        .execute([event])?;
    record::fresh(connection, event, usize::MAX)
}

#[cfg(test)]
mod tests {
    use nahook_queue::LeaseToken;

    use super::*;
    use crate::Role;
    use crate::queue::Queue;
    use crate::schema::empty;

    #[test]
    fn event_that_two_adoptions_of_a_group_have_read_is_queued_once() {
        let connection = empty();
        let rows = "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 1);
            INSERT INTO nahook_record VALUES (1, '[5, 6]'); INSERT INTO nahook_submission (event) VALUES (1)";
        connection.execute_batch(rows).unwrap();
        let mut session = Session::new(connection, Role::Server);
        let queue = Queue::new(LeaseToken(0), 100);
        let counters = Arc::default();
        let mut jobs = [AdoptJob::new(&counters), AdoptJob::new(&counters)];
        assert!(jobs.iter_mut().all(|job| job.take(&mut queue.state())));
        for job in &mut jobs {
            job.write(&mut session).unwrap();
            job.conclude(true, &mut queue.state());
        }
        assert_eq!(queue.fresh_len(), 2);
    }
}
