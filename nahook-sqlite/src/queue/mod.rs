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

use nahook_queue::LeaseToken;
use tokio::sync::watch;

pub(crate) use self::backlog::{EndpointBacklog, Leased};
pub(crate) use self::leaser::Leaser;
pub(crate) use self::ledger::LeasedRow;
pub(crate) use self::pending::FirstFresh;
pub(crate) use self::state::QueueState;

/// The part of the queue that is in memory.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    generation: watch::Sender<u64>,
}

impl Queue {
    /// An empty one, whose lease tokens begin at `first_token` and that keeps about so many deliveries in mind.
    pub(crate) fn new(first_token: LeaseToken, known_of_all: usize) -> Self {
        Self {
            state: Mutex::new(QueueState::new(first_token, known_of_all)),
            generation: watch::Sender::new(0),
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
        self.generation
            .send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    pub(crate) async fn changed(&self, generation: u64) {
        let mut changes = self.generation.subscribe();
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = changes.wait_for(|current| *current != generation).await;
    }
}
