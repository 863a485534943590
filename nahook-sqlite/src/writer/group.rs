//! Group commit: one transaction, and one wait for the disk, for all who arrived while the last one was written.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nahook_core::Causes;

use super::adoption::AdoptJob;
use super::inbox::Inbox;
use super::job::{Closing, Urgency};
use super::session::Session;
use super::{Counters, Job, Order, Ticket};
use crate::error::{WriteEffect, WriteError, interrupted, is_full, is_out_of_room};
use crate::queue::Queue;

/// A group is closed at this many jobs …
const JOBS_MAX: usize = 256;

/// … or at this many rows, so that nobody waits long for others' work …
const WEIGHT_MAX: usize = 16_384;

/// … or at this many while deliveries are made, whose settlements wait for the group before theirs: a worker that waits has nothing in
/// flight.
const WEIGHT_MAX_DELIVERING: usize = 4_096;

/// Number of groups without a settlement after which no deliveries are made.
const GROUPS_DELIVERING: u32 = 64;

/// The jobs in hand. They outlive a thread that dies with them.
#[derive(Default)]
pub(super) struct Group {
    members: Vec<Member>,
    /// The order to close that came behind them.
    pub(super) closing: Option<Closing>,
    /// Number of groups for which deliveries count as being made.
    delivering: u32,
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
            Order::Write(job, ticket) => {
                if job.urgency() == Urgency::Settlement {
                    self.delivering = GROUPS_DELIVERING;
                }
                self.members.push(Member {
                    job,
                    stage: Stage::Waiting,
                    _ticket: ticket,
                });
            }
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
        inbox: &mut Inbox,
        outcomes: Outcomes<'_>,
    ) {
        // Before jobs are taken: while this waits for another process, whoever gives up has been promised nothing.
        let mut begun = session.begin(outcomes.queue.fresh_len());
        if begun.is_ok()
            && session.serves()
            && outcomes.queue.state().is_doubtful()
            && let Err(error) = outcomes.queue.count_fresh(session.connection())
        {
            tracing::warn!(error = %Causes(&error), "what waits cannot be counted; the next commit tries again");
            // SQLite may have ended the transaction with the statement that failed.
            session.roll_back();
            begun = session.begin(outcomes.queue.fresh_len());
        }
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

    fn collect(&mut self, inbox: &mut Inbox) {
        let weight_max = if self.delivering > 0 {
            WEIGHT_MAX_DELIVERING
        } else {
            WEIGHT_MAX
        };
        self.delivering = self.delivering.saturating_sub(1);
        let mut weight: usize = self.members.iter().map(|member| member.job.weight()).sum();
        while self.closing.is_none()
            && self.members.len() < JOBS_MAX
            && weight < weight_max
            && let Some(order) = inbox.next()
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
                if let Err(error) = &outcome
                    && error.effect() == WriteEffect::Unclear
                {
                    state.set_doubtful();
                    // Counted with the next look at the file, if nothing is written before.
                    counters.must_look.store(true, Ordering::Release);
                }
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
mod tests;
