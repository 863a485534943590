//! The queue of deliveries that workers lease from.

use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{DeliveryId, EndpointId, MessageId, WorkspaceId};
use nahook_core::{Event, EventTypeName, Payload, StoreError, Timestamp};

use crate::Next;

/// One worker among those that share a queue; drawn at random when a worker starts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkerId(pub u64);

/// A number that distinguishes one lease of a delivery from every other.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseToken(pub u64);

/// A worker's claim on a delivery.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lease {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Proof that it is this claim and not a later one.
    pub token: LeaseToken,
}

/// A worker's request for leases.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseRequest {
    /// The worker that asks.
    pub worker: WorkerId,
    /// Largest number of deliveries.
    pub max: usize,
    /// Largest number of unsettled leases that the worker holds for one endpoint, those it holds already included.
    pub per_endpoint_max: usize,
    /// Endpoints for which another number holds than `per_endpoint_max`.
    pub exceptions: Vec<(EndpointId, usize)>,
    /// Largest number of deliveries of one workspace in this batch.
    pub per_workspace_max: usize,
    /// Workspaces with bounds of their own.
    pub workspaces: Vec<WorkspaceBounds>,
    /// Time that the leases last unless extended.
    pub duration: Duration,
}

impl LeaseRequest {
    /// Asks for at most `max` deliveries, of whatever workspaces and endpoints.
    pub fn new(worker: WorkerId, max: usize, duration: Duration) -> Self {
        Self {
            worker,
            max,
            per_endpoint_max: max,
            exceptions: Vec::new(),
            per_workspace_max: usize::MAX,
            workspaces: Vec::new(),
            duration,
        }
    }

    /// Returns the bounds of a workspace.
    pub fn bounds_of(&self, workspace: WorkspaceId) -> WorkspaceBounds {
        let mut found = self.workspaces.iter();
        let found = found.find(|bounds| bounds.workspace == workspace);
        found.copied().unwrap_or(WorkspaceBounds {
            workspace,
            max: self.per_workspace_max,
            unlisted_max: self.per_workspace_max,
        })
    }
}

/// Bounds of a workspace in one batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorkspaceBounds {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Largest number of deliveries.
    pub max: usize,
    /// Largest number of those that are for endpoints that are not among the request's `exceptions`.
    pub unlisted_max: usize,
}

/// A delivery that its worker alone may now attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeasedDelivery {
    /// The claim, to be shown when extending or settling.
    pub lease: Lease,
    /// The message it belongs to.
    pub message: MessageId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// The event type's name; absent where a payload was sent to an endpoint directly.
    pub event_type: Option<EventTypeName>,
    /// Payload to send.
    pub payload: Payload,
    /// Number of attempts settled before.
    pub attempts: u32,
    /// Time at which the event was accepted.
    pub accepted_at: Timestamp,
}

impl LeasedDelivery {
    /// Makes the delivery of `event` to `endpoint`, of which so many attempts are settled.
    pub fn new(lease: Lease, event: &Event, endpoint: EndpointId, attempts: u32) -> Self {
        Self {
            lease,
            message: event.id,
            workspace: event.workspace,
            endpoint,
            event_type: event.event_type.as_ref().map(|found| found.name.clone()),
            payload: event.payload.clone(),
            attempts,
            accepted_at: event.accepted_at,
        }
    }
}

/// The answer to a [`LeaseRequest`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LeaseBatch {
    /// The deliveries, now leased.
    pub deliveries: Vec<LeasedDelivery>,
    /// Time at which a retry is due or a lease expires, so that something becomes leasable by itself. `None` if nothing waits
    /// for time.
    pub next_due: Option<Timestamp>,
    /// The value to hand to [`DeliveryQueue::changed`].
    pub generation: u64,
}

/// One HTTP request of a delivery, as it went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Time at which the request began.
    pub started_at: Timestamp,
    /// Duration of the request.
    pub duration: Duration,
    /// The receiver's status, if it answered.
    pub status_code: Option<u16>,
    /// Reason of its failure, for people; shown to the tenant, so it names nothing of the inside. Begins with
    /// [`NOT_MADE`](Self::NOT_MADE) if no request was made.
    pub error: Option<String>,
    /// Start of the answer's body as [`body_text`](Self::body_text) makes it, as far as it came with the head or soon after. It is
    /// the receiver's own text: escape it wherever it is shown.
    pub response_body: Option<String>,
}

impl Attempt {
    /// Makes an attempt that the receiver took with that status, without its text.
    pub fn answered(started_at: Timestamp, duration: Duration, status: u16) -> Self {
        Self {
            started_at,
            duration,
            status_code: Some(status),
            error: None,
            response_body: None,
        }
    }

    /// Beginning of the error of an entry of the log that only says why no request was made. The stores keep such an entry
    /// like any attempt; it sets no first attempt.
    pub const NOT_MADE: &'static str = "not attempted: ";

    /// Bytes of an answer's body that are kept.
    pub const RESPONSE_BODY_LEN_MAX: usize = 4 * 1024;

    /// Makes the text that is kept of an answer's body: its first bytes, with U+FFFD for what is not UTF-8 and for NUL, which
    /// Postgres stores in no text. `None` if the body is empty.
    pub fn body_text(body: &[u8]) -> Option<String> {
        let len = body.len().min(Self::RESPONSE_BODY_LEN_MAX);
        let mut text = String::from_utf8_lossy(body.get(..len)?).replace('\0', "\u{fffd}");
        // The replacement is longer than what it stands for.
        text.truncate(text.floor_char_boundary(Self::RESPONSE_BODY_LEN_MAX));
        (!text.is_empty()).then_some(text)
    }

    /// Returns false for an entry of the log that only says why no request was made.
    pub fn was_made(&self) -> bool {
        let error = self.error.as_deref().unwrap_or_default();
        !error.starts_with(Self::NOT_MADE)
    }
}

/// The end of a lease, as a worker decides it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settlement {
    /// The claim.
    pub lease: Lease,
    /// The attempt made under it, if one was.
    pub attempt: Option<Attempt>,
    /// The next step of the delivery.
    pub next: Next,
}

impl Settlement {
    /// Ends a lease under which no attempt was made.
    pub fn unattempted(lease: Lease, next: Next) -> Self {
        Self {
            lease,
            attempt: None,
            next,
        }
    }

    /// Number of attempts that were made, where so many were settled before.
    pub fn attempts_after(&self, before: u32) -> u32 {
        before.saturating_add(u32::from(self.attempt.is_some()))
    }
}

/// The queue's answer to one [`Settlement`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// Recorded.
    Done,
    /// The lease had expired, or it was settled before: nothing was recorded. A queue may still take the settlement of an
    /// expired lease as long as no worker has leased the delivery again.
    LeaseLost,
}

/// Deliveries that wait to be attempted: due, and leased by nobody.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Number of them, up to the bound of the call.
    pub due: u64,
    /// Time since which the first of them has been due; absent if nothing is due.
    pub oldest_due_at: Option<Timestamp>,
}

impl Backlog {
    /// Counts `due` more deliveries, of which the first has been due since then.
    pub fn add(&mut self, due: u64, oldest_due_at: Option<Timestamp>) {
        self.due = self.due.saturating_add(due);
        self.oldest_due_at = self.oldest_due_at.into_iter().chain(oldest_due_at).min();
    }
}

/// Leases deliveries to workers and settles them.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait DeliveryQueue: Send + Sync {
    /// Leases deliveries that are due, without waiting for any.
    ///
    /// # Behaviour
    /// * A lease is exclusive until it is settled or expires; an expired one is offered again.
    /// * Endpoints are served in turn: what waits for one endpoint holds no other one back, and old retries and fresh
    ///   deliveries do not starve each other.
    /// * The bounds for endpoints hold over everything that the worker has leased and not settled, those for workspaces within
    ///   the batch.
    /// * A workspace whose bound is reached holds no other one back.
    /// * Nothing is due before its time.
    ///
    /// # Cancellation
    /// A batch that was leased but not received is offered again once its leases expire, at the latest.
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError>;

    /// Extends leases to `duration` from now. Returns, lease by lease, true if it was still held.
    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError>;

    /// Ends leases and records their attempts, each settlement whole or not at all.
    ///
    /// A settled delivery never comes back, a retried one not before its time. An error means that nothing is known;
    /// settling again is safe: what was recorded answers [`Settled::LeaseLost`].
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError>;

    /// Resolves once something else than time may have made deliveries leasable since the batch with that `generation`;
    /// at once if that has already happened. May resolve without reason, never misses one.
    async fn changed(&self, generation: u64);

    /// Measures what waits to be attempted, of every workspace, and counts at most `count_max` deliveries.
    ///
    /// A snapshot, without what is being leased or settled at the moment. A queue whose records are elsewhere counts a record
    /// that this process has not taken in as one delivery, and knows the age of what it has taken in alone.
    ///
    /// Takes a few steps in an index for each endpoint that has something due, and one for each delivery counted: cheap enough
    /// for every second, and not for every call.
    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError>;
}
