//! The harnesses of the in-memory adapters.

use std::sync::Arc;
use std::time::Duration;

use nahook_core::GcraLimiter;
use nahook_memory::MemoryStore;
use nahook_testkit::{LimiterHarness, ManualClock, SeededIds, StoreHarness};

pub(crate) struct Memory {
    clock: ManualClock,
    store: MemoryStore,
}

impl StoreHarness for Memory {
    type Store = MemoryStore;

    async fn start() -> Self {
        let clock = ManualClock::default();
        let store = MemoryStore::new(Arc::new(clock.clone()), Arc::new(SeededIds::default()));
        Self { clock, store }
    }

    fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(self) -> Option<Self> {
        None
    }
}

pub(crate) struct Gcra {
    clock: ManualClock,
    limiter: GcraLimiter,
}

impl LimiterHarness for Gcra {
    type Limiter = GcraLimiter;

    async fn start() -> Self {
        let clock = ManualClock::default();
        let limiter = GcraLimiter::new(Arc::new(clock.clone()));
        Self { clock, limiter }
    }

    fn limiter(&self) -> GcraLimiter {
        self.limiter.clone()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}
