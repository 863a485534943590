//! The register of the loops that run.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use crate::fault::Order;
use crate::{Death, Loop, metric};

/// A loop that has ended counts as down for at least this long, so that one that ends again and again is not taken for
/// running whenever it has just been started.
const DOWN_FOR: Duration = Duration::from_secs(2);

/// The state of a loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoopStatus {
    /// The loop.
    pub which: Loop,
    /// Number of loops of its kind that were started and not stopped.
    pub wanted: usize,
    /// Number of them that run.
    pub running: usize,
    /// Number of times that one ended without having been asked to.
    pub failures: u64,
    /// True if one of them does not run, or has ended within the last two seconds.
    pub is_down: bool,
}

/// Runs loops, starts those again that end, and knows which are down. Clones share one register.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    register: Arc<Register>,
}

#[derive(Debug, Default)]
struct Register {
    loops: Mutex<BTreeMap<Loop, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    wanted: usize,
    running: usize,
    failures: u64,
    failed_at: Option<Instant>,
    order: Arc<Order>,
}

impl Supervisor {
    /// Nothing runs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The loops that were started so far, by name.
    pub fn loops(&self) -> Vec<LoopStatus> {
        let now = Instant::now();
        let status = |(which, entry): (&Loop, &Entry)| LoopStatus {
            which: *which,
            wanted: entry.wanted,
            running: entry.running,
            failures: entry.failures,
            is_down: entry.is_down(now),
        };
        self.register.lock().iter().map(status).collect()
    }

    /// The names of the loops that are down.
    pub fn down(&self) -> Vec<&'static str> {
        let down = self.loops().into_iter().filter(|status| status.is_down);
        down.map(|status| status.which.name()).collect()
    }

    /// Ends a running loop as a defect would, to test its recovery. A task ends at once, a thread when it next
    /// [checks](crate::Pulse::check).
    pub fn kill(&self, which: Loop, death: Death) {
        self.register.order(which).give(death);
    }

    pub(crate) fn order(&self, which: Loop) -> Arc<Order> {
        self.register.order(which)
    }

    /// Counts a loop as wanted until the answer is dropped.
    pub(crate) fn enter(&self, which: Loop) -> Place {
        self.register.lock().entry(which).or_default().wanted += 1;
        Place {
            register: Arc::clone(&self.register),
            which,
            is_running: AtomicBool::new(false),
        }
    }
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Loop, Entry>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, which: Loop) -> Arc<Order> {
        Arc::clone(&self.lock().entry(which).or_default().order)
    }
}

impl Entry {
    fn is_down(&self, now: Instant) -> bool {
        let failed_just_now = self
            .failed_at
            .is_some_and(|at| now.saturating_duration_since(at) < DOWN_FOR);
        self.wanted > 0 && (self.running < self.wanted || failed_just_now)
    }
}

/// A loop's place in the register.
#[derive(Debug)]
pub(crate) struct Place {
    register: Arc<Register>,
    which: Loop,
    is_running: AtomicBool,
}

impl Place {
    pub(crate) fn started(&self) {
        self.is_running.store(true, Ordering::Relaxed);
        if let Some(entry) = self.register.lock().get_mut(&self.which) {
            entry.running += 1;
        }
    }

    /// Notes, counts and logs an end that was not asked for.
    pub(crate) fn failed(&self, reason: &str, restart_in: Duration) {
        self.is_running.store(false, Ordering::Relaxed);
        if let Some(entry) = self.register.lock().get_mut(&self.which) {
            entry.running = entry.running.saturating_sub(1);
            entry.failures += 1;
            entry.failed_at = Some(Instant::now());
        }
        // A recorder or a subscriber that panics must not end what restarts the loop.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            counter!(metric::LOOP_FAILURES, metric::LOOP => self.which.name()).increment(1);
            tracing::error!(
                name = self.which.name(),
                reason,
                restart_in_ms = restart_in.as_millis(),
                "a loop has ended and is started again"
            );
        }));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(entry) = self.register.lock().get_mut(&self.which) {
            entry.wanted = entry.wanted.saturating_sub(1);
            let running = usize::from(*self.is_running.get_mut());
            entry.running = entry.running.saturating_sub(running);
        }
    }
}
