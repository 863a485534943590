//! The state that everything of one run shares: chance, the clock, the trace and the oracle.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nahook_core::{Clock, Timestamp};
use tokio::time::Instant;

use crate::oracle::Oracle;
use crate::plan::{Faults, Plan};
use crate::random::{Random, mixed};

/// Start of every clock: 1 January 2026, 00:00 UTC.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Everything of one run that its tasks share.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) started: Instant,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) random: Random,
    pub(crate) oracle: Oracle,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    /// Number of faults that occurred.
    pub(crate) faults: u64,
    hash: u64,
    lines: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(plan: &Plan, is_told: bool) -> Arc<Self> {
        Arc::new(Self {
            plan: plan.clone(),
            started: Instant::now(),
            state: Mutex::new(State {
                random: Random::new(plan.seed ^ 0x5eed),
                oracle: Oracle::new(plan),
                is_calm: false,
                faults: 0,
                hash: 0,
                lines: is_told.then(Vec::new),
            }),
        })
    }

    /// Runs a step on the state, with nothing else in between.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let state = self.state.lock();
        act(&mut state.unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, what: &str, numbers: &[u128]) {
        let at = self.started.elapsed();
        self.with(|state| state.note(at, what, numbers));
    }

    /// The hash of the trace, and its lines if they were kept.
    pub(crate) fn trace(&self) -> (u64, Vec<String>) {
        self.with(|state| (state.hash, state.lines.take().unwrap_or_default()))
    }

    /// Returns true if a fault of this kind occurs now, as one of so many calls.
    pub(crate) fn strikes(&self, kind: Faults, one_in: u64) -> bool {
        let is_possible = self.plan.faults.has(kind);
        self.with(|state| {
            let strikes = is_possible && !state.is_calm && state.random.one_in(one_in);
            state.faults += u64::from(strikes);
            strikes
        })
    }

    /// A random time up to `max`.
    pub(crate) fn time(&self, max: Duration) -> Duration {
        self.with(|state| state.random.time(max))
    }
}

impl State {
    #[expect(clippy::cast_possible_truncation, reason = "all bits are hashed")]
    fn note(&mut self, at: Duration, what: &str, numbers: &[u128]) {
        let mut hash = self.hash;
        let mut take = |number: u64| hash = mixed(hash.rotate_left(5) ^ number);
        take(at.as_nanos() as u64);
        what.bytes().for_each(|byte| take(byte.into()));
        for number in numbers {
            take(*number as u64);
            take((*number >> 64) as u64);
        }
        self.hash = hash;
        if let Some(lines) = &mut self.lines {
            let numbers = numbers.iter().map(|it| format!("{:x}", it & 0xffff_ffff));
            let numbers: Vec<_> = numbers.collect();
            lines.push(format!("{at:>12.3?} {what} {}", numbers.join(" ")));
        }
    }
}

/// A clock that goes as tokio's does, until it jumps. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct JumpingClock {
    started: Instant,
    ahead_millis: Arc<AtomicI64>,
}

impl JumpingClock {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            started: world.started,
            ahead_millis: Arc::default(),
        }
    }

    /// Is ahead of the time by so much from now on, or behind it.
    pub(crate) fn jump(&self, ahead_millis: i64) {
        self.ahead_millis.store(ahead_millis, Ordering::Relaxed);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_millis.load(Ordering::Relaxed);
        let nanos = BEGINNING
            .saturating_add(self.started.elapsed())
            .as_nanos()
            .saturating_add_signed(ahead.saturating_mul(1_000_000));
        Timestamp::from_nanos(nanos)
    }
}
