//! What was just queued: known to the leasing thread without reading the file.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::events::Known;

/// How many deliveries of an endpoint are kept in mind; those behind them are read when their turn comes.
const ROWS_MAX: usize = 4_096;

/// How much payload is kept in mind.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an event counts for besides its payload.
const OVERHEAD: usize = 512;

/// Events that have not been leased by then wait for an endpoint that does not keep up: they make room for others.
const AGE_MAX: Duration = Duration::from_secs(10);

/// A delivery that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Due {
    pub(super) key: i64,
    pub(super) attempts: u32,
}

/// Deliveries of one endpoint that wait for nothing, the oldest first: all of them, or those before all others.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    rows: VecDeque<Due>,
    /// The file may have some that are not among `rows`.
    is_partial: bool,
    /// Raised by every change, so that who reads the file notices what happened meanwhile.
    changes: u64,
}

impl Fresh {
    /// Notes a delivery that was just queued, behind all others.
    pub(super) fn queued(&mut self, key: i64) {
        self.changes += 1;
        self.is_partial |= self.rows.len() >= ROWS_MAX;
        if !self.is_partial {
            self.rows.push_back(Due { key, attempts: 0 });
        }
    }

    /// Nothing is known for certain any more: something came back, or was changed by others.
    pub(super) fn doubt(&mut self) {
        self.changes += 1;
        self.is_partial = true;
        self.rows.clear();
    }

    /// The first ones, at most `max`, as far as is known.
    pub(super) fn first(&self, max: usize) -> Vec<Due> {
        self.rows.iter().take(max).copied().collect()
    }

    /// What to hand to [`read`](Self::read), if finding the first `max` takes a look into the file.
    pub(super) fn must_read(&self, max: usize) -> Option<Mark> {
        (self.is_partial && self.rows.len() < max).then_some(Mark(self.changes))
    }

    /// Whether there may be any.
    pub(super) fn may_have_any(&self) -> bool {
        self.is_partial || !self.rows.is_empty()
    }

    /// Takes what was read of the file since `mark`: the first ones that are free, and whether there are others.
    pub(super) fn read(&mut self, mark: Mark, rows: Vec<Due>, is_partial: bool) {
        self.rows = rows.into();
        self.is_partial = is_partial || mark.0 != self.changes;
    }

    /// The delivery is leased.
    pub(super) fn leased(&mut self, key: i64) {
        if self.rows.front().is_some_and(|first| first.key == key) {
            self.rows.pop_front();
        } else {
            self.rows.retain(|known| known.key != key);
        }
    }
}

/// The state of what was known when reading began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

/// Events of which deliveries were just queued.
#[derive(Debug, Default)]
pub(super) struct FreshEvents {
    events: HashMap<i64, Waiting>,
    /// In the order of queueing; some may be gone.
    order: VecDeque<i64>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    event: Arc<Known>,
    /// How many of its deliveries have yet to be leased.
    left: usize,
}

impl FreshEvents {
    /// Keeps the event until so many of its deliveries have been leased, if there is room.
    pub(super) fn queued(&mut self, seq: i64, deliveries: usize, event: impl FnOnce() -> Known) {
        if let Some(waiting) = self.events.get_mut(&seq) {
            waiting.left += deliveries;
            return;
        }
        let event = event();
        self.forget_old(&event);
        let len = len_of(&event);
        if self.bytes + len > BYTES_MAX {
            return;
        }
        self.bytes += len;
        self.order.push_back(seq);
        let waiting = Waiting {
            event: Arc::new(event),
            left: deliveries,
        };
        self.events.insert(seq, waiting);
    }

    /// The event, for one of its deliveries that is leased.
    pub(super) fn take(&mut self, seq: i64) -> Option<Arc<Known>> {
        let waiting = self.events.get_mut(&seq)?;
        waiting.left = waiting.left.saturating_sub(1);
        if waiting.left > 0 {
            return Some(Arc::clone(&waiting.event));
        }
        self.remove(seq)
    }

    fn forget_old(&mut self, newest: &Known) {
        while let Some(seq) = self.order.front() {
            match self.events.get(seq) {
                Some(Waiting { event, .. })
                    if newest.accepted_at.saturating_since(event.accepted_at) <= AGE_MAX =>
                {
                    return;
                }
                Some(_) => {
                    let seq = *seq;
                    self.remove(seq);
                }
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn remove(&mut self, seq: i64) -> Option<Arc<Known>> {
        let removed = self.events.remove(&seq)?;
        self.bytes -= len_of(&removed.event);
        Some(removed.event)
    }
}

fn len_of(event: &Known) -> usize {
    event.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nahook_core::{MessageId, Payload, Timestamp, WorkspaceId};

    use super::*;

    fn keys(fresh: &Fresh, max: usize) -> Vec<i64> {
        fresh.first(max).iter().map(|due| due.key).collect()
    }

    fn due(keys: std::ops::Range<i64>) -> Vec<Due> {
        keys.map(|key| Due { key, attempts: 0 }).collect()
    }

    #[test]
    fn what_is_queued_is_known_until_it_is_leased() {
        let mut fresh = Fresh::default();
        fresh.queued(1);
        fresh.queued(2);
        assert_eq!(keys(&fresh, 1), [1]);
        fresh.leased(1);
        assert_eq!(keys(&fresh, 9), [2]);
        assert!(fresh.must_read(9).is_none() && fresh.may_have_any());
        fresh.leased(2);
        assert!(!fresh.may_have_any());
    }

    #[test]
    fn what_overflows_is_read_from_the_file() {
        let mut fresh = Fresh::default();
        let max = i64::try_from(ROWS_MAX).unwrap();
        (0..max + 5).for_each(|key| fresh.queued(key));
        assert!(fresh.must_read(1).is_none());
        assert_eq!(keys(&fresh, 1), [0]);
        (0..max).for_each(|key| fresh.leased(key));
        // Behind what was left out nothing is noted: it would be delivered before it.
        fresh.queued(max + 5);
        assert!(fresh.first(1).is_empty());
        let mark = fresh.must_read(1).unwrap();
        fresh.read(mark, due(max..max + 6), false);
        assert_eq!(keys(&fresh, 9).len(), 6);
        fresh.queued(max + 6);
        assert_eq!(keys(&fresh, 9).len(), 7);
        assert!(fresh.must_read(9).is_none());
    }

    #[test]
    fn what_is_queued_while_the_file_is_read_is_not_lost() {
        let mut fresh = Fresh::default();
        fresh.doubt();
        let mark = fresh.must_read(1).unwrap();
        // Committed after the reader's snapshot.
        fresh.queued(2);
        fresh.read(mark, due(1..2), false);
        assert_eq!(keys(&fresh, 9), [1]);
        assert!(fresh.must_read(2).is_some());
    }

    fn known(at: u64, len: usize) -> Known {
        Known {
            message: MessageId::from_bits(7),
            workspace: WorkspaceId::new("ws").unwrap(),
            event_type: None,
            accepted_at: Timestamp::from_millis(at),
            payload: Payload::from_stored(Bytes::from(vec![b' '; len])),
        }
    }

    #[test]
    fn an_event_is_there_for_each_of_its_deliveries_once() {
        let mut events = FreshEvents::default();
        events.queued(1, 1, || known(0, 10));
        events.queued(1, 1, || panic!("known already"));
        assert!(events.take(1).is_some());
        assert!(events.take(1).is_some());
        assert!(events.take(1).is_none());
        assert_eq!(events.bytes, 0);
    }

    #[test]
    fn events_are_bounded_and_old_ones_make_room() {
        let mut events = FreshEvents::default();
        for seq in 0..3 {
            events.queued(seq, 1, || known(0, BYTES_MAX / 2 - OVERHEAD));
        }
        assert!(events.take(2).is_none());
        events.queued(3, 1, || known(10_001, 1));
        assert!(events.take(0).is_none() && events.take(3).is_some());
        assert_eq!((events.bytes, events.order.len()), (0, 1));
    }
}
