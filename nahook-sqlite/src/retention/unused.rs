//! Audiences that nothing refers to: most are only waiting for their next event.

use std::time::Duration;

use foldhash::HashSet;
use nahook_core::Timestamp;

/// Interval between looks.
const INTERVAL: Duration = Duration::from_hours(1);

/// The audiences that the latest look has found in nobody's use.
#[derive(Debug, Default)]
pub(super) struct UnusedAudiences {
    looked_at: Timestamp,
    rows: HashSet<i64>,
}

impl UnusedAudiences {
    /// Returns true if it is time for another look.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.saturating_since(self.looked_at) >= INTERVAL
    }

    /// Takes the result of a look. Returns those that the one before had found, too: they are to go.
    pub(super) fn take(&mut self, found: Vec<i64>, now: Timestamp) -> Vec<i64> {
        let both = found.iter().filter(|row| self.rows.contains(row));
        let both = both.copied().collect();
        self.rows = found.into_iter().collect();
        self.looked_at = now;
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audience_goes_that_two_looks_an_hour_apart_have_found() {
        let mut unused = UnusedAudiences::default();
        let hour = |number| Timestamp::default().saturating_add(INTERVAL * number);
        for (number, found, gone) in [
            (1, vec![1, 2], vec![]),
            (2, vec![2, 3], vec![2]),
            (3, vec![1, 3], vec![3]),
            (4, vec![1], vec![1]),
        ] {
            let just_before = Timestamp::from_nanos(hour(number).as_nanos() - 1);
            assert_eq!(
                [just_before, hour(number)].map(|now| unused.is_due(now)),
                [false, true]
            );
            assert_eq!(unused.take(found, hour(number)), gone);
        }
    }
}
