//! Counts over time: how much was accepted and delivered, minute by minute and hour by hour.

use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};

/// Time that a roll-up is of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Period {
    /// A minute, kept for a day.
    Minute,
    /// An hour, kept as long as the delivery log.
    Hour,
}

impl Period {
    /// Its length.
    pub const fn len(self) -> Duration {
        match self {
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
        }
    }

    /// Beginning of the one that the instant is in.
    pub fn start_of(self, at: Timestamp) -> Timestamp {
        let len = self.len().as_secs();
        Timestamp::from_millis(at.as_secs() / len * len * 1_000)
    }

    /// The number by which stores keep it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
        }
    }
}

/// Numbers of a time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Events accepted that have a delivery. A workspace's only: those of an endpoint are not counted.
    pub events: u64,
    /// Deliveries that a receiver took.
    pub delivered: u64,
    /// Attempts that no receiver took.
    pub failed: u64,
    /// Deliveries that were abandoned.
    pub abandoned: u64,
    /// Delivered ones by latency, from acceptance to the end of the attempt: each place counts those that took no longer than the bound
    /// of [`LATENCY_BOUNDS`](Self::LATENCY_BOUNDS) at the same place and longer than the one before; the last place those beyond all.
    pub latencies: [u64; Self::LATENCY_BOUNDS.len() + 1],
}

impl Counts {
    /// Upper bounds of latencies, in milliseconds.
    pub const LATENCY_BOUNDS: [u64; 15] = [
        5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 15_000, 60_000, 600_000, 3_600_000,
        86_400_000,
    ];

    /// Number of numbers.
    pub const LEN: usize = 4 + Self::LATENCY_BOUNDS.len() + 1;

    /// Counts a delivery that took so long.
    pub fn note_latency(&mut self, latency: Duration) {
        let millis = latency.as_nanos().div_ceil(1_000_000);
        let place = Self::LATENCY_BOUNDS.partition_point(|bound| u128::from(*bound) < millis);
        if let Some(count) = self.latencies.get_mut(place) {
            *count += 1;
        }
    }

    /// The least bound that this share of the delivered ones kept, as 0.99. `None` if nothing was delivered, or if it is beyond all bounds.
    pub fn latency(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.latencies.iter().sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a count far below 2^52, times a share"
        )]
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut so_far = 0;
        let place = self.latencies.iter().position(|count| {
            so_far += count;
            so_far >= rank
        })?;
        let bound = Self::LATENCY_BOUNDS.get(place)?;
        Some(Duration::from_millis(*bound))
    }

    /// Adds the other numbers to these.
    pub fn add(&mut self, other: &Self) {
        let mut sum = self.to_numbers();
        for (number, more) in sum.iter_mut().zip(other.to_numbers()) {
            *number = number.saturating_add(more);
        }
        *self = Self::from_numbers(sum);
    }

    /// All numbers in the order of the fields: the form in which stores keep them.
    pub fn to_numbers(&self) -> [u64; Self::LEN] {
        let mut numbers = [0; Self::LEN];
        let first = [self.events, self.delivered, self.failed, self.abandoned];
        let all = first.into_iter().chain(self.latencies);
        for (place, number) in numbers.iter_mut().zip(all) {
            *place = number;
        }
        numbers
    }

    /// The inverse of [`to_numbers`](Self::to_numbers). Numbers that are missing count as 0.
    pub fn from_numbers(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            events: next(),
            delivered: next(),
            failed: next(),
            abandoned: next(),
            latencies: std::array::from_fn(|_| next()),
        }
    }
}

/// Numbers of a workspace, or of one of its endpoints, in one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RollUp {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The endpoint; `None` for the whole workspace.
    pub endpoint: Option<EndpointId>,
    /// Length of the time.
    pub period: Period,
    /// Beginning of the time.
    pub start: Timestamp,
    /// The numbers.
    pub counts: Counts,
}

/// A query for roll-ups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CountsQuery {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The endpoint; `None` for the whole workspace.
    pub endpoint: Option<EndpointId>,
    /// Length of each time.
    pub period: Period,
    /// Only those that begin then or later.
    pub since: Timestamp,
}

/// Keeps counts over time. They are numbers for people: a process that crashes loses those of its last seconds.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait DeliveryCounts: Send + Sync {
    /// Adds these numbers to those that are kept of the same times, all of them or none. No time is among them twice. Those of
    /// workspaces and endpoints that do not exist are left out.
    async fn add_counts(&self, roll_ups: &[RollUp]) -> Result<(), StoreError>;

    /// The roll-ups, the oldest first. There is none for a time in which nothing happened, and nothing of another workspace.
    async fn counts(&self, query: &CountsQuery) -> Result<Vec<RollUp>, StoreError>;
}
