//! The arithmetic of one level, by `governor`.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use crate::{Rate, Timestamp};

/// `governor`'s limiter for a single check.
type Level = governor::RateLimiter<(), Debt, Now, NoOpMiddleware<Nanos>>;

/// Spends one token at `now`, for somebody who will have recovered at `arrival` (now, if absent).
///
/// Answers when they will have recovered then, or how long they have to wait for a token.
pub(super) fn spend(
    rate: Rate,
    arrival: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, Duration> {
    let debt = arrival.map_or(Duration::ZERO, |arrival| arrival.saturating_since(now));
    let level = Level::new(quota(rate), Debt::new(debt), Now);
    match level.check_key(&()) {
        Ok(()) => Ok(now.saturating_add(level.into_state_store().get())),
        Err(refused) => Err(refused.wait_time_from(NOW)),
    }
}

/// When somebody who has spent the whole burst at `now` will have recovered: the latest arrival time there can be, unless
/// the rate has changed or the clock was set back.
pub(super) fn latest_arrival(rate: Rate, now: Timestamp) -> Timestamp {
    let full = interval_nanos(rate).saturating_mul(u64::from(burst(rate).get()));
    now.saturating_add(Duration::from_nanos(full))
}

/// The rate in `governor`'s terms.
fn quota(rate: Rate) -> Quota {
    Quota::with_period(rate.interval())
        .unwrap_or(Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst(rate))
}

/// The rate's burst, cut to what comes back in 292 years: `governor` counts in 64 bits.
fn burst(rate: Rate) -> NonZeroU32 {
    let most = u32::try_from(u64::MAX / 2 / interval_nanos(rate)).unwrap_or(u32::MAX);
    NonZeroU32::new(most).map_or(NonZeroU32::MIN, |most| rate.burst().min(most))
}

fn interval_nanos(rate: Rate) -> u64 {
    u64::try_from(rate.interval().as_nanos())
        .unwrap_or(u64::MAX / 2)
        .max(1)
}

/// The instant of the check: `governor` counts from here, so that neither the epoch nor an uptime enters its sums.
const NOW: Nanos = Nanos::new(0);

/// A clock that stands still for the one check that it is made for.
struct Now;

impl governor::clock::Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        NOW
    }
}

/// How far after the check the arrival time lies.
struct Debt(Cell<Nanos>);

impl Debt {
    fn new(debt: Duration) -> Self {
        Self(Cell::new(debt.into()))
    }

    fn get(&self) -> Duration {
        self.0.get().into()
    }
}

impl StateStore for Debt {
    type Key = ();

    fn measure_and_replace<T, F, E>(&self, (): &(), decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, debt) = decide(Some(self.0.get()))?;
        self.0.set(debt);
        Ok(outcome)
    }
}
