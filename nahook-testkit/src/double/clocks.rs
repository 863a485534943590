//! Clocks that a test is in charge of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nahook_core::{Clock, Timestamp};
use tokio::time::Instant;

/// Start of test clocks: 1 January 2026, 00:00 UTC.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A clock that stands still unless told otherwise; clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows this instant.
    pub fn starting_at(now: Timestamp) -> Self {
        Self {
            nanos: Arc::new(AtomicU64::new(now.as_nanos())),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let add = |now: u64| Some(now.saturating_add(by));
        // Always answers Ok, because `add` always gives a value.
        let _ = self
            .nanos
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
    }

    /// Shows this instant from now on, be it earlier or later.
    pub fn set(&self, now: Timestamp) {
        self.nanos.store(now.as_nanos(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// A clock that shows midnight of 1 January 2026, UTC.
    fn default() -> Self {
        Self::starting_at(BEGINNING)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::SeqCst))
    }
}

/// A clock that goes as tokio's does: standing still in paused time, and jumping with
/// [`tokio::time::advance`](https://docs.rs/tokio/latest/tokio/time/fn.advance.html).
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    started: Instant,
    from: Timestamp,
}

impl TokioClock {
    /// A clock that shows this instant now.
    pub fn starting_at(from: Timestamp) -> Self {
        Self {
            started: Instant::now(),
            from,
        }
    }
}

impl Default for TokioClock {
    /// A clock that now shows midnight of 1 January 2026, UTC.
    fn default() -> Self {
        Self::starting_at(BEGINNING)
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.from.saturating_add(self.started.elapsed())
    }
}
