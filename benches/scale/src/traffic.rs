//! What arrives, and how receivers take it.

use crate::random::{Curve, Random, Widths};
use crate::settings::{Receivers, World};
use crate::station::Time;

const SECOND: f64 = 1e9;

/// Events as they arrive: a Poisson process whose rate follows the day and its bursts.
#[derive(Debug)]
pub(crate) struct Arrivals {
    random: Random,
    widths: Widths,
    curve: Curve,
    /// Events a second at the day's mean, between bursts.
    calm: f64,
    factor: f64,
    means: [f64; 2],
    is_burst: bool,
    /// In seconds.
    now: f64,
    state_ends: f64,
}

impl Arrivals {
    pub(crate) fn new(world: &World, deliveries_per_day: f64, seed: u64) -> Self {
        let traffic = &world.traffic;
        let widths = Widths {
            exponent: traffic.width_exponent,
            max: traffic.width_max,
        };
        let mean = deliveries_per_day / 86_400.0 / widths.mean();
        let (calm, burst) = (traffic.calm_seconds, traffic.burst_seconds);
        let mut random = Random::new(seed);
        let state_ends = random.exponential(calm);
        Self {
            random,
            widths,
            curve: Curve::new(traffic.peak_over_mean),
            calm: mean * (calm + burst) / (calm + burst * traffic.burst_factor),
            factor: traffic.burst_factor,
            means: [calm, burst],
            is_burst: false,
            now: 0.0,
            state_ends,
        }
    }

    /// When the next event comes, and how many endpoints it has.
    pub(crate) fn next(&mut self) -> (Time, u32) {
        loop {
            let factor = if self.is_burst { self.factor } else { 1.0 };
            let rate = self.calm * factor * self.curve.at(self.now);
            let at = self.now + self.random.exponential(1.0 / rate);
            if at < self.state_ends {
                self.now = at;
                return ((at * SECOND) as Time, self.widths.draw(&mut self.random));
            }
            // A Poisson process has no memory: from here on it is drawn anew.
            self.now = self.state_ends;
            self.is_burst = !self.is_burst;
            let mean = self.means[usize::from(self.is_burst)];
            self.state_ends += self.random.exponential(mean);
        }
    }
}

/// What an endpoint is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint {
    Healthy,
    Slow,
    Refusing,
    Silent,
}

impl Endpoint {
    pub(crate) fn draw(receivers: &Receivers, random: &mut Random) -> Self {
        let drawn = random.unit();
        if drawn < receivers.dead {
            Self::dead(receivers, random)
        } else if drawn < receivers.dead + receivers.slow {
            Self::Slow
        } else {
            Self::Healthy
        }
    }

    pub(crate) fn dead(receivers: &Receivers, random: &mut Random) -> Self {
        if random.is(receivers.dead_silent) {
            Self::Silent
        } else {
            Self::Refusing
        }
    }

    /// Whether it shares the slow half of a worker: its attempts take longer than a second.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::Silent)
    }

    /// How long an attempt takes, and whether it succeeds.
    pub(crate) fn attempt(self, receivers: &Receivers, random: &mut Random) -> (Time, bool) {
        let median = match self {
            Self::Healthy | Self::Refusing => receivers.latency_ms,
            Self::Slow => receivers.slow_latency_ms,
            Self::Silent => return ((receivers.timeout_ms * 1e6) as Time, false),
        };
        let latency = random.log_normal(median, receivers.latency_spread);
        let succeeds = self != Self::Refusing
            && latency < receivers.timeout_ms
            && !random.is(receivers.failing);
        ((latency.min(receivers.timeout_ms) * 1e6) as Time, succeeds)
    }
}

/// How long after a failed attempt the next one is, in seconds, by how many there were: nahook-delivery's schedule.
pub(crate) fn retry_after(attempts: u8) -> Option<f64> {
    const PAUSES: [f64; 9] = [
        5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
    ];
    PAUSES.get(usize::from(attempts).checked_sub(1)?).copied()
}
