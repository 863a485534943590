//! The kit's clauses, for the store and for its limiter.

use std::time::Duration;

use nahook_sqlite::{SqliteLimiter, SqliteSettings, SqliteStore};
use nahook_testkit::secrets::{MASTER_KEYS, master_keys};
use nahook_testkit::{
    LimiterHarness, ManualClock, StoreHarness, limiter_conformance, store_conformance,
};
use tempfile::TempDir;

struct SqliteHarness {
    store: SqliteStore,
    clock: ManualClock,
    directory: TempDir,
}

impl SqliteHarness {
    fn open(directory: TempDir, clock: ManualClock) -> Self {
        let mut settings = SqliteSettings::server().with_clock(clock.clone());
        // On a busy machine an answer may be late; no clause is about that.
        settings.busy_timeout = Duration::from_mins(2);
        // Sealing changes nothing that anybody can see.
        settings.secret_keys = Some(master_keys(MASTER_KEYS[0]));
        Self {
            store: SqliteStore::open(directory.path().join("nahook.db"), settings).unwrap(),
            clock,
            directory,
        }
    }
}

impl StoreHarness for SqliteHarness {
    type Store = SqliteStore;

    async fn start() -> Self {
        Self::open(tempfile::tempdir().unwrap(), ManualClock::default())
    }

    fn store(&self) -> SqliteStore {
        self.store.clone()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(self) -> Option<Self> {
        self.store.close().await.unwrap();
        Some(Self::open(self.directory, self.clock))
    }
}

store_conformance!(SqliteHarness);

struct SqliteLimiterHarness {
    limiter: SqliteLimiter,
    store: SqliteHarness,
}

impl LimiterHarness for SqliteLimiterHarness {
    type Limiter = SqliteLimiter;

    async fn start() -> Self {
        let store = <SqliteHarness as StoreHarness>::start().await;
        let limiter = SqliteLimiter::load(&store.store).await.unwrap();
        Self { limiter, store }
    }

    fn limiter(&self) -> SqliteLimiter {
        self.limiter.clone()
    }

    fn advance(&self, by: Duration) {
        self.store.clock.advance(by);
    }
}

limiter_conformance!(SqliteLimiterHarness);
