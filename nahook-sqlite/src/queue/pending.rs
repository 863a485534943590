//! An endpoint's deliveries that wait for nothing, as far as the leasing thread knows them.

use std::collections::VecDeque;

/// A delivery that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Due {
    pub(super) key: i64,
    pub(super) attempts: u32,
    /// Nothing has become of it since it was queued.
    pub(super) is_fresh: bool,
}

/// The first fresh delivery that nobody has leased.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum FirstFresh {
    #[default]
    None,
    /// It has this key.
    At(i64),
    /// It is in the file, behind this key, or there is none.
    Behind(i64),
}

/// An endpoint without a backlog keeps room for so many.
const EMPTY_CAPACITY_MAX: usize = 64;

/// Everything is known.
const NO_END: i64 = i64::MAX;

/// Deliveries of one endpoint that are neither leased nor waiting for a retry. The first are known; those behind them are read from
/// the file when their turn comes.
#[derive(Debug)]
pub(super) struct PendingDeliveries {
    /// All whose keys are at most `until`, ascending.
    known: VecDeque<Due>,
    until: i64,
    /// The lowest key beyond `until` of those that came since the file was last asked: what is read may be older.
    missed: i64,
    /// Number of times that everything was forgotten.
    doubts: u64,
}

impl Default for PendingDeliveries {
    fn default() -> Self {
        Self {
            known: VecDeque::new(),
            until: NO_END,
            missed: NO_END,
            doubts: 0,
        }
    }
}

/// State of the knowledge when the file was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) until: i64,
    doubts: u64,
}

impl PendingDeliveries {
    /// Returns true if one with this key is to be [added](Self::add); otherwise it is read in its turn.
    pub(super) fn must_know(&mut self, key: i64) -> bool {
        let is_behind = key > self.until;
        if is_behind {
            self.missed = self.missed.min(key);
        }
        !is_behind
    }

    /// Notes one that waits. Of more than `max` the last is left to the file.
    pub(super) fn add(&mut self, due: Due, max: usize) {
        let place = match self.known.back() {
            Some(last) if last.key >= due.key => match self.place_of(due.key) {
                Ok(_) => return,
                Err(place) => place,
            },
            _ => self.known.len(),
        };
        if self.known.len() < max {
            self.known.insert(place, due);
            return;
        }
        // Not more room than for `max`, and not for a moment. There may be more, from when there were fewer endpoints.
        if place < max {
            self.known.truncate(max - 1);
            self.known.insert(place, due);
        } else {
            self.known.truncate(max);
        }
        self.until = self.known.back().map_or(i64::MIN, |last| last.key);
    }

    /// Nothing is known for certain any more: one came back, or was changed by others.
    pub(super) fn doubt(&mut self) {
        self.known.clear();
        self.until = i64::MIN;
        self.doubts += 1;
    }

    /// The oldest ones, at most `max`, as far as they are known.
    pub(super) fn first(&self, max: usize) -> Vec<Due> {
        self.known.iter().take(max).copied().collect()
    }

    /// Returns the mark to hand to [`read`](Self::read), if finding the first `max` takes a look into the file.
    pub(super) fn must_read(&mut self, max: usize) -> Option<Mark> {
        if self.until == NO_END || self.known.len() >= max {
            return None;
        }
        self.missed = NO_END;
        Some(self.mark())
    }

    fn mark(&self) -> Mark {
        Mark {
            until: self.until,
            doubts: self.doubts,
        }
    }

    /// Takes what was read of the file behind the mark: those that are free, and up to which key all were looked at; `None` if there
    /// was no more.
    pub(super) fn read(&mut self, mark: Mark, rows: Vec<Due>, until: Option<i64>) {
        if mark != self.mark() {
            return;
        }
        let missed = self.missed;
        let before = rows.into_iter().filter(|due| due.key < missed);
        self.known.extend(before);
        self.until = match (until, missed) {
            (None, NO_END) => NO_END,
            (until, missed) => until.unwrap_or(NO_END).min(missed - 1),
        };
    }

    /// Returns true if there may be any.
    pub(super) fn may_have_any(&self) -> bool {
        self.until != NO_END || !self.known.is_empty()
    }

    /// Place of the first that is fresh.
    pub(super) fn first_fresh(&self) -> FirstFresh {
        match self.known.iter().find(|due| due.is_fresh) {
            Some(first) => FirstFresh::At(first.key),
            None if self.until == NO_END => FirstFresh::None,
            None => FirstFresh::Behind(self.until),
        }
    }

    /// The delivery is leased.
    pub(super) fn leased(&mut self, key: i64) {
        if self.known.front().is_some_and(|first| first.key == key) {
            self.known.pop_front();
        } else if let Ok(place) = self.place_of(key) {
            self.known.remove(place);
        }
        // What a backlog has grown is given back.
        if self.known.is_empty() && self.known.capacity() > EMPTY_CAPACITY_MAX {
            self.known = VecDeque::new();
        }
    }

    /// The delivery has become a row, and waits as before.
    pub(super) fn became_row(&mut self, key: i64) {
        if let Ok(place) = self.place_of(key) {
            self.known[place].is_fresh = false;
        }
    }

    fn place_of(&self, key: i64) -> Result<usize, usize> {
        self.known.binary_search_by_key(&key, |due| due.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4;

    fn due(key: i64) -> Due {
        Due {
            key,
            attempts: 0,
            is_fresh: true,
        }
    }

    /// Does with one that waits as the queue does.
    fn add(pending: &mut PendingDeliveries, keys: impl IntoIterator<Item = i64>) {
        for key in keys {
            if pending.must_know(key) {
                pending.add(due(key), MAX);
            }
        }
    }

    fn keys(pending: &PendingDeliveries) -> Vec<i64> {
        pending.first(99).iter().map(|due| due.key).collect()
    }

    fn take(pending: &mut PendingDeliveries, max: usize) -> Vec<i64> {
        let first = pending.first(max);
        for due in &first {
            pending.leased(due.key);
        }
        first.iter().map(|due| due.key).collect()
    }

    /// A reading of the file that has found these, and has looked at all up to that key.
    fn read(
        pending: &mut PendingDeliveries,
        found: impl IntoIterator<Item = i64>,
        until: Option<i64>,
    ) {
        let mark = pending.must_read(99).unwrap();
        pending.read(mark, found.into_iter().map(due).collect(), until);
    }

    #[test]
    fn what_waits_is_known_in_order_until_it_is_leased_and_comes_back_to_its_place() {
        let mut pending = PendingDeliveries::default();
        add(&mut pending, [1, 3, 2, 4, 2]);
        assert_eq!(keys(&pending), [1, 2, 3, 4]);
        assert_eq!(take(&mut pending, 2), [1, 2]);
        add(&mut pending, [2]);
        assert_eq!(keys(&pending), [2, 3, 4]);
        pending.leased(3);
        assert_eq!(keys(&pending), [2, 4]);
        assert_eq!(pending.must_read(9), None, "all is known");
        take(&mut pending, 9);
        assert!(!pending.may_have_any());
    }

    #[test]
    fn what_is_too_much_to_be_known_is_read_in_its_turn() {
        let mut pending = PendingDeliveries::default();
        add(&mut pending, 1..=9);
        assert_eq!(take(&mut pending, 9), [1, 2, 3, 4]);
        // Behind what was left out nothing is noted: it would be delivered before it.
        add(&mut pending, [10]);
        assert!(keys(&pending).is_empty() && pending.may_have_any());
        read(&mut pending, 5..=10, None);
        assert_eq!(keys(&pending).len(), 6);
        assert_eq!(pending.must_read(99), None);
        // Among those that are known there is always a place; the last is left to the file for it.
        take(&mut pending, 3);
        add(&mut pending, [2, 1, 11]);
        assert_eq!(keys(&pending), [1, 2, 8, 9]);
        assert!(pending.must_read(4).is_none() && pending.must_read(5).is_some());
    }

    #[test]
    fn bound_that_has_sunk_counts_from_the_next_delivery_on() {
        for (key, known) in [(9, [0, 2, 4, 6]), (1, [0, 1, 2, 4])] {
            let mut pending = PendingDeliveries::default();
            for known in [0, 2, 4, 6, 8] {
                pending.add(due(known), 8);
            }
            pending.add(due(key), MAX);
            assert_eq!(keys(&pending), known);
            assert_eq!(pending.must_read(9).map(|mark| mark.until), Some(known[3]));
        }
    }

    #[test]
    fn what_is_queued_while_the_file_is_read_is_not_lost() {
        for (queued, known, is_complete) in [
            (None, &[5, 6, 7][..], true),
            // Committed after the reader's snapshot, before or behind what that had.
            (Some(8), &[5, 6, 7], false),
            (Some(6), &[5], false),
            (Some(5), &[], false),
        ] {
            let mut pending = PendingDeliveries::default();
            pending.doubt();
            let mark = pending.must_read(1).unwrap();
            add(&mut pending, queued);
            pending.read(mark, [5, 6, 7].map(due).into(), None);
            assert_eq!(keys(&pending), known, "{queued:?}");
            assert_eq!(pending.must_read(99).is_none(), is_complete, "{queued:?}");
            if !is_complete {
                let rest = (5..9).filter(|key| !known.contains(key));
                read(&mut pending, rest, None);
                assert_eq!(keys(&pending), [5, 6, 7, 8]);
            }
        }
    }

    #[test]
    fn what_was_read_of_a_piece_of_the_file_is_followed_by_the_next() {
        let mut pending = PendingDeliveries::default();
        pending.doubt();
        // 3 was leased, and comes back behind what is known or among it.
        read(&mut pending, [1, 2], Some(3));
        assert_eq!(pending.must_read(9).map(|mark| mark.until), Some(3));
        add(&mut pending, [3]);
        assert_eq!(keys(&pending), [1, 2, 3]);
        read(&mut pending, [4], None);
        assert_eq!(keys(&pending), [1, 2, 3, 4]);
    }

    #[test]
    fn what_was_read_before_a_doubt_does_not_count() {
        let mut pending = PendingDeliveries::default();
        pending.doubt();
        let mark = pending.must_read(1).unwrap();
        pending.doubt();
        pending.read(mark, vec![due(1)], None);
        assert!(keys(&pending).is_empty() && pending.must_read(1).is_some());
        // One that made room for another left a gap before what is read.
        read(&mut pending, 2..=5, Some(5));
        let mark = pending.must_read(9).unwrap();
        add(&mut pending, [1]);
        pending.read(mark, vec![due(6)], None);
        assert_eq!(keys(&pending), [1, 2, 3, 4]);
        read(&mut pending, [5, 6], None);
        assert_eq!(keys(&pending), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn first_fresh_one_is_known_or_may_be_in_the_file() {
        let mut pending = PendingDeliveries::default();
        assert_eq!(pending.first_fresh(), FirstFresh::None);
        add(&mut pending, [1, 2]);
        assert_eq!(pending.first_fresh(), FirstFresh::At(1));
        pending.became_row(1);
        assert_eq!(pending.first_fresh(), FirstFresh::At(2));
        pending.became_row(2);
        pending.became_row(9);
        assert_eq!(pending.first_fresh(), FirstFresh::None);
        add(&mut pending, 3..=9);
        pending.became_row(3);
        pending.became_row(4);
        assert_eq!(pending.first_fresh(), FirstFresh::Behind(4));
    }

    #[test]
    fn what_a_backlog_has_grown_is_given_back() {
        let mut pending = PendingDeliveries::default();
        for key in 0..200 {
            pending.add(due(key), 1_000);
        }
        assert!(pending.known.capacity() < 400);
        take(&mut pending, 1_000);
        assert_eq!(pending.known.capacity(), 0);
        // Where there is no backlog the next delivery finds room.
        add(&mut pending, [1]);
        take(&mut pending, 1);
        assert!(pending.known.is_empty() && pending.known.capacity() > 0);
    }
}
