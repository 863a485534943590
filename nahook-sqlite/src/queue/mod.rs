//! The queue's part in memory: leases, since one process serves the file, and what may be leased next.

mod backlog;
mod counting;
mod events;
mod fresh;
mod leaser;
mod ledger;
mod pending;
mod records;
mod rings;
mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};

use nahook_queue::{Generation, LeaseToken};

pub(crate) use self::backlog::{EndpointBacklog, Leased};
pub(crate) use self::leaser::Leaser;
pub(crate) use self::ledger::LeasedRow;
pub(crate) use self::pending::FirstFresh;
pub(crate) use self::state::QueueState;

/// The part of the queue that is in memory.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    pub(crate) generation: Generation,
}

impl Queue {
    /// An empty one, whose lease tokens begin at `first_token` and that keeps about so many deliveries in mind.
    pub(crate) fn new(first_token: LeaseToken, known_of_all: usize) -> Self {
        Self {
            state: Mutex::new(QueueState::new(first_token, known_of_all)),
            generation: Generation::default(),
        }
    }

    /// Locks the state of leases and pending deliveries. Never held while the file is read or written.
    pub(crate) fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of fresh deliveries.
    pub(crate) fn fresh_len(&self) -> usize {
        self.state().fresh_len()
    }

    /// Says that something has become leasable.
    pub(crate) fn wake(&self) {
        self.generation.advance();
    }
}
