//! Where records are looked for: all of them, or the latest alone, which steps over less of what was taken before.

use std::time::Duration;

use tokio::time::Instant;

use crate::row::ORDINAL_BITS;

/// Largest number of records taken by one statement, and of their deliveries, about.
pub(super) const RECORDS_MAX: u16 = 1_024;
pub(super) const DELIVERIES_MAX: u16 = 4_096;

/// Interval at which all records are looked at, whatever their keys: where there are no more than the latest, and where there are.
const ALL: Duration = Duration::from_secs(1);
const ALL_BEHIND: Duration = Duration::from_millis(100);

/// Number of events that may be committed in another order than that of their numbers without waiting for such a look.
const OUT_OF_ORDER: i64 = 1_000;

/// The looks of a process for records.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Instant at which all of them were looked at.
    all_at: Option<Instant>,
    /// True if only the latest were looked at since.
    is_partial: bool,
    /// True if the last look has left some.
    is_behind: bool,
    /// The first key of the records that were taken last.
    taken_first: i64,
}

/// A look for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The key from which on; 0 for all.
    pub(super) first_key: i64,
    /// True if all that there are from there on are few, as far as is known.
    pub(super) is_latest: bool,
    /// True if there are audiences of which no more are wanted.
    has_full: bool,
}

/// Result of a look for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// There may be more.
    More,
    /// There may be more than there is room for.
    Full,
    /// There are no more.
    None,
}

impl Search {
    /// Returns true if only the latest records were looked at for a while.
    pub(super) fn must_look_at_all(&self) -> bool {
        let interval = if self.is_behind { ALL_BEHIND } else { ALL };
        self.is_partial && self.all_at.is_none_or(|at| at.elapsed() >= interval)
    }

    /// There is more than there is room for.
    pub(super) fn note_behind(&mut self) {
        self.is_behind = true;
    }

    /// The next look. No more are wanted of some audiences if there are full ones.
    pub(super) fn begin(&mut self, has_full: bool) -> Look {
        self.is_behind |= has_full;
        self.is_partial = true;
        let first_key = if self.must_look_at_all() {
            self.all_at = Some(Instant::now());
            self.is_partial = false;
            0
        } else {
            self.taken_first - (OUT_OF_ORDER << ORDINAL_BITS)
        };
        Look {
            first_key,
            is_latest: first_key > 0 && !self.is_behind,
            has_full,
        }
    }

    /// Notes the keys of records that were taken.
    pub(super) fn note_taken(&mut self, keys: impl Iterator<Item = i64>) {
        self.taken_first = keys.min().unwrap_or(self.taken_first);
    }

    /// Result of a look that has found so many records with so many deliveries.
    pub(super) fn end(&mut self, look: Look, records: usize, deliveries: usize) -> Looked {
        let is_at_most =
            records >= usize::from(RECORDS_MAX) || deliveries >= usize::from(DELIVERIES_MAX);
        self.is_behind = look.has_full || is_at_most;
        if look.is_latest && !is_at_most {
            return Looked::None;
        }
        if records == 0 && look.first_key > 0 {
            // There may be older ones.
            self.all_at = None;
        } else if records == 0 {
            return if look.has_full {
                Looked::Full
            } else {
                Looked::None
            };
        }
        Looked::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: i64 = 4_000 << ORDINAL_BITS;

    fn search() -> Search {
        let mut search = Search::default();
        let numbers = [7_000, 5_000, 6_000];
        search.note_taken(numbers.map(|number| number << ORDINAL_BITS).into_iter());
        search.note_taken([].into_iter());
        search
    }

    #[test]
    fn looks_begin_at_the_records_taken_last_and_now_and_then_at_all() {
        let mut search = search();
        let mut first_key = |age: Option<Duration>, is_behind| {
            if let Some(age) = age {
                search.all_at = Instant::now().checked_sub(age);
            }
            search.is_behind = is_behind;
            (search.must_look_at_all(), search.begin(false).first_key)
        };
        assert_eq!(first_key(None, false), (false, 0), "the first");
        assert_eq!(first_key(None, false), (false, LATEST));
        assert_eq!(first_key(Some(ALL_BEHIND), false), (false, LATEST));
        assert_eq!(first_key(Some(ALL_BEHIND), true), (true, 0));
        assert_eq!(first_key(Some(ALL), false), (false, 0), "none was partial");
        assert_eq!(first_key(None, false), (false, LATEST));
        assert_eq!(first_key(Some(ALL), false), (true, 0));
    }

    #[test]
    fn look_at_the_latest_that_finds_few_has_found_all() {
        let mut search = search();
        assert!(!search.begin(false).is_latest, "all are looked at first");
        for (records, deliveries, looked) in [
            (0, 0, Looked::None),
            (1, 1, Looked::None),
            (1_023, 4_095, Looked::None),
            (5, 4_096, Looked::More),
            (1_024, 1_024, Looked::More),
        ] {
            let look = search.begin(false);
            assert!(look.is_latest);
            assert_eq!(search.end(look, records, deliveries), looked, "{records}");
            search.is_behind = false;
        }
    }

    #[test]
    fn look_that_has_left_some_goes_on_until_one_at_all_finds_nothing() {
        let mut search = search();
        let all = search.begin(false);
        assert_eq!(search.end(all, 1_024, 1_024), Looked::More);
        let partial = search.begin(true);
        assert_eq!((partial.first_key, partial.is_latest), (LATEST, false));
        assert_eq!(search.end(partial, 1, 1), Looked::More);
        let partial = search.begin(true);
        assert_eq!(search.end(partial, 0, 0), Looked::More);
        let all = search.begin(false);
        assert_eq!(all.first_key, 0);
        assert_eq!(search.end(all, 1, 1), Looked::More);
        assert!(search.begin(false).is_latest);
        search.all_at = None;
        let all = search.begin(false);
        assert_eq!(search.end(all, 0, 0), Looked::None);
    }

    #[test]
    fn full_audiences_are_more_than_there_is_room_for() {
        let mut search = search();
        let all = search.begin(true);
        assert_eq!(search.end(all, 0, 0), Looked::Full);
        assert!(!search.begin(false).is_latest, "those may have room again");
        search.is_behind = false;
        search.note_behind();
        assert!(!search.begin(false).is_latest);
        assert!(!search.begin(true).is_latest);
    }
}
