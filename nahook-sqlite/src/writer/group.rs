//! Group commit: one transaction, and one wait for the disk, for all who arrived while the last one was written.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use nahook_core::Causes;
use tokio::sync::oneshot;

use super::adoption::AdoptJob;
use super::session::Session;
use super::{Counters, Job, Order, Ticket};
use crate::error::{WriteEffect, WriteError, interrupted, is_full, is_out_of_room};
use crate::queue::Queue;

/// A group is closed at this many jobs …
const JOBS_MAX: usize = 256;

/// … or at this many rows, so that nobody waits long for others' work.
const WEIGHT_MAX: usize = 16_384;

/// The answer to an order to close.
pub(super) type Closing = oneshot::Sender<Result<(), rusqlite::Error>>;

/// The jobs in hand. They outlive a thread that dies with them.
#[derive(Default)]
pub(super) struct Group {
    members: Vec<Member>,
    /// The order to close that came behind them.
    pub(super) closing: Option<Closing>,
}

struct Member {
    job: Box<dyn Job>,
    stage: Stage,
    /// Dropped after the answer.
    _ticket: Ticket,
}

/// Progress of a job.
enum Stage {
    /// Nothing of it is written, and its caller may still give it up.
    Waiting,
    /// Taken, and perhaps written to a transaction that is not committed.
    Taken,
    /// Its transaction is being committed.
    Committing,
    /// Its outcome is known, and the queue does not know it yet.
    Decided(Result<(), WriteError>),
    /// The queue knows it, and the caller does not.
    Concluded(Result<(), WriteError>),
}

/// Why a group was not committed.
enum GroupError {
    /// All of it.
    All(WriteError),
    /// Because of one job, the one at this place; the others can be written without it.
    One(usize, rusqlite::Error),
}

/// Receives the outcomes of jobs.
#[derive(Clone, Copy)]
pub(super) struct Outcomes<'a> {
    pub(super) queue: &'a Queue,
    pub(super) counters: &'a Arc<Counters>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn add(&mut self, order: Order) {
        match order {
            Order::Close(answer) => self.closing = Some(answer),
            Order::Write(job, ticket) => self.members.push(Member {
                job,
                stage: Stage::Waiting,
                _ticket: ticket,
            }),
        }
    }

    /// Adds the adoption of what other connections have queued.
    pub(super) fn add_adoption(&mut self, counters: &Arc<Counters>) {
        let job = Box::new(AdoptJob::new(counters));
        self.add(Order::Write(job, Ticket::new(counters)));
    }

    /// Answers what a thread that died had begun with. What it had not begun with still waits.
    pub(super) fn recover(&mut self, session: &mut Session, outcomes: Outcomes<'_>) {
        let was_open = session.recover();
        for member in &mut self.members {
            let effect = match member.stage {
                Stage::Taken => WriteEffect::RolledBack,
                Stage::Committing if was_open => WriteEffect::RolledBack,
                Stage::Committing => WriteEffect::Unclear,
                Stage::Waiting | Stage::Decided(_) | Stage::Concluded(_) => continue,
            };
            member.stage = Stage::Decided(Err(WriteError::new(interrupted(), effect)));
        }
        self.tell(outcomes);
    }

    /// Writes the jobs in hand and whatever else has arrived by now, up to an order to close.
    pub(super) fn commit(
        &mut self,
        session: &mut Session,
        inbox: &Receiver<Order>,
        outcomes: Outcomes<'_>,
    ) {
        // Before jobs are taken: while this waits for another process, whoever gives up has been promised nothing.
        let begun = session.begin(outcomes.queue.fresh_len());
        if begun.is_ok() && session.notice_others() {
            self.add_adoption(outcomes.counters);
        }
        // What arrived while only an adoption waited for the lock has waited less, and waits on.
        if begun.is_ok() || self.members.iter().any(|member| member.job.is_awaited()) {
            self.collect(inbox);
        }
        self.take(outcomes.queue);
        match begun {
            Ok(()) => self.write(session, outcomes),
            Err(error) => {
                let error = WriteError::new(error, WriteEffect::RolledBack);
                decide(&mut self.members, &Err(error.clone()));
                self.tell(outcomes);
                tracing::warn!(error = %Causes(&error), "no transaction can begin");
            }
        }
        session.tidy_up();
    }

    fn collect(&mut self, inbox: &Receiver<Order>) {
        let mut weight: usize = self.members.iter().map(|member| member.job.weight()).sum();
        while self.closing.is_none()
            && self.members.len() < JOBS_MAX
            && weight < WEIGHT_MAX
            && let Ok(order) = inbox.try_recv()
        {
            if let Order::Write(job, _) = &order {
                weight += job.weight();
            }
            self.add(order);
        }
    }

    /// Drops what nobody wants any more.
    fn take(&mut self, queue: &Queue) {
        let mut state = queue.state();
        self.members.retain_mut(|member| {
            member.stage = Stage::Taken;
            member.job.take(&mut state)
        });
    }

    /// Writes the jobs in the transaction that has begun; if one of them fails, each in one of its own.
    fn write(&mut self, session: &mut Session, outcomes: Outcomes<'_>) {
        let (at, error) = match write_all(session, &mut self.members) {
            Ok(()) => {
                outcomes.counters.commits.fetch_add(1, Ordering::Relaxed);
                decide(&mut self.members, &Ok(()));
                return self.tell(outcomes);
            }
            Err(GroupError::All(error)) if error.effect() == WriteEffect::RolledBack => {
                (None, error)
            }
            Err(GroupError::All(error)) => {
                decide(&mut self.members, &Err(error.clone()));
                self.tell(outcomes);
                return report(session, &error);
            }
            Err(GroupError::One(at, error)) => {
                (Some(at), WriteError::new(error, WriteEffect::RolledBack))
            }
        };
        // With the reserve released there is room for what failed, each job by itself.
        let has_room = is_out_of_room(error.cause()) && session.make_room();
        match at {
            // Alone, or after a panic, it has failed on its own account. Else it may have wanted room that others took.
            Some(at) if error.is_panic() || (self.members.len() == 1 && !has_room) => {
                decide(&mut self.members[at..=at], &Err(error.clone()));
            }
            None if !has_room => decide(&mut self.members, &Err(error.clone())),
            _ => {
                for member in &mut self.members {
                    member.stage = Stage::Taken;
                }
            }
        }
        self.tell(outcomes);
        report(session, &error);
        while let Some(at) = self.members.iter().position(Member::is_taken) {
            if let Err(error) = session.begin(outcomes.queue.fresh_len()) {
                // Another process keeps the file locked: waiting for it once for each job would take minutes.
                let error = WriteError::new(error, WriteEffect::RolledBack);
                for member in self.members.iter_mut().filter(|member| member.is_taken()) {
                    member.stage = Stage::Decided(Err(error.clone()));
                }
                self.tell(outcomes);
                return report(session, &error);
            }
            let one = &mut self.members[at..=at];
            let outcome = write_all(session, one).map_err(GroupError::into_write_error);
            if outcome.is_ok() {
                outcomes.counters.commits.fetch_add(1, Ordering::Relaxed);
            }
            decide(one, &outcome);
            self.tell(outcomes);
            if let Err(error) = outcome {
                if is_out_of_room(error.cause()) {
                    session.make_room();
                }
                report(session, &error);
            }
        }
    }

    /// Tells the queue before those who wait: what they do next finds it informed.
    fn tell(&mut self, outcomes: Outcomes<'_>) {
        {
            let mut state = outcomes.queue.state();
            for member in &mut self.members {
                member.conclude(&mut state, outcomes.counters);
            }
        }
        outcomes.queue.wake();
        let (done, rest) = mem::take(&mut self.members)
            .into_iter()
            .partition(Member::is_concluded);
        self.members = rest;
        done.into_iter().for_each(Member::answer);
    }
}

impl Member {
    fn is_taken(&self) -> bool {
        matches!(self.stage, Stage::Taken)
    }

    fn is_concluded(&self) -> bool {
        matches!(self.stage, Stage::Concluded(_))
    }

    fn conclude(&mut self, state: &mut crate::queue::QueueState, counters: &Counters) {
        match mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Decided(outcome) => {
                let is_committed = outcome.is_ok();
                // Before the job is called: should it panic, it is not called again.
                self.stage = Stage::Concluded(outcome);
                let counter = if is_committed {
                    &counters.jobs
                } else {
                    &counters.failures
                };
                counter.fetch_add(1, Ordering::Relaxed);
                self.job.conclude(is_committed, state);
            }
            other => self.stage = other,
        }
    }

    fn answer(self) {
        if let Stage::Concluded(outcome) = self.stage {
            self.job.answer(outcome);
        }
    }
}

impl GroupError {
    fn into_write_error(self) -> WriteError {
        match self {
            Self::All(error) => error,
            Self::One(_, error) => WriteError::new(error, WriteEffect::RolledBack),
        }
    }
}

fn decide(members: &mut [Member], outcome: &Result<(), WriteError>) {
    for member in members {
        member.stage = Stage::Decided(outcome.clone());
    }
}

/// Logs a failure. To be called once everybody knows of it: whatever comes of logging, nobody waits for it.
fn report(session: &Session, error: &WriteError) {
    match error.effect() {
        // The disk has told of it once.
        WriteEffect::RolledBack if is_full(error.cause()) && session.is_disk_low() => {
            tracing::debug!(error = %Causes(error), "a write failed");
        }
        WriteEffect::RolledBack => tracing::warn!(error = %Causes(error), "a write failed"),
        WriteEffect::Unclear => tracing::error!(error = %Causes(error), "a commit may have failed"),
    }
}

fn write_all(session: &mut Session, members: &mut [Member]) -> Result<(), GroupError> {
    for (at, member) in members.iter_mut().enumerate() {
        let written = catch_unwind(AssertUnwindSafe(|| member.job.write(session)))
            .unwrap_or(Err(rusqlite::Error::UnwindingPanic));
        if let Err(error) = written {
            return Err(if session.roll_back() {
                GroupError::One(at, error)
            } else {
                GroupError::All(WriteError::new(error, WriteEffect::Unclear))
            });
        }
    }
    for member in members {
        member.stage = Stage::Committing;
    }
    session.commit().map_err(GroupError::All)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};
    use std::sync::{Arc, Mutex};

    use nahook_queue::LeaseToken;

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
        inbox: Receiver<Order>,
        _directory: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let connection = rusqlite::Connection::open(directory.path().join("db")).unwrap();
            let schema = "CREATE TABLE nahook_catalog_state (version, overwrites);
                INSERT INTO nahook_catalog_state VALUES (1, 0);
                CREATE TABLE word (word NOT NULL)";
            connection.execute_batch(schema).unwrap();
            let (orders, inbox) = mpsc::channel();
            Self {
                session: Session::new(connection, crate::Role::Server),
                group: Group::default(),
                queue: Queue::new(LeaseToken(0), 100),
                counters: Arc::default(),
                orders,
                inbox,
                _directory: directory,
            }
        }

        fn send(&self, job: Box<dyn Job>) {
            let order = Order::Write(job, Ticket::new(&self.counters));
            self.orders.send(order).unwrap();
        }

        /// Runs the order that the thread received.
        fn commit(&mut self) {
            self.group.add(self.inbox.try_recv().unwrap());
            let outcomes = Outcomes {
                queue: &self.queue,
                counters: &self.counters,
            };
            self.group.commit(&mut self.session, &self.inbox, outcomes);
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
            bench.group.add(bench.inbox.try_recv().unwrap());
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
        assert!(bench.inbox.try_recv().is_ok());
    }
}
