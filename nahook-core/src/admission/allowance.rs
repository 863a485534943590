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
