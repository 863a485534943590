//! The looks of a process for records: at all of them, or at the latest alone.
//!
//! A look at all costs a step for each audience, and what was taken before lies in its way until it is vacuumed. A look at the latest
//! goes over what came since the last look, and a little before that.

use std::time::Duration;

use nahook_queue::Audience;
use tokio::time::Instant;

use crate::row::ORDINAL_BITS;

/// Interval of looks at all records …
const ALL: Duration = Duration::from_secs(1);

/// … and while looks find more than they take.
const ALL_BEHIND: Duration = Duration::from_millis(100);

/// Number of events that may be committed in another order than that of their numbers without waiting for such a look.
const OUT_OF_ORDER: i64 = 1_000;
const SLACK: i64 = OUT_OF_ORDER << ORDINAL_BITS;

/// State of the search for records that nobody has taken.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Instant at which all of them were looked at; none if they are to be looked at next.
    all_at: Option<Instant>,
    /// True if there was a look since that was not at all of them.
    is_partial: bool,
    /// True if the last look may have left some of those that it was for.
    is_behind: bool,
    /// The first key of those that were taken last.
    taken_first: i64,
    /// The last key that there was at the last look.
    seen_last: i64,
    /// Audiences that the last look has passed over, since they had enough in hand.
    passed: Vec<Audience>,
}

/// A look for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The first key that it is for; 0 for all.
    pub(crate) first_key: i64,
    /// True if it is to go by keys, and false if one audience after the other is to have its turn.
    pub(crate) is_latest: bool,
    /// True if it passes over audiences.
    has_full: bool,
}

/// Findings of a look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// True if it may have left some.
    pub(crate) is_cut: bool,
    /// The first key of the records that were taken.
    pub(crate) first: Option<i64>,
    /// The last key that there is.
    pub(crate) last: Option<i64>,
}

/// Result of a look for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// There may be more.
    More,
    /// There may be more than there is room for.
    Full,
    /// There are no more.
    None,
}

impl Search {
    /// Returns true if all records are to be looked at, and not all were at the last look.
    pub(crate) fn must_look_at_all(&self) -> bool {
        self.is_partial && self.is_time_for_all()
    }

    fn is_time_for_all(&self) -> bool {
        let interval = if self.is_behind { ALL_BEHIND } else { ALL };
        self.all_at.is_none_or(|at| at.elapsed() >= interval)
    }

    /// Lets the next look be one at all records.
    pub(crate) fn want_all(&mut self) {
        self.all_at = None;
        self.is_partial = true;
    }

    /// Notes that there is no room for more, so that nothing was looked for.
    pub(crate) fn note_no_room(&mut self) {
        self.is_behind = true;
    }

    /// Chooses the next look, which passes over the audiences that are full.
    pub(crate) fn begin(&mut self, full: &[Audience]) -> Look {
        if self.passed.iter().any(|audience| !full.contains(audience)) {
            self.want_all();
        }
        self.passed = full.to_vec();
        let (is_all, is_latest) = (self.is_time_for_all(), !self.is_behind);
        self.is_partial = true;
        let first_key = match (is_all, is_latest) {
            (true, _) => 0,
            (false, true) => self.seen_last - SLACK,
            (false, false) => self.taken_first - SLACK,
        };
        Look {
            first_key: first_key.max(0),
            is_latest: is_latest && !is_all,
            has_full: !full.is_empty(),
        }
    }

    /// Notes what a look has found.
    pub(crate) fn end(&mut self, look: Look, found: Found) -> Looked {
        self.is_behind = found.is_cut;
        self.taken_first = found.first.unwrap_or(self.taken_first);
        self.seen_last = found.last.unwrap_or(self.seen_last);
        let is_all = look.first_key == 0;
        if is_all {
            self.all_at = Some(Instant::now());
            self.is_partial = false;
        } else if !look.is_latest && !found.is_cut {
            // Older ones may have been left by those before it.
            self.want_all();
        }
        let is_taken_by_others = found.is_cut && found.first.is_none();
        if is_taken_by_others {
            self.want_all();
        }
        let is_over = if found.is_cut {
            is_all && is_taken_by_others
        } else {
            is_all || look.is_latest
        };
        if !is_over {
            return Looked::More;
        }
        if look.has_full || found.is_cut {
            Looked::Full
        } else {
            Looked::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN_FIRST: i64 = 5_000 << ORDINAL_BITS;
    const SEEN_LAST: i64 = 7_000 << ORDINAL_BITS;

    const FEW: Found = Found {
        is_cut: false,
        first: Some(TAKEN_FIRST),
        last: Some(SEEN_LAST),
    };
    const MANY: Found = Found {
        is_cut: true,
        ..FEW
    };
    const NONE: Found = Found {
        is_cut: false,
        first: None,
        last: None,
    };

    const AT_ALL: (i64, bool) = (0, false);
    const AT_LATEST: (i64, bool) = (6_000 << ORDINAL_BITS, true);
    const BY_AUDIENCE: (i64, bool) = (4_000 << ORDINAL_BITS, false);

    /// A look at these keys that finds that.
    fn look(search: &mut Search, full: &[Audience], expected: (i64, bool), found: Found) -> Looked {
        let look = search.begin(full);
        assert_eq!((look.first_key, look.is_latest), expected);
        search.end(look, found)
    }

    /// A search that has looked at all.
    fn search() -> Search {
        let mut search = Search::default();
        assert!(!search.must_look_at_all(), "there was no look before");
        assert_eq!(look(&mut search, &[], AT_ALL, FEW), Looked::None);
        search
    }

    #[test]
    fn looks_are_at_the_latest_and_now_and_then_at_all() {
        let mut search = search();
        assert_eq!(look(&mut search, &[], AT_LATEST, FEW), Looked::None);
        assert_eq!(look(&mut search, &[], AT_LATEST, NONE), Looked::None);
        search.all_at = Instant::now().checked_sub(ALL_BEHIND);
        assert!(!search.must_look_at_all(), "it is not behind");
        assert_eq!(look(&mut search, &[], AT_LATEST, NONE), Looked::None);
        search.all_at = Instant::now().checked_sub(ALL);
        assert!(search.must_look_at_all());
        assert_eq!(look(&mut search, &[], AT_ALL, NONE), Looked::None);
        search.all_at = Instant::now().checked_sub(ALL);
        assert!(!search.must_look_at_all(), "none was partial");
        assert_eq!(look(&mut search, &[], AT_ALL, NONE), Looked::None);
        assert_eq!(look(&mut search, &[], AT_LATEST, NONE), Looked::None);
    }

    #[test]
    fn look_that_leaves_some_goes_on_by_audience_until_one_at_all_leaves_none() {
        let mut search = search();
        assert_eq!(look(&mut search, &[], AT_LATEST, MANY), Looked::More);
        assert_eq!(look(&mut search, &[], BY_AUDIENCE, MANY), Looked::More);
        search.all_at = Instant::now().checked_sub(ALL_BEHIND);
        assert!(search.must_look_at_all());
        assert_eq!(look(&mut search, &[], AT_ALL, MANY), Looked::More);
        assert_eq!(look(&mut search, &[], BY_AUDIENCE, FEW), Looked::More);
        assert_eq!(look(&mut search, &[], AT_ALL, MANY), Looked::More);
        assert_eq!(look(&mut search, &[], BY_AUDIENCE, NONE), Looked::More);
        assert_eq!(look(&mut search, &[], AT_ALL, FEW), Looked::None);
        assert_eq!(look(&mut search, &[], AT_LATEST, FEW), Looked::None);
    }

    /// Those may not come to an end: nobody asks again and again.
    #[test]
    fn what_others_are_taking_is_looked_at_once_more_and_later() {
        let mut search = search();
        let others = Found {
            first: None,
            ..MANY
        };
        assert_eq!(look(&mut search, &[], AT_LATEST, others), Looked::More);
        assert_eq!(look(&mut search, &[], AT_ALL, others), Looked::Full);
        assert!(search.must_look_at_all());
        assert_eq!(look(&mut search, &[], AT_ALL, FEW), Looked::None);
    }

    #[test]
    fn look_that_did_not_end_is_made_again() {
        let mut search = search();
        search.all_at = None;
        search.begin(&[]);
        assert!(search.must_look_at_all());
        assert_eq!(look(&mut search, &[], AT_ALL, MANY), Looked::More);
        search.begin(&[]);
        assert_eq!(look(&mut search, &[], BY_AUDIENCE, MANY), Looked::More);
    }

    #[test]
    fn audience_that_was_passed_over_is_looked_at_once_it_has_room() {
        let mut search = search();
        assert_eq!(look(&mut search, &[7, 8], AT_LATEST, FEW), Looked::Full);
        assert_eq!(look(&mut search, &[8, 7, 9], AT_LATEST, FEW), Looked::Full);
        assert_eq!(look(&mut search, &[7, 9], AT_ALL, FEW), Looked::Full);
        assert_eq!(look(&mut search, &[7, 9], AT_LATEST, FEW), Looked::Full);
        assert_eq!(look(&mut search, &[], AT_ALL, FEW), Looked::None);
    }

    #[test]
    fn whoever_had_no_room_looks_by_audience() {
        let mut search = search();
        search.note_no_room();
        assert_eq!(look(&mut search, &[], BY_AUDIENCE, NONE), Looked::More);
        assert_eq!(look(&mut search, &[], AT_ALL, FEW), Looked::None);
        search.want_all();
        assert!(search.must_look_at_all());
    }
}
