//! Schedule of retries after a failed attempt (contract, section 3): backoff and its jitter.

use std::time::Duration;

/// The waits between the attempts of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetrySchedule {
    /// The wait after the first attempt, after the second, and so on; the attempt after the last one is the last.
    pub waits: Vec<Duration>,
    /// By how many percent, up or down, a wait is varied at random, so that what failed together does not return
    /// together. At most 100.
    pub jitter_percent: u32,
    /// The longest `Retry-After` that is honoured; a longer one counts as this.
    pub retry_after_max: Duration,
}

impl Default for RetrySchedule {
    /// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, ±10 %: ten attempts in a little over three days.
    fn default() -> Self {
        let hours = Duration::from_hours;
        Self {
            waits: vec![
                Duration::from_secs(5),
                Duration::from_mins(5),
                Duration::from_mins(30),
                hours(2),
                hours(5),
                hours(10),
                hours(14),
                hours(20),
                hours(24),
            ],
            jitter_percent: 10,
            retry_after_max: hours(24),
        }
    }
}

impl RetrySchedule {
    /// Returns the time to wait after the failure of attempt `number`, counted from 1; `None` if that was the last one.
    ///
    /// A receiver's `Retry-After` only ever lengthens a wait. It is the *least* time to stay away (RFC 9110, section
    /// 10.2.3), and a receiver that answers `503` with a minute each time would otherwise have used up its ten attempts
    /// after ten minutes, instead of three days.
    pub fn wait(
        &self,
        number: u32,
        retry_after: Option<Duration>,
        random: u128,
    ) -> Option<Duration> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let wait = self.jittered(*self.waits.get(index)?, random);
        let asked = retry_after.unwrap_or_default().min(self.retry_after_max);
        Some(wait.max(asked))
    }

    fn jittered(&self, wait: Duration, random: u128) -> Duration {
        const PARTS: u128 = 1 << 32;
        // From -1 to 1 in 2³² steps: the low bits, since all bits of an id source are equally random.
        #[expect(clippy::cast_precision_loss, reason = "both are below 2⁵³")]
        let deviation = ((random % PARTS) as f64 / PARTS as f64) * 2.0 - 1.0;
        let share = f64::from(self.jitter_percent.min(100)) / 100.0;
        wait.mul_f64(1.0 + deviation * share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn there_are_ten_attempts_and_the_waits_are_the_contracts() {
        let exact = RetrySchedule {
            jitter_percent: 0,
            ..RetrySchedule::default()
        };
        let waits = (1..=9).map(|number| exact.wait(number, None, 7).unwrap().as_secs());
        assert_eq!(
            waits.collect::<Vec<_>>(),
            [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
        );
        assert_eq!(exact.wait(10, None, 7), None);
        assert_eq!(exact.wait(10, Some(Duration::from_secs(1)), 7), None);
        assert_eq!(exact.wait(0, None, 7), None);
        assert_eq!(exact.wait(u32::MAX, None, 7), None);
    }

    #[test]
    fn the_jitter_reaches_both_ends() {
        let schedule = RetrySchedule::default();
        let wait = |random| schedule.wait(2, None, random).unwrap().as_secs_f64();
        assert!((wait(0) - 270.0).abs() < 0.001);
        assert!((wait(u128::MAX) - 330.0).abs() < 0.001);
        assert!((wait(1 << 31) - 300.0).abs() < 0.001);
    }

    #[test]
    fn a_receivers_wish_lengthens_a_wait_up_to_a_day_and_never_shortens_one() {
        let schedule = RetrySchedule::default();
        let wait = |number, secs| {
            schedule
                .wait(number, Some(Duration::from_secs(secs)), 1 << 31)
                .map(|wait| wait.as_secs())
        };
        assert_eq!(wait(1, 0), Some(5));
        assert_eq!(wait(1, 120), Some(120));
        assert_eq!(wait(2, 120), Some(300));
        assert_eq!(wait(1, 86_400), Some(86_400));
        assert_eq!(wait(1, 1_000_000), Some(86_400));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_a_tenth(number in 1_u32..=9, random in any::<u128>()) {
            let schedule = RetrySchedule::default();
            let wait = schedule.wait(number, None, random).unwrap().as_secs_f64();
            let middle = schedule.waits[number as usize - 1].as_secs_f64();
            prop_assert!((wait / middle - 1.0).abs() <= 0.100_001);
        }
    }
}
