//! Deliveries of one endpoint that nobody has leased.

use std::collections::BTreeSet;

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, WorkspaceId};

/// Deliveries of one endpoint that nobody has leased, ordered by due time.
pub(super) struct Backlog {
    pub(super) workspace: WorkspaceId,
    fresh: BTreeSet<(Timestamp, DeliveryId)>,
    retries: BTreeSet<(Timestamp, DeliveryId)>,
    /// True if a retry is next. Fresh deliveries and retries take turns while both are due.
    retry_is_next: bool,
}

impl Backlog {
    pub(super) fn of(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            fresh: BTreeSet::new(),
            retries: BTreeSet::new(),
            retry_is_next: false,
        }
    }

    pub(super) fn insert(&mut self, due_at: Timestamp, id: DeliveryId, is_retry: bool) {
        self.set(is_retry).insert((due_at, id));
    }

    pub(super) fn remove(&mut self, due_at: Timestamp, id: DeliveryId, is_retry: bool) {
        self.set(is_retry).remove(&(due_at, id));
    }

    fn set(&mut self, is_retry: bool) -> &mut BTreeSet<(Timestamp, DeliveryId)> {
        if is_retry {
            &mut self.retries
        } else {
            &mut self.fresh
        }
    }

    /// Takes the next delivery that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<DeliveryId> {
        let is_due = |set: &BTreeSet<(Timestamp, DeliveryId)>| {
            set.first().is_some_and(|(due_at, _)| *due_at <= now)
        };
        let take_retry = match (is_due(&self.fresh), is_due(&self.retries)) {
            (false, false) => return None,
            (true, false) => false,
            (false, true) => true,
            (true, true) => self.retry_is_next,
        };
        self.retry_is_next = !take_retry;
        self.set(take_retry).pop_first().map(|(_, id)| id)
    }

    /// Up to `count` deliveries, those first that are to leave first: fresh ones, and then retries, the latest of each first.
    pub(super) fn last(&self, count: usize) -> Vec<DeliveryId> {
        let fresh = self.fresh.iter().rev();
        let all = fresh.chain(self.retries.iter().rev());
        all.take(count).map(|(_, id)| *id).collect()
    }

    /// Returns how many are due at `now`, and since when the first is.
    pub(super) fn due(&self, now: Timestamp) -> (u64, Option<Timestamp>) {
        let count = |set: &BTreeSet<(Timestamp, DeliveryId)>| {
            let due = set.iter().take_while(|(due_at, _)| *due_at <= now);
            due.count() as u64
        };
        let firsts = self.fresh.first().into_iter().chain(self.retries.first());
        let first = firsts.map(|(due_at, _)| *due_at).min();
        (
            count(&self.fresh) + count(&self.retries),
            first.filter(|due_at| *due_at <= now),
        )
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.retries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.retries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::MessageId;

    use super::*;

    #[test]
    fn latest_fresh_deliveries_leave_first_and_retries_last() {
        let id = |ordinal| DeliveryId::nth(MessageId::from_bits(7), ordinal);
        let mut backlog = Backlog::of(WorkspaceId::from_bits(1));
        for (ordinal, is_retry) in [(1, true), (2, true), (3, false), (4, false)] {
            let due_at = Timestamp::from_millis(u64::from(ordinal));
            backlog.insert(due_at, id(ordinal), is_retry);
        }
        assert_eq!(backlog.last(3), [id(4), id(3), id(2)]);
    }
}
