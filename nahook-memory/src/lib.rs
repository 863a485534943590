#![doc = include_str!("../README.md")]

mod catalog;
mod counts;
mod endpoints;
mod events;
mod idempotency;
mod keys;
mod log;
mod management;
mod publisher;
mod queue;
mod recorder;
mod redelivery;
mod search;
mod sessions;
mod state;
mod subscribers;
mod subscriptions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::{Clock, IdSource, RandomIds, SystemClock};
use nahook_queue::Generation;

use self::state::State;

/// A back end in memory: every port but the rate limiter.
///
/// Settled deliveries are kept for the log, the latest 100,000 of them.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    generation: Generation,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl MemoryStore {
    /// An empty store with these components.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                generation: Generation::default(),
                clock,
                ids,
            }),
        }
    }

    /// The state. Nothing panics while holding it, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    /// An empty store with the system's clock.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(RandomIds))
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
