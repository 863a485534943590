//! Instants and the clock that gives them: time is a component, never ambient.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant so many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// The instant so many nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Whole milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The instant `duration` later; the last representable one on overflow.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// Returns the time that has passed since `earlier`; zero if this is not later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The source of the time of day.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        T::now(self)
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the ambient clock"
    )]
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970: nothing here depends on more than its going forward.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::default().saturating_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_milliseconds_seconds_and_nanoseconds() {
        let at = Timestamp::from_millis(1_234_567);
        assert_eq!(at.as_nanos(), 1_234_567_000_000);
        assert_eq!((at.as_millis(), at.as_secs()), (1_234_567, 1_234));
        assert_eq!(
            Timestamp::from_nanos(1_234_567_999_999).as_millis(),
            1_234_567
        );
        assert_eq!(Timestamp::from_millis(u64::MAX).as_nanos(), u64::MAX);
    }

    #[test]
    fn sums_and_differences_stop_at_the_ends() {
        let at = Timestamp::from_nanos;
        assert_eq!(at(5).saturating_add(Duration::from_nanos(7)), at(12));
        assert_eq!(at(5).saturating_add(Duration::MAX), at(u64::MAX));
        assert_eq!(at(12).saturating_since(at(5)), Duration::from_nanos(7));
        assert_eq!(at(5).saturating_since(at(12)), Duration::ZERO);
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the ambient clock is what it is compared with"
    )]
    fn the_systems_clock_shows_the_time_of_day() {
        let nanos = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::try_from(since.as_nanos()).unwrap()
        };
        let (before, now, after) = (nanos(), SystemClock.now().as_nanos(), nanos());
        assert!((before..=after).contains(&now));
    }
}
