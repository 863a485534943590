//! An endpoint's deliveries that wait for nothing, as far as the leasing thread knows them.

use std::collections::VecDeque;

/// Upper bound on an endpoint's deliveries kept in memory that are not fresh; those behind them are read when their
/// turn comes.
const READ_MAX: usize = 4_096;

/// A delivery that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Due {
    pub(super) key: i64,
    pub(super) attempts: u32,
    /// Nothing has become of it since it was queued.
    pub(super) is_fresh: bool,
}

/// An endpoint without a backlog keeps room for so many.
const EMPTY_CAPACITY_MAX: usize = 64;

/// Deliveries of one endpoint that are neither leased nor waiting for a retry.
#[derive(Debug, Default)]
pub(super) struct PendingDeliveries {
    /// The keys of those that are fresh, ascending. All of them: the file has no way to find one endpoint's.
    fresh: VecDeque<i64>,
    /// The first of the others, the oldest first.
    read: VecDeque<Due>,
    /// The file may have some behind those.
    is_partial: bool,
    /// Raised by every change of the others, so that who reads the file notices what happened meanwhile.
    changes: u64,
}

impl PendingDeliveries {
    /// Notes one that is fresh: it was just queued, or a lease of it has ended.
    pub(super) fn add_fresh(&mut self, key: i64) {
        if self.fresh.len() == self.fresh.capacity() {
            // By a quarter and not by doubling: a backlog has millions of these.
            self.fresh.reserve_exact((self.fresh.len() / 4).max(4));
        }
        if self.fresh.back().is_none_or(|last| *last < key) {
            self.fresh.push_back(key);
        } else if let Err(place) = self.fresh.binary_search(&key) {
            self.fresh.insert(place, key);
        }
    }

    /// Notes one that was just queued and is not fresh.
    pub(super) fn add_queued(&mut self, key: i64) {
        if self.read.back().is_some_and(|last| last.key >= key) {
            // Of an event that was queued in part before: its place is among those that are known.
            self.doubt();
            return;
        }
        self.changes += 1;
        self.is_partial |= self.read.len() >= READ_MAX;
        if !self.is_partial {
            self.read.push_back(Due {
                key,
                attempts: 0,
                is_fresh: false,
            });
        }
    }

    /// Nothing is known for certain any more of those that are not fresh: one came back, or was changed by others.
    pub(super) fn doubt(&mut self) {
        self.changes += 1;
        self.is_partial = true;
        self.read.clear();
    }

    /// The oldest ones, at most `max`, as far as is known.
    pub(super) fn first(&self, max: usize) -> Vec<Due> {
        let mut read = self.read.iter().peekable();
        let mut fresh = self.fresh.iter().peekable();
        let mut first = Vec::with_capacity(max.min(self.read.len() + self.fresh.len()));
        while first.len() < max {
            let next = match (read.peek(), fresh.peek()) {
                (Some(read), Some(fresh)) if read.key > **fresh => None,
                (Some(_), _) => read.next().copied(),
                (None, _) => None,
            };
            let of_key = |key: &i64| Due {
                key: *key,
                attempts: 0,
                is_fresh: true,
            };
            let Some(due) = next.or_else(|| fresh.next().map(of_key)) else {
                break;
            };
            first.push(due);
        }
        first
    }

    /// Returns the mark to hand to [`read`](Self::read), if finding the first `max` takes a look into the file.
    pub(super) fn must_read(&self, max: usize) -> Option<Mark> {
        (self.is_partial && self.read.len() < max).then_some(Mark(self.changes))
    }

    /// The keys of those that are fresh, ascending.
    pub(super) fn fresh_keys(&self) -> &VecDeque<i64> {
        &self.fresh
    }

    /// Returns true if there may be any.
    pub(super) fn may_have_any(&self) -> bool {
        self.may_have_others() || !self.fresh.is_empty()
    }

    /// Returns true if there may be any that are not fresh.
    pub(super) fn may_have_others(&self) -> bool {
        self.is_partial || !self.read.is_empty()
    }

    /// Takes what was read of the file since `mark`: the first ones that are free and not fresh, and whether there are others.
    pub(super) fn read(&mut self, mark: Mark, rows: Vec<Due>, is_partial: bool) {
        self.read = rows.into();
        self.is_partial = is_partial || mark.0 != self.changes;
    }

    /// The delivery is leased.
    pub(super) fn leased(&mut self, due: Due) {
        if due.is_fresh {
            if self.fresh.front() == Some(&due.key) {
                self.fresh.pop_front();
            } else if let Ok(place) = self.fresh.binary_search(&due.key) {
                self.fresh.remove(place);
            }
            // What a backlog has grown is given back.
            if self.fresh.is_empty() && self.fresh.capacity() > EMPTY_CAPACITY_MAX {
                self.fresh = VecDeque::new();
            }
        } else if self.read.front().is_some_and(|first| first.key == due.key) {
            self.read.pop_front();
        } else {
            self.read.retain(|known| known.key != due.key);
        }
    }
}

/// The state of what was known when reading began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pending: &PendingDeliveries, max: usize) -> Vec<i64> {
        pending.first(max).iter().map(|due| due.key).collect()
    }

    fn due(keys: impl IntoIterator<Item = i64>) -> Vec<Due> {
        let due = |key| Due {
            key,
            attempts: 0,
            is_fresh: false,
        };
        keys.into_iter().map(due).collect()
    }

    #[test]
    fn what_is_fresh_is_known_until_it_is_leased_and_comes_back_to_its_place() {
        let mut pending = PendingDeliveries::default();
        (1..=4).for_each(|key| pending.add_fresh(key));
        let first = pending.first(2);
        assert_eq!(keys(&pending, 2), [1, 2]);
        for due in first {
            pending.leased(due);
        }
        assert_eq!(keys(&pending, 9), [3, 4]);
        pending.add_fresh(2);
        pending.add_fresh(2);
        assert_eq!(keys(&pending, 9), [2, 3, 4]);
        pending.leased(pending.first(3)[1]);
        assert_eq!(keys(&pending, 9), [2, 4]);
        assert!(pending.must_read(9).is_none());
        pending
            .first(9)
            .into_iter()
            .for_each(|due| pending.leased(due));
        assert!(!pending.may_have_any());
    }

    #[test]
    fn what_is_read_and_what_is_fresh_take_turns_by_age() {
        let mut pending = PendingDeliveries::default();
        pending.add_fresh(2);
        pending.add_fresh(5);
        pending.doubt();
        let mark = pending.must_read(1).unwrap();
        pending.read(mark, due([1, 3, 9]), false);
        assert_eq!(keys(&pending, 9), [1, 2, 3, 5, 9]);
        assert_eq!(keys(&pending, 2), [1, 2]);
        pending.leased(pending.first(1)[0]);
        pending.leased(pending.first(9)[3]);
        assert_eq!(keys(&pending, 9), [2, 3, 5]);
    }

    #[test]
    fn what_is_queued_while_the_file_is_read_is_not_lost() {
        let mut pending = PendingDeliveries::default();
        pending.doubt();
        let mark = pending.must_read(1).unwrap();
        // Committed after the reader's snapshot.
        pending.add_queued(2);
        pending.read(mark, due([1]), false);
        assert_eq!(keys(&pending, 9), [1]);
        assert!(pending.must_read(1).is_none(), "one is enough");
        let mark = pending.must_read(2).unwrap();
        pending.read(mark, due([1, 2]), false);
        assert!(pending.must_read(9).is_none());
        // From here on nothing is read: what is queued is known, until it is too much or has its place among the others.
        pending.add_queued(4);
        assert_eq!(keys(&pending, 9), [1, 2, 4]);
        assert!(pending.must_read(9).is_none());
        pending.add_queued(3);
        assert!(pending.must_read(1).is_some());
    }

    #[test]
    fn what_is_too_much_to_be_kept_in_mind_is_read_in_its_turn() {
        let mut pending = PendingDeliveries::default();
        let max = i64::try_from(READ_MAX).unwrap();
        (0..max + 5).for_each(|key| pending.add_queued(key));
        assert_eq!(keys(&pending, 1), [0]);
        assert!(pending.must_read(1).is_none());
        for due in pending.first(READ_MAX) {
            pending.leased(due);
        }
        // Behind what was left out nothing is noted: it would be delivered before it.
        pending.add_queued(max + 5);
        assert!(pending.first(1).is_empty());
        let mark = pending.must_read(1).unwrap();
        pending.read(mark, due(max..max + 6), false);
        assert_eq!(keys(&pending, 9).len(), 6);
        pending.add_queued(max + 6);
        assert_eq!(keys(&pending, 9).len(), 7);
        assert!(pending.must_read(9).is_none());
    }

    #[test]
    fn a_fresh_delivery_is_noted_once() {
        let mut pending = PendingDeliveries::default();
        for key in [5, 5, 3, 3, 9, 5] {
            pending.add_fresh(key);
        }
        assert_eq!(keys(&pending, 9), [3, 5, 9]);
    }

    #[test]
    fn a_backlog_has_room_for_a_quarter_more_and_gives_it_back() {
        let mut pending = PendingDeliveries::default();
        let mut rooms = Vec::new();
        for key in 0..10_000 {
            pending.add_fresh(key);
            let room = pending.fresh.capacity();
            let len = pending.fresh.len();
            assert!(room <= len + len / 4 + 4, "room for {room} of {len}");
            rooms.push(room);
        }
        rooms.dedup();
        assert!(rooms.len() < 50, "grown {} times", rooms.len());
        for due in pending.first(10_000) {
            pending.leased(due);
        }
        assert_eq!(pending.fresh.capacity(), 0);
        // Where there is no backlog the next delivery finds room.
        pending.add_fresh(1);
        pending.leased(pending.first(1)[0]);
        assert!(pending.fresh.is_empty() && pending.fresh.capacity() > 0);
    }

    #[test]
    fn a_change_during_the_first_reading_is_noticed() {
        let mut pending = PendingDeliveries {
            is_partial: true,
            ..PendingDeliveries::default()
        };
        let mark = pending.must_read(1).unwrap();
        pending.doubt();
        pending.read(mark, due([1]), false);
        assert!(pending.must_read(2).is_some());
    }

    #[test]
    fn any_kind_of_delivery_is_one_that_may_be_there() {
        let none = PendingDeliveries::default();
        assert!(!none.may_have_any());
        let (mut unknown, mut fresh, mut queued) = Default::default();
        PendingDeliveries::doubt(&mut unknown);
        PendingDeliveries::add_fresh(&mut fresh, 1);
        PendingDeliveries::add_queued(&mut queued, 1);
        for pending in [unknown, fresh, queued] {
            assert!(pending.may_have_any(), "{pending:?}");
        }
    }
}
