//! What is counted while a cell is simulated, and what it comes to.

use crate::station::{Busy, Time};

/// Counters of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    from: Time,
    until: Time,
    /// Milliseconds, of what arrived in the time that is measured.
    answers: Vec<f32>,
    first_attempts: Vec<f32>,
    /// Slots in use, all of them and those of slow endpoints, times time.
    pub(crate) slots: Busy,
    pub(crate) slow_slots: Busy,
    /// The CPU of the embedded store's one writing thread.
    pub(crate) writer: Busy,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) dead: u64,
    /// Deliveries that wait for a retry.
    pub(crate) scheduled: u64,
    pub(crate) attempts: u64,
    pub(crate) groups: u64,
    pub(crate) grouped: u64,
    pub(crate) claims: u64,
    pub(crate) empty_claims: u64,
}

impl Tally {
    pub(crate) fn new(from: Time, until: Time) -> Self {
        let busy = || Busy::within(from, until);
        Self {
            from,
            until,
            answers: Vec::new(),
            first_attempts: Vec::new(),
            slots: busy(),
            slow_slots: busy(),
            writer: busy(),
            accepted: 0,
            delivered: 0,
            dead: 0,
            scheduled: 0,
            attempts: 0,
            groups: 0,
            grouped: 0,
            claims: 0,
            empty_claims: 0,
        }
    }

    fn is_measured(&self, at: Time) -> bool {
        (self.from..self.until).contains(&at)
    }

    pub(crate) fn answered(&mut self, arrived: Time, now: Time) {
        if self.is_measured(arrived) {
            self.answers.push(millis(now - arrived));
        }
    }

    pub(crate) fn first_attempted(&mut self, accepted: Time, now: Time) {
        if self.is_measured(accepted) {
            self.first_attempts
                .push(millis(now.saturating_sub(accepted)));
        }
    }

    pub(crate) fn latencies(&mut self) -> Latencies {
        self.answers.sort_by(f32::total_cmp);
        self.first_attempts.sort_by(f32::total_cmp);
        Latencies {
            answer_p50: quantile(&self.answers, 0.5),
            answer_p99: quantile(&self.answers, 0.99),
            first_attempt_p99: quantile(&self.first_attempts, 0.99),
        }
    }
}

fn millis(nanos: Time) -> f32 {
    (nanos as f64 / 1e6) as f32
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latencies {
    pub(crate) answer_p50: f64,
    pub(crate) answer_p99: f64,
    pub(crate) first_attempt_p99: f64,
}

fn quantile(sorted: &[f32], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    let at = at.min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().map_or(0.0, f64::from)
}

/// What a run of a cell has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Busy shares at the peak, by part; what a composition has not is not there.
    pub(crate) parts: Vec<(Part, f64)>,
    pub(crate) latencies: Latencies,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) dead: u64,
    /// Waiting to be attempted, in flight, being settled, or for a retry.
    pub(crate) waiting: u64,
    /// Of these, ready and not taken when the run ended.
    pub(crate) backlog: u64,
    pub(crate) log_backlog: u64,
    /// Triggers (and batches of settlements, where one writer does both) that shared a group, on average.
    pub(crate) group: f64,
    /// A second.
    pub(crate) syncs: f64,
    pub(crate) attempts_per_second: f64,
    /// Of claims that found nothing, the share.
    pub(crate) empty_claims: f64,
}

impl Outcome {
    pub(crate) fn of(&self, part: Part) -> Option<f64> {
        self.parts
            .iter()
            .find(|(found, _)| *found == part)
            .map(|(_, busy)| *busy)
    }
}

/// What can be busy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// Of the one node that does everything.
    NodeCpu,
    WriterThread,
    IngestCpu,
    WorkerCpu,
    Slots,
    SlowSlots,
    StoreCpu,
    NatsCpu,
    StoreDisk,
    Network,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeCpu => "CPU of the node",
            Self::WriterThread => "writing thread",
            Self::IngestCpu => "CPU of ingest",
            Self::WorkerCpu => "CPU of workers",
            Self::Slots => "places in flight",
            Self::SlowSlots => "places for slow endpoints",
            Self::StoreCpu => "CPU of Postgres",
            Self::NatsCpu => "CPU of NATS",
            Self::StoreDisk => "disk of the store",
            Self::Network => "network of a node",
        }
    }
}
