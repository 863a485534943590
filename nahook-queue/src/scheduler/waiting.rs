//! Deliveries of one endpoint that wait to be leased.

use std::collections::BTreeSet;

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, WorkspaceId};

/// Deliveries of one endpoint that nobody has leased, ordered by the time at which they are due.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) workspace: WorkspaceId,
    fresh: BTreeSet<(Timestamp, DeliveryId)>,
    retries: BTreeSet<(Timestamp, DeliveryId)>,
    /// True if a retry is next: a backlog of either kind leaves every second place to the other.
    retry_is_next: bool,
}

impl Waiting {
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

    /// Takes the next one that is due at `now`.
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

    /// Up to `count` of them, those first that can wait longest: fresh ones, and then retries, the latest of each first.
    pub(super) fn last(&self, count: usize) -> Vec<DeliveryId> {
        let fresh = self.fresh.iter().rev();
        let all = fresh.chain(self.retries.iter().rev());
        all.take(count).map(|(_, id)| *id).collect()
    }

    /// Returns how many are due at `now`, and since when the first is.
    pub(super) fn due(&self, now: Timestamp) -> (u64, Option<Timestamp>) {
        let sets = [&self.fresh, &self.retries];
        let due = sets.map(|set| set.iter().take_while(|(due_at, _)| *due_at <= now));
        let first = sets.into_iter().filter_map(BTreeSet::first);
        let first = first.map(|(due_at, _)| *due_at).min();
        (
            due.into_iter().flatten().count() as u64,
            first.filter(|due_at| *due_at <= now),
        )
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.retries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set(&mut self, is_retry: bool) -> &mut BTreeSet<(Timestamp, DeliveryId)> {
        if is_retry {
            &mut self.retries
        } else {
            &mut self.fresh
        }
    }
}
