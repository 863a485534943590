//! Faults call by call, for every port but the publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nahook_control::{
    Actor, ApplyMode, AuditPage, AuditQuery, Catalog, CatalogError, Change, ChangePlan,
    EndpointDirectory, EndpointPage, EndpointQuery, EndpointTarget, HealthReport, KeyEntry,
    KeyHash, KeyStore, ManagementError, ManagementStore, Manifest, PageSession,
    PortalSessionRecord, Select, SessionHolder, SessionStore, Snapshot, TokenHolder,
    WorkspaceRecord,
};
use nahook_core::admission::{Allowance, Caller, Grant, Verdict};
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    EndpointState, EventTypeName, Payload, RateLimiter, Scope, StoreError, StoreErrorKind,
    Subscribers, SubscriptionStore, Timestamp,
};
use nahook_queue::{
    AttemptRecord, Backlog, CountsQuery, DeliveryCounts, DeliveryLog, DeliveryQuery, DeliveryQueue,
    DeliveryRecord, DeliveryRecorder, DeliverySearch, DeliveryStats, EventPage, EventQuery,
    EventSearch, Lease, LeaseBatch, LeaseRequest, LogEntry, Redelivered, Redelivery,
    RedeliveryRequest, RollUp, Settled, Settlement, StatsQuery,
};

/// Fault of one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallFault {
    /// Delay of the call before anything else.
    pub delay: Duration,
    /// End of the call.
    pub answer: CallAnswer,
}

/// End of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallAnswer {
    /// The adapter does what was asked, and then the answer is lost on the way.
    FailAfter(StoreErrorKind),
    /// The adapter is not reached.
    FailBefore(StoreErrorKind),
    /// It panics.
    Panic,
    /// As the adapter answers it.
    Pass,
    /// Never.
    Silence,
}

/// Faults of consecutive calls.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallScript {
    faults: Vec<CallFault>,
    afterwards: CallFault,
}

/// An adapter whose calls go wrong as a [`CallScript`] says; with an empty script every call is passed on as it is.
///
/// It has every port that its adapter has, except the publisher's: see [`FaultyPublisher`](crate::FaultyPublisher).
/// [`DeliveryQueue::changed`] cannot fail; it is only delayed, silenced or made to panic. Clones share the script and
/// the count of calls. Time is tokio's.
#[derive(Clone, Debug)]
pub struct Faulty<T> {
    inner: T,
    script: Arc<CallScript>,
    calls: Arc<AtomicUsize>,
}

impl CallFault {
    /// None.
    pub const NONE: Self = Self {
        delay: Duration::ZERO,
        answer: CallAnswer::Pass,
    };

    /// A call that ends like this, at once.
    pub const fn new(answer: CallAnswer) -> Self {
        Self {
            delay: Duration::ZERO,
            answer,
        }
    }

    /// A call that takes so long and comes to no other harm.
    pub const fn slow(delay: Duration) -> Self {
        Self {
            delay,
            answer: CallAnswer::Pass,
        }
    }
}

impl Default for CallFault {
    fn default() -> Self {
        Self::NONE
    }
}

impl CallScript {
    /// These faults for the first calls; later ones come to no harm.
    pub fn new(faults: impl IntoIterator<Item = CallFault>) -> Self {
        Self {
            faults: faults.into_iter().collect(),
            afterwards: CallFault::NONE,
        }
    }

    /// The same fault for every call.
    pub fn always(fault: CallFault) -> Self {
        Self {
            faults: Vec::new(),
            afterwards: fault,
        }
    }

    /// Returns the fault of the call with this number, counted from 0.
    pub fn fault(&self, call: usize) -> CallFault {
        self.faults.get(call).copied().unwrap_or(self.afterwards)
    }
}

impl<T> Faulty<T> {
    /// Calls to `inner` that go wrong as the script says.
    pub fn new(inner: T, script: CallScript) -> Self {
        Self {
            inner,
            script: Arc::new(script),
            calls: Arc::default(),
        }
    }

    /// The adapter behind the faults.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// Returns the number of calls that have begun.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<T: Sync> Faulty<T> {
    async fn disturbed<A: Send, E: From<StoreError> + Send>(
        &self,
        call: impl Future<Output = Result<A, E>> + Send,
    ) -> Result<A, E> {
        match self.begin().await {
            CallAnswer::FailBefore(kind) => Err(scripted_error(kind).into()),
            CallAnswer::FailAfter(kind) => {
                call.await?;
                Err(scripted_error(kind).into())
            }
            _ => call.await,
        }
    }

    /// Counts the call and delays, silences or panics it.
    async fn begin(&self) -> CallAnswer {
        let fault = self.script.fault(self.calls.fetch_add(1, Ordering::SeqCst));
        if !fault.delay.is_zero() {
            tokio::time::sleep(fault.delay).await;
        }
        match fault.answer {
            CallAnswer::Silence => std::future::pending().await,
            CallAnswer::Panic => panic_as_scripted(),
            answer => answer,
        }
    }
}

fn scripted_error(kind: StoreErrorKind) -> StoreError {
    match kind {
        StoreErrorKind::Unavailable => StoreError::unavailable("the fault script says so"),
        _ => StoreError::internal("the fault script says so"),
    }
}

#[expect(clippy::panic, reason = "the fault is a panic")]
fn panic_as_scripted() -> CallAnswer {
    panic!("the fault script says so")
}

macro_rules! disturb {
    ($($(#[$boxed:meta])? $port:ident { $(fn $method:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)+ })+) => {
        $(
            #[deny(clippy::missing_trait_methods)]
            $(#[$boxed])?
            impl<T: $port> $port for Faulty<T> {
                $(
                    async fn $method(&self, $($arg: $ty),*) -> $ret {
                        self.disturbed($port::$method(&self.inner, $($arg),*)).await
                    }
                )+
            }
        )+
    };
}

disturb! {
    #[async_trait::async_trait]
    Catalog {
        fn apply(manifest: &Manifest, mode: ApplyMode) -> Result<Vec<Change>, CatalogError>;
        fn apply_as(actor: &Actor, manifest: &Manifest, mode: ApplyMode) -> Result<Vec<Change>, CatalogError>;
        fn workspaces() -> Result<Vec<WorkspaceRecord>, StoreError>;
        fn ensure_event_type(name: &EventTypeName, workspace: &WorkspaceId) -> Result<EventTypeId, CatalogError>;
    }
    #[async_trait::async_trait]
    DeliveryCounts {
        fn add_counts(roll_ups: &[RollUp]) -> Result<(), StoreError>;
        fn counts(query: &CountsQuery) -> Result<Vec<RollUp>, StoreError>;
    }
    #[async_trait::async_trait]
    DeliveryLog {
        fn delivery(id: DeliveryId, workspace: &WorkspaceId) -> Result<Option<DeliveryRecord>, StoreError>;
        fn attempts(id: DeliveryId, workspace: &WorkspaceId) -> Result<Option<Vec<AttemptRecord>>, StoreError>;
        fn payload(id: DeliveryId, workspace: &WorkspaceId) -> Result<Option<Payload>, StoreError>;
    }
    #[async_trait::async_trait]
    DeliveryRecorder {
        fn record(entries: &[LogEntry]) -> Result<(), StoreError>;
    }
    #[async_trait::async_trait]
    DeliverySearch {
        fn stored_len(workspace: &WorkspaceId) -> Result<u64, StoreError>;
        fn deliveries(query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError>;
        fn stats(query: &StatsQuery) -> Result<DeliveryStats, StoreError>;
    }
    #[async_trait::async_trait]
    EventSearch {
        fn events(query: &EventQuery) -> Result<EventPage, StoreError>;
        fn event_deliveries(event: MessageId, workspace: &WorkspaceId, limit: usize) -> Result<Vec<DeliveryRecord>, StoreError>;
    }
    #[async_trait::async_trait]
    SessionStore {
        fn start_session(session: &PageSession) -> Result<(), StoreError>;
        fn session(id: &KeyHash) -> Result<Option<PageSession>, StoreError>;
        fn touch_session(id: &KeyHash, seen_at: Timestamp) -> Result<(), StoreError>;
        fn end_session(id: &KeyHash) -> Result<bool, StoreError>;
        fn end_sessions(holder: &SessionHolder) -> Result<u64, StoreError>;
        fn take_portal_code(code: &KeyHash) -> Result<Option<PortalSessionRecord>, StoreError>;
    }
    #[async_trait::async_trait]
    EndpointDirectory {
        fn targets(ids: &[EndpointId]) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError>;
        fn report(reports: &[HealthReport]) -> Result<(), StoreError>;
    }
    #[async_trait::async_trait]
    KeyStore {
        fn api_key(hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError>;
        fn management_token(hash: &KeyHash) -> Result<Option<KeyEntry<TokenHolder>>, StoreError>;
    }
    #[async_trait::async_trait]
    ManagementStore {
        fn read(workspace: &WorkspaceId, selection: &[Select]) -> Result<Snapshot, StoreError>;
        fn change(workspace: &WorkspaceId, plan: &Arc<dyn ChangePlan>) -> Result<Vec<Change>, ManagementError>;
        fn audit_log(workspace: &WorkspaceId, query: &AuditQuery) -> Result<AuditPage, StoreError>;
        fn find_endpoints(workspace: &WorkspaceId, query: &EndpointQuery) -> Result<EndpointPage, StoreError>;
    }
    #[async_trait::async_trait]
    Redelivery {
        fn redeliver(id: DeliveryId, workspace: &WorkspaceId) -> Result<Redelivered, StoreError>;
        fn redeliver_since(request: &RedeliveryRequest) -> Result<usize, StoreError>;
    }
    RateLimiter {
        fn check(caller: &Caller) -> Result<Verdict, StoreError>;
        fn check_many(caller: &Caller, wanted: u32) -> Result<Grant, StoreError>;
        fn peek(caller: &Caller) -> Result<Allowance, StoreError>;
    }
    SubscriptionStore {
        fn subscribers(event_type: &EventTypeName, scope: &Scope) -> Result<Option<Subscribers>, StoreError>;
        fn endpoint_states(ids: &[EndpointId], scope: &Scope) -> Result<Vec<EndpointState>, StoreError>;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait::async_trait]
impl<T: DeliveryQueue> DeliveryQueue for Faulty<T> {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        self.disturbed(self.inner.lease(request)).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        self.disturbed(self.inner.extend(leases, duration)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        self.disturbed(self.inner.settle(settlements)).await
    }

    async fn changed(&self, generation: u64) {
        self.begin().await;
        self.inner.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        self.disturbed(self.inner.backlog(count_max)).await
    }
}
