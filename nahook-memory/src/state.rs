//! The contents of the store.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use nahook_control::{AuditEntry, KeyHash, PageSession, PortalSessionRecord, RowKind, Snapshot};
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{Event, EventTypeName, Scope, Subscribers, Timestamp};
use nahook_queue::{Attempt, Counts, DeliveryState, Period, Place, Scheduler};

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
    pub(super) counts: BTreeMap<(WorkspaceId, Option<EndpointId>, Period, Timestamp), Counts>,
    pub(super) failing_since: HashMap<EndpointId, Timestamp>,
    pub(super) deliveries: BTreeMap<DeliveryId, Row>,
    pub(super) keys: Keys,
    pub(super) scheduler: Scheduler,
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

impl State {
    /// Puts a delivery among those that wait.
    pub(super) fn enqueue(&mut self, id: DeliveryId, due_at: Timestamp, now: Timestamp) {
        if let Some(row) = self.deliveries.get_mut(&id) {
            row.due_at = Some(due_at);
            let place = Place {
                workspace: row.event.workspace,
                endpoint: row.endpoint,
                due_at,
                is_retry: !row.attempts.is_empty(),
            };
            self.scheduler.put(id, place, now);
        }
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
