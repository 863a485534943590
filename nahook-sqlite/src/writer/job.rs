//! Jobs of the writer.

use tokio::sync::oneshot;

use super::Session;
use crate::error::WriteError;
use crate::queue::QueueState;

/// The answer to an order to close.
pub(super) type Closing = oneshot::Sender<Result<(), rusqlite::Error>>;

/// Order of the jobs that wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Urgency {
    /// Deliveries that have ended: the worker has no room for others until they are settled.
    Settlement,
    /// Events that are accepted.
    Publication,
    /// Everything else.
    Other,
}

/// A piece of work that is written whole or not at all.
pub(crate) trait Job: Send {
    /// About how many rows it writes: groups are bounded by it.
    fn weight(&self) -> usize;

    /// Returns the place of the job among others that wait.
    fn urgency(&self) -> Urgency {
        Urgency::Other
    }

    /// Returns true if somebody waits for the outcome.
    fn is_awaited(&self) -> bool {
        true
    }

    /// Called once, before anything is written. False if nobody wants it any more: it is then dropped.
    fn take(&mut self, queue: &mut QueueState) -> bool;

    /// Writes. Called again if the transaction was rolled back for another job's sake.
    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()>;

    /// Called once, after the commit or the roll-back and before any answer: tells the queue what has changed.
    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState);

    /// Tells whoever waits.
    fn answer(self: Box<Self>, outcome: Result<(), WriteError>);
}

/// A job that is a function.
pub(super) struct Task<T, F> {
    work: F,
    made: Option<T>,
    answer: oneshot::Sender<Result<T, WriteError>>,
}

impl<T, F> Task<T, F> {
    pub(super) fn new(work: F) -> (Self, oneshot::Receiver<Result<T, WriteError>>) {
        let (answer, receiver) = oneshot::channel();
        let task = Self {
            work,
            made: None,
            answer,
        };
        (task, receiver)
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnMut(&mut Session) -> rusqlite::Result<T> + Send,
{
    fn weight(&self) -> usize {
        1
    }

    fn take(&mut self, _queue: &mut QueueState) -> bool {
        true
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        self.made = Some((self.work)(session)?);
        Ok(())
    }

    fn conclude(&mut self, _is_committed: bool, _queue: &mut QueueState) {}

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let Self { made, answer, .. } = *self;
        let outcome = match (outcome, made) {
            (Ok(()), Some(made)) => Ok(made),
            (Err(error), _) => Err(error),
            // Nothing is committed that was not written before; dropping the answer says so all the same.
            (Ok(()), None) => return,
        };
        let _ = answer.send(outcome);
    }
}
