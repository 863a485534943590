//! The worker's numbers.

use std::time::Duration;

use nahook_queue::SlotSettings;

use super::schedule::RetrySchedule;

/// The worker's numbers. The defaults are the contract's (section 3) where it names one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerSettings {
    /// Slots: upper bound on the deliveries held at a time, each being attempted or settled, with a connection each. Default
    /// 768.
    ///
    /// A workspace holds at most 11/16 of the slots that others leave, its endpoints that lately took longer than
    /// `slow_after` three eighths, and those without a success a quarter.
    pub in_flight_max: usize,
    /// Upper bound for one endpoint that keeps up. Default 64; half of those of one that answers at once are
    /// being settled.
    pub per_endpoint_max: usize,
    /// Bound for an endpoint of which nothing is known. Default 4.
    pub per_endpoint_initial: usize,
    /// From when on an attempt, running or over, makes its endpoint a slow one. Default 1 s.
    pub slow_after: Duration,
    /// Duration of a lease; it is extended while its delivery is held. Default 60 s, at least 1 s.
    pub lease_duration: Duration,
    /// Schedule of retries.
    pub schedule: RetrySchedule,
    /// An endpoint that has only failed for so long is disabled. Default 5 days.
    pub disable_after: Duration,
    /// An attempt that the transport does not end by then is given up. Default 30 s: the transport's own time-out, 15 s,
    /// is meant to come first.
    pub attempt_timeout: Duration,
    /// A call of the queue or the directory that has not answered by then has failed. Default 10 s.
    pub bookkeeping_timeout: Duration,
    /// Time for attempts in flight to finish once the worker is told to stop. Default 20 s.
    pub stop_timeout: Duration,
    /// Time for settling after that. Default 5 s.
    pub stop_grace: Duration,
    /// The queue is asked at least so often, even if it announces nothing. Default 30 s.
    pub poll_interval: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            in_flight_max: 768,
            per_endpoint_max: 64,
            per_endpoint_initial: 4,
            slow_after: Duration::from_secs(1),
            lease_duration: Duration::from_mins(1),
            schedule: RetrySchedule::default(),
            disable_after: Duration::from_hours(5 * 24),
            attempt_timeout: Duration::from_secs(30),
            bookkeeping_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(20),
            stop_grace: Duration::from_secs(5),
            poll_interval: Duration::from_secs(30),
        }
    }
}

impl WorkerSettings {
    /// The same, with every number that would make the worker stand still or spin raised to the least that works.
    pub(super) fn checked(mut self) -> Self {
        self.in_flight_max = self.in_flight_max.max(1);
        self.per_endpoint_max = self.per_endpoint_max.clamp(1, self.in_flight_max);
        self.per_endpoint_initial = self.per_endpoint_initial.clamp(1, self.per_endpoint_max);
        self.lease_duration = self.lease_duration.max(Duration::from_secs(1));
        self.poll_interval = self.poll_interval.max(Duration::from_millis(100));
        self
    }

    /// Returns those by which slots are shared.
    pub(super) fn slots(&self) -> SlotSettings {
        SlotSettings {
            slots: self.in_flight_max,
            per_endpoint_max: self.per_endpoint_max,
            per_endpoint_initial: self.per_endpoint_initial,
            slow_after: self.slow_after,
        }
    }
}
