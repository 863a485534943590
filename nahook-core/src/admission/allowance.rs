//! The remainder of a caller's rate.

use crate::Timestamp;
use crate::admission::{Plan, Rate};

/// A caller's remainder of a rate: the numbers of the `X-RateLimit-…` headers (contract, section 1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Allowance {
    /// Largest number of tokens: the rate's burst.
    pub limit: u32,
    /// Tokens that are left now.
    pub remaining: u32,
    /// Time at which the burst is full again if the caller spends nothing until then.
    pub reset_at: Timestamp,
}

impl Allowance {
    /// No rate at all: the largest numbers, now.
    pub const fn unlimited(now: Timestamp) -> Self {
        Self {
            limit: u32::MAX,
            remaining: u32::MAX,
            reset_at: now,
        }
    }

    /// Returns what the rate leaves at `now` to a caller that will have recovered at `arrival`.
    pub fn of(rate: Rate, arrival: Timestamp, now: Timestamp) -> Self {
        let limit = rate.burst().get();
        let latest = now.saturating_add(rate.interval().saturating_mul(limit));
        let reset_at = arrival.clamp(now, latest);
        let owed = reset_at.saturating_since(now).as_nanos();
        let spent = u32::try_from(owed.div_ceil(rate.interval().as_nanos())).unwrap_or(limit);
        Self {
            limit,
            remaining: limit.saturating_sub(spent),
            reset_at,
        }
    }

    /// A plan of which nothing is spent.
    pub fn of_plan(plan: &Plan, now: Timestamp) -> Self {
        [plan.workspace_rate, plan.key_rate]
            .into_iter()
            .flatten()
            .map(|rate| Self::of(rate, now, now))
            .fold(Self::unlimited(now), Self::tighter)
    }

    /// The one with fewer tokens left; of equals, the one that takes longer to be full again.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        let rank = |one: &Self| (one.remaining, std::cmp::Reverse(one.reset_at), one.limit);
        if rank(&other) < rank(&self) {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(10_000);

    /// One a second, so many at once.
    fn rate(burst: u32) -> Rate {
        let one = std::num::NonZeroU32::MIN;
        Rate::new(one, Duration::from_secs(1), burst.try_into().unwrap()).unwrap()
    }

    #[test]
    fn token_that_has_come_back_in_part_is_spent() {
        for (owed, remaining, reset_in) in [
            (0, 3, 0),
            (1, 2, 1),
            (1_000, 2, 1_000),
            (1_001, 1, 1_001),
            (3_000, 0, 3_000),
            // After a change of the rate or of the clock.
            (9_000, 0, 3_000),
        ] {
            let after = |millis| NOW.saturating_add(Duration::from_millis(millis));
            let allowance = Allowance::of(rate(3), after(owed), NOW);
            assert_eq!(
                (allowance.limit, allowance.remaining),
                (3, remaining),
                "{owed}"
            );
            assert_eq!(allowance.reset_at, after(reset_in), "{owed}");
        }
    }

    #[test]
    fn fewer_tokens_are_tighter_then_the_later_reset_then_the_smaller_limit() {
        let allowance = |limit, remaining, seconds: u64| Allowance {
            limit,
            remaining,
            reset_at: Timestamp::from_millis(seconds * 1_000),
        };
        for (tighter, wider) in [
            (allowance(9, 1, 1), allowance(3, 2, 2)),
            (allowance(9, 1, 2), allowance(3, 1, 1)),
            (allowance(3, 1, 1), allowance(9, 1, 1)),
        ] {
            assert_eq!(tighter.tighter(wider), tighter);
            assert_eq!(wider.tighter(tighter), tighter);
        }
    }

    #[test]
    fn plan_of_which_nothing_is_spent_leaves_its_smaller_burst() {
        for (workspace, key, limit) in [
            (None, None, u32::MAX),
            (Some(3), None, 3),
            (None, Some(5), 5),
            (Some(3), Some(5), 3),
            (Some(5), Some(3), 3),
        ] {
            let plan = Plan {
                workspace_rate: workspace.map(rate),
                key_rate: key.map(rate),
                ..Plan::default()
            };
            let allowance = Allowance::of_plan(&plan, NOW);
            assert_eq!((allowance.limit, allowance.remaining), (limit, limit));
        }
    }
}
