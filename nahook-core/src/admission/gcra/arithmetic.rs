//! The arithmetic of one level: the generic cell rate algorithm.

use std::time::Duration;

use crate::Timestamp;
use crate::admission::Rate;

/// Spends one token at `now`, for a caller that will have recovered at `arrival` (now, if absent).
///
/// Answers the time at which they will have recovered then, or the wait for a token.
pub(super) fn spend(
    rate: Rate,
    arrival: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, Duration> {
    let debt = arrival.map_or(Duration::ZERO, |arrival| arrival.saturating_since(now));
    let debt = debt.saturating_add(rate.interval());
    match debt.checked_sub(full(rate)) {
        None | Some(Duration::ZERO) => Ok(now.saturating_add(debt)),
        Some(wait) => Err(wait),
    }
}

/// Returns the time at which a caller that has spent the whole burst at `now` will have recovered: the latest arrival
/// time there can be, unless the rate has changed or the clock was set back.
pub(super) fn latest_arrival(rate: Rate, now: Timestamp) -> Timestamp {
    now.saturating_add(full(rate))
}

/// Time in which the whole burst comes back: 292 years at most, so that adding it to a time does not overflow.
fn full(rate: Rate) -> Duration {
    const FULL_MAX: Duration = Duration::from_nanos(u64::MAX / 2);
    let interval = rate.interval();
    let full = interval.saturating_mul(rate.burst().get());
    if full <= FULL_MAX {
        return full;
    }
    let tokens = FULL_MAX.as_nanos() / interval.as_nanos().max(1);
    interval.saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX).max(1))
}
