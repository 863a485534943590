//! A group answers each of its jobs once, whatever dies.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use nahook_queue::LeaseToken;

use tokio::sync::oneshot;

use super::*;
use crate::queue::QueueState;
use crate::writer::job::Task;

/// A writer without its thread.
struct Bench {
    session: Session,
    group: Group,
    queue: Queue,
    counters: Arc<Counters>,
    orders: Sender<Order>,
    inbox: Inbox,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connection = rusqlite::Connection::open(directory.path().join("db")).unwrap();
        let schema = "CREATE TABLE nahook_catalog_state (version, overwrites, named);
            INSERT INTO nahook_catalog_state VALUES (1, 0, 0);
            CREATE TABLE word (word NOT NULL)";
        connection.execute_batch(schema).unwrap();
        let (orders, inbox) = mpsc::channel();
        Self {
            session: Session::new(connection, crate::Role::Server),
            group: Group::default(),
            queue: Queue::new(LeaseToken(0), 100),
            counters: Arc::default(),
            orders,
            inbox: Inbox::new(inbox),
            _directory: directory,
        }
    }

    fn send(&self, job: Box<dyn Job>) {
        let order = Order::Write(job, Ticket::new(&self.counters));
        self.orders.send(order).unwrap();
    }

    /// Runs the order that the thread received.
    fn commit(&mut self) {
        self.group.add(self.inbox.next().unwrap());
        let outcomes = Outcomes {
            queue: &self.queue,
            counters: &self.counters,
        };
        self.group
            .commit(&mut self.session, &mut self.inbox, outcomes);
    }

    /// The same by a thread that dies of it and is started again.
    fn commit_and_die(&mut self) {
        let died = catch_unwind(AssertUnwindSafe(|| self.commit()));
        assert!(died.is_err());
        let outcomes = Outcomes {
            queue: &self.queue,
            counters: &self.counters,
        };
        self.group.recover(&mut self.session, outcomes);
    }

    /// The same, and it dies once more while it recovers.
    fn commit_and_die_twice(&mut self) {
        let died = catch_unwind(AssertUnwindSafe(|| self.commit_and_die()));
        assert!(died.is_err());
        let outcomes = Outcomes {
            queue: &self.queue,
            counters: &self.counters,
        };
        self.group.recover(&mut self.session, outcomes);
    }

    fn words(&self) -> Vec<String> {
        let mut statement = self
            .session
            .connection()
            .prepare("SELECT word FROM word ORDER BY 1")
            .unwrap();
        let words = statement.query_map([], |row| row.get(0)).unwrap();
        words.collect::<Result<_, _>>().unwrap()
    }

    fn count(&self, counter: fn(&Counters) -> &std::sync::atomic::AtomicU64) -> u64 {
        counter(&self.counters).load(Ordering::Relaxed)
    }
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

fn effect(answer: &mut Answer) -> Result<(), WriteEffect> {
    answer.try_recv().unwrap().map_err(|error| error.effect())
}

/// Point at which a job panics outside of the calls that the group itself catches.
#[derive(Clone, Copy, PartialEq)]
enum Panics {
    WhenTaken,
    WhenConcluded,
}

struct Deadly {
    job: Box<dyn Job>,
    panics: Panics,
    concluded: Arc<Mutex<Vec<bool>>>,
}

impl Job for Deadly {
    fn weight(&self) -> usize {
        self.job.weight()
    }

    fn take(&mut self, queue: &mut QueueState) -> bool {
        assert!(self.panics != Panics::WhenTaken, "a defect");
        self.job.take(queue)
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        self.job.write(session)
    }

    fn conclude(&mut self, is_committed: bool, _queue: &mut QueueState) {
        self.concluded.lock().unwrap().push(is_committed);
        assert!(self.panics != Panics::WhenConcluded, "a defect");
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        self.job.answer(outcome);
    }
}

#[test]
fn death_before_the_commit_rolls_back_and_the_next_group_is_committed() {
    let mut bench = Bench::new();
    let concluded = Arc::<Mutex<Vec<bool>>>::default();
    let (first, mut first_answer) = insert(Some("first"), || {});
    let (job, mut answer) = insert(Some("never"), || {});
    let (waiting, mut waiting_answer) = insert(Some("waiting"), || {});
    bench.send(first);
    bench.send(Box::new(Deadly {
        job,
        panics: Panics::WhenTaken,
        concluded: Arc::clone(&concluded),
    }));
    bench.commit_and_die();
    assert_eq!(effect(&mut first_answer), Err(WriteEffect::RolledBack));
    assert_eq!(effect(&mut answer), Err(WriteEffect::RolledBack));
    assert_eq!(*concluded.lock().unwrap(), [false]);
    assert_eq!(bench.count(|counters| &counters.waiting), 0);
    bench.send(waiting);
    bench.commit();
    assert_eq!(effect(&mut waiting_answer), Ok(()));
    assert_eq!(bench.words(), ["waiting"]);
}

#[test]
fn death_after_the_commit_loses_no_answer() {
    let mut bench = Bench::new();
    let concluded = Arc::<Mutex<Vec<bool>>>::default();
    let mut answers = Vec::new();
    for word in ["a", "b"] {
        let (job, answer) = insert(Some(word), || {});
        answers.push(answer);
        bench.send(Box::new(Deadly {
            job,
            panics: Panics::WhenConcluded,
            concluded: Arc::clone(&concluded),
        }));
    }
    bench.commit_and_die_twice();
    for answer in &mut answers {
        assert_eq!(effect(answer), Ok(()));
    }
    assert_eq!(*concluded.lock().unwrap(), [true, true], "each once");
    assert_eq!(bench.words(), ["a", "b"]);
    assert_eq!(bench.count(|counters| &counters.waiting), 0);
}

#[test]
fn death_in_the_commit_is_unclear_unless_the_transaction_is_open() {
    for (is_open, expected) in [
        (true, WriteEffect::RolledBack),
        (false, WriteEffect::Unclear),
    ] {
        let mut bench = Bench::new();
        let (job, mut answer) = insert(Some("a"), || {});
        bench.send(job);
        bench.group.add(bench.inbox.next().unwrap());
        bench.group.members[0].stage = Stage::Committing;
        if is_open {
            bench.session.begin(0).unwrap();
        }
        let outcomes = Outcomes {
            queue: &bench.queue,
            counters: &bench.counters,
        };
        bench.group.recover(&mut bench.session, outcomes);
        assert_eq!(effect(&mut answer), Err(expected));
        // What is unclear is counted anew, soon, be anything written or not …
        assert_eq!(bench.queue.state().is_doubtful(), !is_open);
        assert_eq!(bench.counters.must_look.load(Ordering::Relaxed), !is_open);
        // … and where it cannot be, everything else goes on.
        let (job, mut answer) = insert(Some("b"), || {});
        bench.send(job);
        bench.commit();
        assert_eq!(
            (effect(&mut answer), bench.words()),
            (Ok(()), vec!["b".to_owned()])
        );
        assert_eq!(bench.queue.state().is_doubtful(), !is_open);
    }
}

#[test]
fn job_that_fails_or_panics_takes_nobody_along() {
    let mut bench = Bench::new();
    let mut answers = Vec::new();
    for (job, answer) in [
        insert(Some("a"), || {}),
        insert(None, || {}),
        insert(Some("b"), || {}),
        insert(Some("never"), || panic!("a defect")),
        insert(Some("c"), || {}),
    ] {
        bench.send(job);
        answers.push(answer);
    }
    bench.commit();
    assert!(bench.group.closing.is_none());
    let outcomes: Vec<_> = answers.iter_mut().map(effect).collect();
    let refused = Err(WriteEffect::RolledBack);
    assert_eq!(outcomes, [Ok(()), refused, Ok(()), refused, Ok(())]);
    assert_eq!(bench.words(), ["a", "b", "c"]);
    assert_eq!(bench.count(|counters| &counters.failures), 2);
    assert_eq!(bench.count(|counters| &counters.jobs), 3);
    assert_eq!(bench.count(|counters| &counters.waiting), 0);
}

#[test]
fn group_ends_at_the_order_to_close() {
    let mut bench = Bench::new();
    let (first, mut first_answer) = insert(Some("first"), || {});
    let (late, mut late_answer) = insert(Some("late"), || {});
    let (close, _closed) = oneshot::channel();
    bench.send(first);
    bench.orders.send(Order::Close(close)).unwrap();
    bench.send(late);
    bench.commit();
    assert!(bench.group.closing.is_some());
    assert_eq!(effect(&mut first_answer), Ok(()));
    assert!(late_answer.try_recv().is_err());
    assert_eq!(bench.words(), ["first"]);
}

#[test]
fn group_is_bounded() {
    let mut bench = Bench::new();
    for _ in 0..=256 {
        bench.send(insert(Some("x"), || {}).0);
    }
    bench.commit();
    assert_eq!(bench.words().len(), 256);
    assert_eq!(bench.count(|counters| &counters.commits), 1);
    assert!(bench.inbox.next().is_some());
}
