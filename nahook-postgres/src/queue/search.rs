//! Where records are looked for: all of them, or the latest alone, which steps over less of what was taken before.

use std::time::Duration;

use nahook_queue::Audience;
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
    /// The first key of the records that were taken last of one audience after the other.
    taken_first: i64,
    /// The last key that a look has come to.
    seen_last: i64,
    /// Audiences that the last look has passed over, since they had enough in hand.
    passed: Vec<Audience>,
}

/// A look for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The key from which on; 0 for all.
    pub(super) first_key: i64,
    /// True if all those that are wanted from there on are few, as far as is known.
    pub(super) is_latest: bool,
    /// True if there are audiences of which no more are wanted.
    has_full: bool,
}

/// Records that a look has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) records: usize,
    pub(super) deliveries: usize,
    /// The first key of those that were taken, and the last of all that there were.
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
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

    /// The next look, at records of other audiences than those full ones.
    pub(super) fn begin(&mut self, full: &[Audience]) -> Look {
        self.is_behind |= self.passed.iter().any(|audience| !full.contains(audience));
        self.passed = full.to_vec();
        self.is_partial = true;
        let is_all = self.must_look_at_all();
        let is_latest = !is_all && !self.is_behind && self.seen_last > 0;
        let slack = OUT_OF_ORDER << ORDINAL_BITS;
        let first_key = if is_all {
            self.all_at = Some(Instant::now());
            self.is_partial = false;
            0
        } else if is_latest {
            self.seen_last - slack
        } else {
            self.taken_first - slack
        };
        Look {
            first_key: first_key.max(0),
            is_latest,
            has_full: !full.is_empty(),
        }
    }

    /// Result of a look that has found these.
    pub(super) fn end(&mut self, look: Look, found: Found) -> Looked {
        let is_at_most = found.records >= usize::from(RECORDS_MAX)
            || found.deliveries >= usize::from(DELIVERIES_MAX);
        self.is_behind = is_at_most;
        self.seen_last = found.last.unwrap_or(self.seen_last);
        let is_over = if look.is_latest {
            !is_at_most
        } else {
            self.taken_first = found.first.unwrap_or(self.taken_first);
            if found.records == 0 && look.first_key > 0 {
                // There may be older ones.
                self.all_at = None;
            }
            found.records == 0 && look.first_key == 0
        };
        match (is_over, look.has_full) {
            (false, _) => Looked::More,
            (true, true) => Looked::Full,
            (true, false) => Looked::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN_FIRST: i64 = 5_000 << ORDINAL_BITS;
    const SEEN_LAST: i64 = 7_000 << ORDINAL_BITS;
    const SLACK: i64 = OUT_OF_ORDER << ORDINAL_BITS;

    fn found(records: usize, deliveries: usize) -> Found {
        let is_any = records > 0;
        Found {
            records,
            deliveries,
            first: is_any.then_some(TAKEN_FIRST),
            last: is_any.then_some(SEEN_LAST),
        }
    }

    /// A search that has looked at all.
    fn search() -> Search {
        let mut search = Search::default();
        assert!(!search.must_look_at_all(), "there was no look before");
        let all = search.begin(&[]);
        assert_eq!((all.first_key, all.is_latest), (0, false));
        assert_eq!(search.end(all, found(3, 5)), Looked::More);
        search
    }

    fn begin(search: &mut Search, full: &[Audience]) -> (i64, bool) {
        let look = search.begin(full);
        (look.first_key, look.is_latest)
    }

    const ALL_OF_THEM: (i64, bool) = (0, false);
    const LATEST: (i64, bool) = (SEEN_LAST - SLACK, true);
    const BY_AUDIENCE: (i64, bool) = (TAKEN_FIRST - SLACK, false);

    #[test]
    fn looks_are_at_the_latest_and_now_and_then_at_all() {
        let mut search = search();
        search.all_at = Instant::now().checked_sub(ALL);
        assert!(!search.must_look_at_all(), "none was partial");
        search.all_at = Some(Instant::now());
        assert_eq!(begin(&mut search, &[]), LATEST);
        search.all_at = Instant::now().checked_sub(ALL_BEHIND);
        assert!(!search.must_look_at_all(), "it is not behind");
        assert_eq!(begin(&mut search, &[]), LATEST);
        search.all_at = Instant::now().checked_sub(ALL);
        assert!(search.must_look_at_all());
        assert_eq!(begin(&mut search, &[]), ALL_OF_THEM);
        assert_eq!(begin(&mut search, &[]), LATEST);
        search.note_behind();
        assert_eq!(begin(&mut search, &[]), BY_AUDIENCE);
        search.all_at = Instant::now().checked_sub(ALL_BEHIND);
        assert!(search.must_look_at_all());
    }

    #[test]
    fn look_at_the_latest_that_finds_few_has_found_all() {
        let mut search = search();
        for (records, deliveries, looked, next) in [
            (0, 0, Looked::None, LATEST),
            (1, 1, Looked::None, LATEST),
            (1_023, 4_095, Looked::None, LATEST),
            (5, 4_096, Looked::More, BY_AUDIENCE),
            (1_024, 1_024, Looked::More, BY_AUDIENCE),
        ] {
            search.is_behind = false;
            let look = search.begin(&[]);
            assert!(look.is_latest);
            assert_eq!(search.end(look, found(records, deliveries)), looked);
            assert_eq!(begin(&mut search, &[]), next, "{records}");
        }
    }

    #[test]
    fn looks_by_audience_go_on_until_one_at_all_has_found_nothing() {
        let mut search = search();
        search.note_behind();
        let some = search.begin(&[]);
        assert_eq!(search.end(some, found(1_024, 1_024)), Looked::More);
        let none = search.begin(&[]);
        assert_eq!(search.end(none, found(0, 0)), Looked::More);
        let all = search.begin(&[]);
        assert_eq!((all.first_key, all.is_latest), ALL_OF_THEM);
        assert_eq!(search.end(all, found(0, 0)), Looked::None);
        assert_eq!(begin(&mut search, &[]), LATEST);
    }

    #[test]
    fn audience_that_was_passed_over_is_looked_at_once_it_has_room() {
        let mut search = search();
        let latest = search.begin(&[7, 8]);
        assert!(latest.is_latest, "the others are looked at alone");
        assert_eq!(search.end(latest, found(1, 1)), Looked::Full);
        assert_eq!(begin(&mut search, &[8, 7, 9]), LATEST);
        assert_eq!(begin(&mut search, &[7, 9]), BY_AUDIENCE);
        assert_eq!(begin(&mut search, &[7, 9]), BY_AUDIENCE, "none was over");
        let look = search.begin(&[7, 9]);
        assert_eq!(search.end(look, found(1, 1)), Looked::More);
        assert_eq!(begin(&mut search, &[7, 9]), LATEST);
        search.all_at = None;
        let all = search.begin(&[7, 9]);
        assert_eq!(search.end(all, found(0, 0)), Looked::Full);
    }
}
