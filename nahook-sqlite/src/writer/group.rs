//! Group commit: one transaction, and one wait for the disk, for all who arrived while the last one was written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::session::Session;
use super::{Job, Order};
use crate::error::{Fate, WriteError};
use crate::queue::Queue;

/// A group is closed at this many jobs …
const JOBS_MAX: usize = 256;

/// … or at this many rows, so that nobody waits long for others' work.
const WEIGHT_MAX: usize = 4_096;

/// What became of a group.
#[derive(Default)]
pub(super) struct Done {
    pub(super) commits: u64,
    pub(super) jobs: u64,
    pub(super) failures: u64,
    /// The order to close, if one arrived behind the group.
    pub(super) closing: Option<oneshot::Sender<Result<(), rusqlite::Error>>>,
}

/// Why a group was not committed.
enum GroupError {
    /// All of it.
    All(WriteError),
    /// Because of one job, the one at this place; the others can be written without it.
    One(usize, rusqlite::Error),
}

/// Writes `first` and whatever else has arrived by now.
pub(super) fn commit_group(
    session: &mut Session,
    first: Box<dyn Job>,
    inbox: &Receiver<Order>,
    queue: &Queue,
) -> Done {
    let mut done = Done::default();
    // Before jobs are taken: while this waits for another process, whoever gives up has been promised nothing.
    let begun = session.begin();
    let mut jobs = collect(first, inbox, &mut done);
    {
        let mut state = queue.state();
        jobs.retain_mut(|job| job.take(&mut state));
    }
    match begun {
        Ok(()) => write(session, jobs, queue, &mut done),
        Err(error) => {
            let error = WriteError::new(error, Fate::RolledBack);
            fail(jobs, &error, queue, &mut done);
        }
    }
    done
}

fn collect(first: Box<dyn Job>, inbox: &Receiver<Order>, done: &mut Done) -> Vec<Box<dyn Job>> {
    let mut weight = first.weight();
    let mut jobs = vec![first];
    while jobs.len() < JOBS_MAX
        && weight < WEIGHT_MAX
        && let Ok(order) = inbox.try_recv()
    {
        match order {
            Order::Close(answer) => {
                done.closing = Some(answer);
                break;
            }
            Order::Write(job) => {
                weight += job.weight();
                jobs.push(job);
            }
        }
    }
    jobs
}

/// Writes the jobs in the transaction that has begun; if one of them fails, each in one of its own.
fn write(session: &mut Session, mut jobs: Vec<Box<dyn Job>>, queue: &Queue, done: &mut Done) {
    match write_all(session, &mut jobs) {
        Ok(()) => {
            done.commits += 1;
            done.jobs += jobs.len() as u64;
            conclude(jobs, Ok(()), queue);
        }
        Err(GroupError::All(error)) => fail(jobs, &error, queue, done),
        Err(GroupError::One(at, error)) => {
            // Alone, or after a panic, it has failed on its own account. Else it may have wanted room that others took.
            let panicked = matches!(error, rusqlite::Error::UnwindingPanic);
            if panicked || jobs.len() == 1 {
                let failed = vec![jobs.remove(at)];
                fail(
                    failed,
                    &WriteError::new(error, Fate::RolledBack),
                    queue,
                    done,
                );
            }
            for job in jobs {
                match session.begin() {
                    Ok(()) => write(session, vec![job], queue, done),
                    Err(error) => {
                        let error = WriteError::new(error, Fate::RolledBack);
                        fail(vec![job], &error, queue, done);
                    }
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

fn fail(jobs: Vec<Box<dyn Job>>, error: &WriteError, queue: &Queue, done: &mut Done) {
    done.failures += jobs.len() as u64;
    conclude(jobs, Err(error), queue);
}

fn conclude(mut jobs: Vec<Box<dyn Job>>, outcome: Result<(), &WriteError>, queue: &Queue) {
    {
        let mut state = queue.state();
        for job in &mut jobs {
            job.conclude(outcome.is_ok(), &mut state);
        }
    }
    queue.wake();
    for job in jobs {
        job.answer(outcome.map_err(WriteError::clone));
    }
}
