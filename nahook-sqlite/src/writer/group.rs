//! Group commit: one transaction, and one wait for the disk, for all who arrived while the last one was written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::session::Session;
use super::{Counters, Job, Order};
use crate::error::{Fate, WriteError};
use crate::queue::Queue;

/// A group is closed at this many jobs …
const JOBS_MAX: usize = 256;

/// … or at this many rows, so that nobody waits long for others' work.
const WEIGHT_MAX: usize = 16_384;

/// The answer to an order to close.
pub(super) type Closing = oneshot::Sender<Result<(), rusqlite::Error>>;

/// Why a group was not committed.
enum GroupError {
    /// All of it.
    All(WriteError),
    /// Because of one job, the one at this place; the others can be written without it.
    One(usize, rusqlite::Error),
}

/// Writes `first` and whatever else has arrived by now. Answers the order to close, if one came behind it.
pub(super) fn commit_group(
    session: &mut Session,
    first: Box<dyn Job>,
    inbox: &Receiver<Order>,
    queue: &Queue,
    counters: &Counters,
) -> Option<Closing> {
    let outcomes = Outcomes { queue, counters };
    // Before jobs are taken: while this waits for another process, whoever gives up has been promised nothing.
    let begun = session.begin();
    let (mut jobs, closing) = collect(first, inbox);
    let count = jobs.len() as u64;
    {
        let mut state = queue.state();
        jobs.retain_mut(|job| job.take(&mut state));
    }
    match begun {
        Ok(()) => write(session, jobs, &outcomes),
        Err(error) => outcomes.rolled_back(jobs, error),
    }
    counters.waiting.fetch_sub(count, Ordering::Relaxed);
    session.tidy_up();
    closing
}

fn collect(first: Box<dyn Job>, inbox: &Receiver<Order>) -> (Vec<Box<dyn Job>>, Option<Closing>) {
    let mut weight = first.weight();
    let mut jobs = vec![first];
    while jobs.len() < JOBS_MAX
        && weight < WEIGHT_MAX
        && let Ok(order) = inbox.try_recv()
    {
        match order {
            Order::Close(answer) => return (jobs, Some(answer)),
            Order::Write(job) => {
                weight += job.weight();
                jobs.push(job);
            }
        }
    }
    (jobs, None)
}

/// Writes the jobs in the transaction that has begun; if one of them fails, each in one of its own.
fn write(session: &mut Session, mut jobs: Vec<Box<dyn Job>>, outcomes: &Outcomes<'_>) {
    match write_all(session, &mut jobs) {
        Ok(()) => outcomes.committed(jobs),
        Err(GroupError::All(error)) => outcomes.failed(jobs, &error),
        Err(GroupError::One(at, error)) => {
            // Alone, or after a panic, it has failed on its own account. Else it may have wanted room that others took.
            let panicked = matches!(error, rusqlite::Error::UnwindingPanic);
            if panicked || jobs.len() == 1 {
                outcomes.rolled_back(vec![jobs.remove(at)], error);
            }
            for job in jobs {
                match session.begin() {
                    Ok(()) => write(session, vec![job], outcomes),
                    Err(error) => outcomes.rolled_back(vec![job], error),
                }
            }
        }
    }
}

fn write_all(session: &mut Session, jobs: &mut [Box<dyn Job>]) -> Result<(), GroupError> {
    for (at, job) in jobs.iter_mut().enumerate() {
        let written = catch_unwind(AssertUnwindSafe(|| job.write(session)))
            .unwrap_or(Err(rusqlite::Error::UnwindingPanic));
        if let Err(error) = written {
            tracing::warn!(%error, "a write failed and is rolled back");
            return Err(if session.roll_back() {
                GroupError::One(at, error)
            } else {
                GroupError::All(WriteError::new(error, Fate::Unclear))
            });
        }
    }
    session.commit().map_err(GroupError::All)
}

/// Where outcomes are told.
struct Outcomes<'a> {
    queue: &'a Queue,
    counters: &'a Counters,
}

impl Outcomes<'_> {
    fn committed(&self, jobs: Vec<Box<dyn Job>>) {
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        let count = jobs.len() as u64;
        self.counters.jobs.fetch_add(count, Ordering::Relaxed);
        self.tell(jobs, Ok(()));
    }

    fn rolled_back(&self, jobs: Vec<Box<dyn Job>>, error: rusqlite::Error) {
        self.failed(jobs, &WriteError::new(error, Fate::RolledBack));
    }

    fn failed(&self, jobs: Vec<Box<dyn Job>>, error: &WriteError) {
        let count = jobs.len() as u64;
        self.counters.failures.fetch_add(count, Ordering::Relaxed);
        self.tell(jobs, Err(error));
    }

    /// Tells the queue before those who wait: what they do next finds it informed.
    fn tell(&self, mut jobs: Vec<Box<dyn Job>>, outcome: Result<(), &WriteError>) {
        {
            let mut state = self.queue.state();
            for job in &mut jobs {
                job.conclude(outcome.is_ok(), &mut state);
            }
        }
        self.queue.wake();
        for job in jobs {
            job.answer(outcome.map_err(WriteError::clone));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use nahook_core::LeaseToken;

    use super::*;
    use crate::error::WriteError;
    use crate::writer::job::Task;

    fn session(directory: &tempfile::TempDir) -> Session {
        let connection = rusqlite::Connection::open(directory.path().join("db")).unwrap();
        let schema = "CREATE TABLE catalog_state (version); INSERT INTO catalog_state VALUES (1);
            CREATE TABLE word (word NOT NULL)";
        connection.execute_batch(schema).unwrap();
        Session::new(connection, crate::Role::Server)
    }

    type Answer = oneshot::Receiver<Result<(), WriteError>>;

    /// A job that inserts the word, after `before`.
    fn insert(word: Option<&'static str>, before: fn()) -> (Box<dyn Job>, Answer) {
        let (task, answer) = Task::new(move |session: &mut Session| {
            before();
            let statement = "INSERT INTO word VALUES (?1)";
            session.connection().execute(statement, [word]).map(|_| ())
        });
        (Box::new(task), answer)
    }

    fn words(session: &Session) -> Vec<String> {
        let mut statement = session
            .connection()
            .prepare("SELECT word FROM word ORDER BY 1")
            .unwrap();
        let words = statement.query_map([], |row| row.get(0)).unwrap();
        words.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn one_that_fails_or_panics_takes_nobody_along() {
        let directory = tempfile::tempdir().unwrap();
        let mut session = session(&directory);
        let queue = Arc::new(Queue::new(LeaseToken(0), 100));
        let counters = Counters::default();
        let (orders, inbox) = mpsc::channel();
        let (first, mut first_answer) = insert(Some("a"), || {});
        let mut answers = Vec::new();
        for (job, answer) in [
            insert(None, || {}),
            insert(Some("b"), || {}),
            insert(Some("never"), || panic!("a defect")),
            insert(Some("c"), || {}),
        ] {
            orders.send(Order::Write(job)).unwrap();
            answers.push(answer);
        }
        assert!(commit_group(&mut session, first, &inbox, &queue, &counters).is_none());
        assert!(first_answer.try_recv().unwrap().is_ok());
        let outcomes: Vec<_> = answers
            .iter_mut()
            .map(|answer| answer.try_recv().unwrap().map_err(|error| error.fate()))
            .collect();
        let refused = Err(Fate::RolledBack);
        assert_eq!(outcomes, [refused, Ok(()), refused, Ok(())]);
        assert_eq!(words(&session), ["a", "b", "c"]);
        assert_eq!(counters.failures.load(Ordering::Relaxed), 2);
        assert_eq!(counters.jobs.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_group_ends_at_the_order_to_close() {
        let directory = tempfile::tempdir().unwrap();
        let mut session = session(&directory);
        let queue = Arc::new(Queue::new(LeaseToken(0), 100));
        let counters = Counters::default();
        let (orders, inbox) = mpsc::channel();
        let (close, _closed) = oneshot::channel();
        orders.send(Order::Close(close)).unwrap();
        let (late, mut late_answer) = insert(Some("late"), || {});
        orders.send(Order::Write(late)).unwrap();
        let (first, mut first_answer) = insert(Some("first"), || {});
        assert!(commit_group(&mut session, first, &inbox, &queue, &counters).is_some());
        assert!(first_answer.try_recv().unwrap().is_ok());
        assert!(late_answer.try_recv().is_err());
        assert_eq!(words(&session), ["first"]);
    }

    #[test]
    fn a_group_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut session = session(&directory);
        let queue = Arc::new(Queue::new(LeaseToken(0), 100));
        let counters = Counters::default();
        let (orders, inbox) = mpsc::channel();
        for _ in 0..JOBS_MAX {
            orders
                .send(Order::Write(insert(Some("x"), || {}).0))
                .unwrap();
        }
        let (first, _answer) = insert(Some("x"), || {});
        commit_group(&mut session, first, &inbox, &queue, &counters);
        assert_eq!(words(&session).len(), JOBS_MAX);
        assert_eq!(counters.commits.load(Ordering::Relaxed), 1);
        assert!(inbox.try_recv().is_ok());
    }
}
