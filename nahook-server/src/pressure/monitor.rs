//! Decides by what was measured; knows no clock and no loop.

use std::time::Duration;

use nahook_delivery::LagReport;
use nahook_http::Shortage;
use tokio::time::Instant;

use crate::settings::PressureSettings;

/// Time for which the latest lag holds while no delivery tells of another.
const LAG_HELD_FOR: Duration = Duration::from_secs(10);

/// Bounds of the wait that a caller is told.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));
/// The wait while nobody knows how fast the backlog drains.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_mins(1);

/// Backlog below which memory counts for nothing: draining it would free none.
const BACKLOG_MIN: u64 = 1_000;

/// Share of a new rate in the average, for each look.
const WEIGHT: f64 = 0.1;

/// What was found since the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) at: Instant,
    pub(super) lag: LagReport,
    /// Deliveries that this process has queued since its start.
    pub(super) published: u64,
    /// Bytes of memory that it takes.
    pub(super) memory: Option<u64>,
}

/// What is to be done until the next look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Decision {
    /// True if deliveries get at least half of the machine.
    pub(super) share: bool,
    /// Reason for which new events are refused, and the time to wait.
    pub(super) refusal: Option<(Shortage, Duration)>,
}

#[derive(Debug)]
pub(super) struct Monitor {
    settings: PressureSettings,
    /// Lag of all deliveries, and of the workspace that waits least.
    mean: Duration,
    least: Duration,
    lag_at: Option<Instant>,
    looked_at: Option<Instant>,
    /// Deliveries that have ended since the start.
    ended: u64,
    /// Deliveries that end in a second.
    drained: f64,
    latest: Decision,
}

impl Monitor {
    pub(super) fn new(settings: PressureSettings) -> Self {
        Self {
            settings,
            mean: Duration::ZERO,
            least: Duration::ZERO,
            lag_at: None,
            looked_at: None,
            ended: 0,
            drained: 0.0,
            latest: Decision::default(),
        }
    }

    /// Lag of deliveries, as it was found last.
    pub(super) fn lag(&self) -> Duration {
        self.mean
    }

    pub(super) fn decide(&mut self, measured: Measured) -> Decision {
        self.note_lag(measured.at, measured.lag);
        self.note_rate(measured.at, measured.lag.ended);
        let backlog = measured.published.saturating_sub(self.ended);
        let was_refused_for = self.latest.refusal.map(|(shortage, _)| shortage);
        let share_at = self.settings.share_at;
        self.latest = Decision {
            share: is_above(self.mean, share_at, share_at / 2, self.latest.share),
            refusal: self
                .lacks(measured.memory, backlog, was_refused_for)
                .map(|(shortage, share)| (shortage, self.wait(backlog, share))),
        };
        self.latest
    }

    /// Returns what is short, and the share of the backlog that has to drain.
    fn lacks(
        &self,
        memory: Option<u64>,
        backlog: u64,
        before: Option<Shortage>,
    ) -> Option<(Shortage, f64)> {
        let refuse_at = self.settings.refuse_at;
        let again_at = refuse_at.mul_f64(0.9);
        let was_backlog = before == Some(Shortage::Backlog);
        if is_above(self.least, refuse_at, again_at, was_backlog) {
            let kept = again_at.as_secs_f64() / self.least.as_secs_f64();
            return Some((Shortage::Backlog, 1.0 - kept.min(1.0)));
        }
        let (memory, max) = (memory?, self.settings.memory_max?);
        let was_memory = before == Some(Shortage::Memory);
        let is_memory = backlog >= BACKLOG_MIN && is_above(memory, max, max - max / 10, was_memory);
        is_memory.then_some((Shortage::Memory, 0.1))
    }

    fn note_lag(&mut self, at: Instant, lag: LagReport) {
        if let (Some(mean), Some(least)) = (lag.mean, lag.least) {
            (self.mean, self.least, self.lag_at) = (mean, least, Some(at));
            return;
        }
        let is_old = |since: Instant| at.duration_since(since) >= LAG_HELD_FOR;
        if self.lag_at.is_none_or(is_old) {
            (self.mean, self.least) = (Duration::ZERO, Duration::ZERO);
        }
    }

    fn note_rate(&mut self, at: Instant, ended: u64) {
        self.ended += ended;
        let before = self.looked_at.replace(at);
        let seconds = before.map_or(0.0, |before| at.duration_since(before).as_secs_f64());
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let rate = ended as f64 / seconds;
            self.drained += WEIGHT * (rate - self.drained);
        }
    }

    /// Time that this share of the backlog takes to drain.
    fn wait(&self, backlog: u64, share: f64) -> Duration {
        if self.drained < 1.0 {
            return RETRY_AFTER_UNKNOWN;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let seconds = backlog as f64 * share / self.drained;
        let (least, most) = RETRY_AFTER;
        Duration::from_secs_f64(seconds.clamp(least.as_secs_f64(), most.as_secs_f64()))
    }
}

/// Returns true from `mark` on, until it falls below `end`.
fn is_above<T: Copy + PartialOrd>(value: T, mark: T, end: T, was_above: bool) -> bool {
    value >= if was_above { end } else { mark }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    struct Bench {
        monitor: Monitor,
        at: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let settings = PressureSettings {
                share_at: Duration::from_secs(1),
                refuse_at: Duration::from_secs(100),
                memory_max: Some(1_000),
            };
            Self {
                monitor: Monitor::new(settings),
                at: Instant::now(),
            }
        }

        fn look(&mut self, lag: Option<u64>, ended: u64, published: u64, memory: u64) -> Decision {
            let lag = lag.map(Duration::from_secs);
            self.look_at((lag, lag), ended, published, memory)
        }

        fn look_at(
            &mut self,
            (mean, least): (Option<Duration>, Option<Duration>),
            ended: u64,
            published: u64,
            memory: u64,
        ) -> Decision {
            self.at += LOOK;
            let mut lag = LagReport::default();
            (lag.mean, lag.least, lag.ended) = (mean, least, ended);
            self.monitor.decide(Measured {
                at: self.at,
                lag,
                published,
                memory: Some(memory),
            })
        }
    }

    #[test]
    fn deliveries_share_from_the_mark_until_half_of_it() {
        let mut bench = Bench::new();
        let millis = |millis| Some(Duration::from_millis(millis));
        for (lag, expected) in [(999, false), (1_000, true), (500, true), (499, false)] {
            let lag = millis(lag);
            assert_eq!(bench.look_at((lag, lag), 1, 1, 0).share, expected);
        }
    }

    #[test]
    fn new_events_are_refused_while_every_workspace_waits_too_long() {
        let mut bench = Bench::new();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let one_is_served = bench.look_at((seconds(500), seconds(1)), 100, 1_000, 0);
        assert_eq!(one_is_served.refusal, None);
        assert!(one_is_served.share);
        for (lag, expected) in [(99, false), (100, true), (90, true), (89, false)] {
            let decision = bench.look(Some(lag), 100, 1_000, 0);
            assert_eq!(decision.refusal.is_some(), expected, "{lag}");
        }
    }

    #[test]
    fn wait_is_what_the_backlog_takes_to_drain_within_bounds() {
        let mut bench = Bench::new();
        for _ in 0..200 {
            bench.look(Some(1), 250, 10_000_000, 0);
        }
        // 1,000 a second; a lag of 180 s is to become one of 90: half of it.
        let (shortage, wait) = bench.look(Some(180), 250, 150_000, 0).refusal.unwrap();
        assert_eq!(shortage, Shortage::Backlog);
        assert!((45..55).contains(&wait.as_secs()), "{wait:?}");
        let (_, longest) = bench.look(Some(180), 250, u64::MAX / 2, 0).refusal.unwrap();
        assert_eq!(longest, Duration::from_hours(1));
        let (_, shortest) = bench.look(Some(180), 250, 0, 0).refusal.unwrap();
        assert_eq!(shortest, Duration::from_secs(1));
        let unknown = Bench::new().look(Some(180), 0, 1_000, 0).refusal.unwrap();
        assert_eq!(unknown.1, Duration::from_mins(1));
    }

    #[test]
    fn memory_counts_while_a_backlog_is_there_to_drain() {
        let mut bench = Bench::new();
        for (published, memory, expected) in [
            (999, 5_000, false),
            (1_000, 999, false),
            (1_000, 1_000, true),
            (1_000, 900, true),
            (1_000, 899, false),
            (1_000, 1_000, true),
            (999, 1_000, false),
        ] {
            let refusal = bench.look(None, 0, published, memory).refusal;
            let expected = expected.then_some(Shortage::Memory);
            assert_eq!(refusal.map(|it| it.0), expected, "{published} {memory}");
        }
    }

    #[test]
    fn lag_is_forgotten_once_nothing_has_told_of_it_for_long() {
        let mut bench = Bench::new();
        assert!(bench.look(Some(200), 1, 10, 0).refusal.is_some());
        for _ in 0..39 {
            assert!(bench.look(None, 0, 10, 0).refusal.is_some());
        }
        assert_eq!(bench.look(None, 0, 10, 0), Decision::default());
    }
}
