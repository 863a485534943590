//! The contents of the store.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use nahook_control::{AuditEntry, KeyHash, PageSession, PortalSessionRecord, RowKind, Snapshot};
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{Event, EventTypeName, Scope, Subscribers, Timestamp};
use nahook_queue::{Attempt, DeliveryState, LeaseToken, Turns, WorkerId};

use super::idempotency::Keys;

/// Number of settled deliveries kept.
const SETTLED_MAX: usize = 100_000;

#[derive(Default)]
pub(super) struct State {
    pub(super) catalog: Snapshot,
    /// Answers to earlier look-ups; emptied by every change of the catalog.
    pub(super) look_ups: HashMap<(Scope, EventTypeName), Option<Subscribers>>,
    /// The endpoints of workspaces in which something was published; likewise.
    pub(super) members: HashMap<WorkspaceId, Arc<HashSet<EndpointId>>>,
    pub(super) failing_since: HashMap<EndpointId, Timestamp>,
    pub(super) deliveries: BTreeMap<DeliveryId, Row>,
    pub(super) keys: Keys,
    pub(super) waiting: BTreeMap<EndpointId, Waiting>,
    pub(super) leases: HashMap<DeliveryId, Held>,
    pub(super) expiries: BTreeSet<(Timestamp, DeliveryId)>,
    pub(super) turns: Turns,
    pub(super) tokens: u64,
    /// The oldest first.
    pub(super) audit: Vec<AuditEntry>,
    pub(super) sessions: HashMap<KeyHash, PageSession>,
    pub(super) portal_sessions: HashMap<KeyHash, PortalSessionRecord>,
    settled: VecDeque<DeliveryId>,
}

/// A delivery.
pub(super) struct Row {
    pub(super) event: Arc<Event>,
    pub(super) endpoint: EndpointId,
    pub(super) state: DeliveryState,
    /// By their number.
    pub(super) attempts: BTreeMap<u32, Attempt>,
    pub(super) due_at: Option<Timestamp>,
    pub(super) delivered_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    /// Number of attempts that were recorded, if a queue elsewhere carries it.
    pub(super) recorded: Option<u32>,
}

impl Row {
    /// A delivery that was just accepted.
    pub(super) fn fresh(event: Arc<Event>, endpoint: EndpointId) -> Self {
        Self {
            updated_at: event.accepted_at,
            event,
            endpoint,
            state: DeliveryState::Pending,
            attempts: BTreeMap::new(),
            due_at: None,
            delivered_at: None,
            recorded: None,
        }
    }

    /// Returns the number of attempts that were made.
    pub(super) fn attempts_made(&self) -> u32 {
        let last = self
            .attempts
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        last.max(self.recorded.unwrap_or(0))
    }
}

/// The deliveries of one endpoint that nobody has leased, by when they are due.
pub(super) struct Waiting {
    pub(super) workspace: WorkspaceId,
    fresh: BTreeSet<(Timestamp, DeliveryId)>,
    retries: BTreeSet<(Timestamp, DeliveryId)>,
    /// Whose turn it is: a backlog of either kind leaves every second place to the other.
    retry_is_next: bool,
}

/// A lease.
pub(super) struct Held {
    pub(super) token: LeaseToken,
    pub(super) worker: WorkerId,
    pub(super) expires_at: Timestamp,
}

impl Waiting {
    fn of(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            fresh: BTreeSet::new(),
            retries: BTreeSet::new(),
            retry_is_next: false,
        }
    }

    pub(super) fn insert(&mut self, due_at: Timestamp, id: DeliveryId, is_retry: bool) {
        let set = if is_retry {
            &mut self.retries
        } else {
            &mut self.fresh
        };
        set.insert((due_at, id));
    }

    /// Takes the one whose turn it is among those due at `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<DeliveryId> {
        let due = |set: &BTreeSet<(Timestamp, DeliveryId)>| {
            set.first().copied().filter(|(due_at, _)| *due_at <= now)
        };
        let take_retry = match (due(&self.fresh), due(&self.retries)) {
            (None, None) => return None,
            (fresh, None) => fresh.is_none(),
            (None, Some(_)) => true,
            (Some(_), Some(_)) => self.retry_is_next,
        };
        self.retry_is_next = !take_retry;
        let set = if take_retry {
            &mut self.retries
        } else {
            &mut self.fresh
        };
        set.pop_first().map(|(_, id)| id)
    }

    /// Returns the time at which the first delivery becomes due that is not due at `now`.
    pub(super) fn next_due_after(&self, now: Timestamp) -> Option<Timestamp> {
        let after = |set: &BTreeSet<(Timestamp, DeliveryId)>| {
            let from = (
                now.saturating_add(std::time::Duration::from_nanos(1)),
                DeliveryId::from_bits(0),
            );
            set.range(from..).next().map(|(due_at, _)| *due_at)
        };
        after(&self.fresh)
            .into_iter()
            .chain(after(&self.retries))
            .min()
    }

    /// Returns how many are due at `now`, and since when the first is.
    pub(super) fn due(&self, now: Timestamp) -> (u64, Option<Timestamp>) {
        let sets = self.fresh.iter().chain(&self.retries);
        let due = sets.filter(|(due_at, _)| *due_at <= now);
        due.fold((0, None), |(count, oldest), (due_at, _)| {
            (count + 1, oldest.into_iter().chain([*due_at]).min())
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.retries.is_empty()
    }
}

impl State {
    /// Puts a delivery among those that wait.
    pub(super) fn enqueue(&mut self, id: DeliveryId, due_at: Timestamp) {
        if let Some(row) = self.deliveries.get_mut(&id) {
            row.due_at = Some(due_at);
            let workspace = row.event.workspace;
            let waiting = self.waiting.entry(row.endpoint);
            let waiting = waiting.or_insert_with(|| Waiting::of(workspace));
            waiting.insert(due_at, id, !row.attempts.is_empty());
        }
    }

    /// Ends a lease, if it is the one with that token.
    pub(super) fn end_lease(&mut self, id: DeliveryId, token: LeaseToken) -> Option<Held> {
        if self.leases.get(&id)?.token != token {
            return None;
        }
        let held = self.leases.remove(&id)?;
        self.expiries.remove(&(held.expires_at, id));
        Some(held)
    }

    /// Remembers that a delivery is settled, and forgets the oldest beyond the bound.
    pub(super) fn retire(&mut self, id: DeliveryId) {
        self.settled.push_back(id);
        if self.settled.len() > SETTLED_MAX
            && let Some(oldest) = self.settled.pop_front()
            // It may have been queued again since.
            && self.deliveries.get(&oldest).is_some_and(|row| row.due_at.is_none())
        {
            self.deliveries.remove(&oldest);
        }
    }
}

/// Number of rows of the workspace.
pub(super) fn row_count(catalog: &Snapshot, workspace: WorkspaceId, kind: RowKind) -> u64 {
    macro_rules! count {
        ($rows:ident) => {
            catalog
                .$rows
                .iter()
                .filter(|row| row.workspace == workspace)
                .count()
        };
    }
    let count = match kind {
        RowKind::ApiKey => count!(api_keys),
        RowKind::Application => count!(applications),
        RowKind::Endpoint => count!(endpoints),
        RowKind::EventType => count!(event_types),
        RowKind::ManagementToken => count!(management_tokens),
        RowKind::Pattern => count!(patterns),
        RowKind::Subscription => count!(subscribers),
    };
    count as u64
}
