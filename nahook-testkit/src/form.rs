//! The forms in which an adapter is used: behind a reference, an `Arc`, a `Box`, or as a trait object chosen at run time.
//!
//! [`Formed`] is a harness whose adapter comes in such a form, so that every form passes the very same clauses. Nobody
//! has to name these types: the `*_conformance!` macros do.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    ApiKeyRecord, ApplyMode, AuditPage, AuditQuery, Catalog, CatalogError, Change, ChangePlan,
    DynCatalog, DynKeyStore, DynManagementStore, KeyEntry, KeyHash, KeyState, KeyStore,
    ManagementError, ManagementStore, Manifest, Select, Snapshot, WorkspaceRecord,
};

use nahook_core::{
    Allowance, ApiKeyId, Caller, Delivery, DeliveryId, DeliveryPublisher, DirectDelivery,
    DirectPublisher, DynDeliveryPublisher, DynDirectPublisher, DynEndpointDirectory,
    DynRateLimiter, DynSubscriptionStore, EndpointDirectory, EndpointId, EndpointTarget, Event,
    EventTypeId, EventTypeName, FanOutScope, Grant, HealthReport, ManagementTokenId, Payload,
    RateLimiter, StoreError, Subscribers, SubscriptionStore, Timestamp, Verdict, WorkspaceId,
};

use nahook_queue::{
    AttemptRecord, DeliveryLog, DeliveryQuery, DeliveryQueue, DeliveryRecord, DeliveryRecorder,
    DeliverySearch, DynDeliveryLog, DynDeliveryQueue, DynDeliveryRecorder, DynDeliverySearch,
    DynRedelivery, Lease, LeaseBatch, LeaseRequest, LogEntry, Redelivered, Redelivery,
    RedeliveryRequest, Settled, Settlement,
};

use crate::{
    CatalogHarness, DirectHarness, EndpointHarness, HeldDelivery, KeyHarness, LimiterHarness,
    LogHarness, ManagementHarness, ManualClock, PublisherHarness, QueueHarness, RecorderHarness,
    RedeliveryHarness, SearchHarness, SubscriptionHarness,
};

/// The harness `H` with its adapter in the form `F`.
#[derive(Debug)]
pub struct Formed<H, F> {
    harness: H,
    form: PhantomData<fn() -> F>,
}

impl<H, F> Formed<H, F> {
    fn new(harness: H) -> Self {
        Self {
            harness,
            form: PhantomData,
        }
    }
}

/// A trait object in an `Arc`, as a back end that is chosen at run time.
#[derive(Debug)]
pub struct AsDyn;

/// A reference, as the port's `impl for &T` sees it.
#[derive(Debug)]
pub struct ByReference;

/// The adapter in an `Arc`.
#[derive(Debug)]
pub struct InArc;

/// The adapter in a `Box`.
#[derive(Debug)]
pub struct InBox;

/// Calls its adapter's ports through `&T`.
#[derive(Clone, Debug)]
pub struct Referring<T>(T);

/// Defines [`Form`] with one method per port and the four forms.
macro_rules! forms {
    ($($port:ident $twin:ident $of:ident $make:ident { $(fn $method:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)+ })+) => {
        /// How an adapter is wrapped, port by port.
        pub trait Form: 'static {
            $(
                #[doc = concat!("A [`", stringify!($port), "`] in this form.")]
                type $of<T: $port + Clone + 'static>: $port + Clone + 'static;

                #[doc = concat!("Brings a [`", stringify!($port), "`] into this form.")]
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Self::$of<T>;
            )+
        }

        impl Form for AsDyn {
            $(
                type $of<T: $port + Clone + 'static> = Arc<dyn $twin>;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Arc<dyn $twin> {
                    Arc::new(adapter)
                }
            )+
        }

        impl Form for ByReference {
            $(
                type $of<T: $port + Clone + 'static> = Referring<T>;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Referring<T> {
                    Referring(adapter)
                }
            )+
        }

        impl Form for InArc {
            $(
                type $of<T: $port + Clone + 'static> = Arc<T>;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Arc<T> {
                    Arc::new(adapter)
                }
            )+
        }

        impl Form for InBox {
            $(
                type $of<T: $port + Clone + 'static> = Box<T>;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Box<T> {
                    Box::new(adapter)
                }
            )+
        }

        $(
            #[deny(clippy::missing_trait_methods)]
            impl<T: $port> $port for Referring<T> {
                $(
                    async fn $method(&self, $($arg: $ty),*) $(-> $ret)? {
                        <&T as $port>::$method(&&self.0, $($arg),*).await
                    }
                )+
            }
        )+
    };
}

forms! {
    Catalog DynCatalog Catalog catalog {
        fn apply(manifest: &Manifest, mode: ApplyMode) -> Result<Vec<Change>, CatalogError>;
        fn workspaces() -> Result<Vec<WorkspaceRecord>, StoreError>;
        fn api_keys(workspace: &WorkspaceId) -> Result<Vec<ApiKeyRecord>, StoreError>;
        fn set_api_key_state(key: &ApiKeyId, state: KeyState) -> Result<(), CatalogError>;
        fn ensure_event_type(name: &EventTypeName, workspace: &WorkspaceId) -> Result<EventTypeId, CatalogError>;
    }
    DeliveryLog DynDeliveryLog Log log {
        fn delivery(id: DeliveryId, workspace: &WorkspaceId) -> Result<Option<DeliveryRecord>, StoreError>;
        fn attempts(id: DeliveryId, workspace: &WorkspaceId) -> Result<Option<Vec<AttemptRecord>>, StoreError>;
        fn payload(id: DeliveryId, workspace: &WorkspaceId) -> Result<Option<Payload>, StoreError>;
    }
    DeliverySearch DynDeliverySearch Search search {
        fn deliveries(query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError>;
    }
    DeliveryPublisher DynDeliveryPublisher Publisher publisher {
        fn publish(event: &Event, deliveries: &mut [Delivery]);
    }
    DirectPublisher DynDirectPublisher Direct direct {
        fn publish_direct(deliveries: &mut [DirectDelivery]);
    }
    DeliveryQueue DynDeliveryQueue Queue queue {
        fn lease(request: &LeaseRequest) -> Result<LeaseBatch, StoreError>;
        fn extend(leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError>;
        fn settle(settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError>;
        fn changed(generation: u64);
    }
    DeliveryRecorder DynDeliveryRecorder Recorder recorder {
        fn record(entries: &[LogEntry]) -> Result<(), StoreError>;
    }
    EndpointDirectory DynEndpointDirectory Endpoints endpoints {
        fn targets(ids: &[EndpointId]) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError>;
        fn report(reports: &[HealthReport]) -> Result<(), StoreError>;
    }
    KeyStore DynKeyStore Keys keys {
        fn api_key(hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError>;
        fn management_token(hash: &KeyHash) -> Result<Option<KeyEntry<(ManagementTokenId, WorkspaceId)>>, StoreError>;
    }
    ManagementStore DynManagementStore Management management {
        fn read(workspace: &WorkspaceId, selection: &[Select]) -> Result<Snapshot, StoreError>;
        fn change(workspace: &WorkspaceId, plan: &Arc<dyn ChangePlan>) -> Result<Vec<Change>, ManagementError>;
        fn audit_log(workspace: &WorkspaceId, query: &AuditQuery) -> Result<AuditPage, StoreError>;
        fn sealing_key() -> Result<[u8; 32], StoreError>;
    }
    RateLimiter DynRateLimiter Limiter limiter {
        fn check(caller: &Caller) -> Result<Verdict, StoreError>;
        fn check_many(caller: &Caller, wanted: u32) -> Result<Grant, StoreError>;
        fn peek(caller: &Caller) -> Result<Allowance, StoreError>;
    }
    Redelivery DynRedelivery Redelivery redelivery {
        fn redeliver(id: DeliveryId, workspace: &WorkspaceId) -> Result<Redelivered, StoreError>;
        fn redeliver_since(request: &RedeliveryRequest) -> Result<usize, StoreError>;
    }
    SubscriptionStore DynSubscriptionStore Subscriptions subscriptions {
        fn subscribers(event_type: &EventTypeName, scope: &FanOutScope) -> Result<Option<Subscribers>, StoreError>;
    }
}

impl<H: LimiterHarness, F: Form> LimiterHarness for Formed<H, F> {
    type Limiter = F::Limiter<H::Limiter>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn limiter(&self) -> Self::Limiter {
        F::limiter(self.harness.limiter())
    }

    fn advance(&self, by: Duration) {
        self.harness.advance(by);
    }
}

impl<H: SubscriptionHarness, F: Form> SubscriptionHarness for Formed<H, F> {
    type Subscriptions = F::Subscriptions<H::Subscriptions>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn subscriptions(&self) -> Self::Subscriptions {
        F::subscriptions(self.harness.subscriptions())
    }

    async fn apply(&self, manifest: &Manifest) {
        self.harness.apply(manifest).await;
    }
}

impl<H: PublisherHarness, F: Form> PublisherHarness for Formed<H, F> {
    type Publisher = F::Publisher<H::Publisher>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn publisher(&self) -> Self::Publisher {
        F::publisher(self.harness.publisher())
    }

    async fn apply(&self, manifest: &Manifest) {
        self.harness.apply(manifest).await;
    }

    async fn held(&self) -> Vec<HeldDelivery> {
        self.harness.held().await
    }

    async fn restart(self) -> Option<Self> {
        self.harness.restart().await.map(Self::new)
    }

    async fn make_unreachable(&self) -> bool {
        self.harness.make_unreachable().await
    }
}

impl<H: DirectHarness, F: Form> DirectHarness for Formed<H, F> {
    type Direct = F::Direct<H::Direct>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn direct(&self) -> Self::Direct {
        F::direct(self.harness.direct())
    }

    async fn apply(&self, manifest: &Manifest) {
        self.harness.apply(manifest).await;
    }

    async fn held(&self) -> Vec<HeldDelivery> {
        self.harness.held().await
    }

    async fn record(&self, id: DeliveryId, workspace: &WorkspaceId) -> Option<DeliveryRecord> {
        self.harness.record(id, workspace).await
    }

    fn advance(&self, by: Duration) {
        self.harness.advance(by);
    }

    async fn restart(self) -> Option<Self> {
        self.harness.restart().await.map(Self::new)
    }
}

impl<H: QueueHarness, F: Form> QueueHarness for Formed<H, F> {
    type Queue = F::Queue<H::Queue>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn queue(&self) -> Self::Queue {
        F::queue(self.harness.queue())
    }

    async fn apply(&self, manifest: &Manifest) {
        self.harness.apply(manifest).await;
    }

    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        self.harness.publish(event, deliveries).await;
    }

    fn now(&self) -> Timestamp {
        self.harness.now()
    }

    fn advance(&self, by: Duration) {
        self.harness.advance(by);
    }

    async fn restart(self) -> Option<Self> {
        self.harness.restart().await.map(Self::new)
    }
}

impl<H: LogHarness, F: Form> LogHarness for Formed<H, F> {
    type Log = F::Log<H::Log>;

    fn log(&self) -> Self::Log {
        F::log(self.harness.log())
    }
}

impl<H: RecorderHarness, F: Form> RecorderHarness for Formed<H, F> {
    type Recorder = F::Recorder<H::Recorder>;

    fn recorder(&self) -> Self::Recorder {
        F::recorder(self.harness.recorder())
    }
}

impl<H: KeyHarness, F: Form> KeyHarness for Formed<H, F> {
    type Keys = F::Keys<H::Keys>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn keys(&self) -> Self::Keys {
        F::keys(self.harness.keys())
    }

    async fn apply(&self, manifest: &Manifest) {
        self.harness.apply(manifest).await;
    }

    async fn set_api_key_state(&self, key: &ApiKeyId, state: KeyState) {
        self.harness.set_api_key_state(key, state).await;
    }
}

impl<H: EndpointHarness, F: Form> EndpointHarness for Formed<H, F> {
    type Endpoints = F::Endpoints<H::Endpoints>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn endpoints(&self) -> Self::Endpoints {
        F::endpoints(self.harness.endpoints())
    }

    async fn apply(&self, manifest: &Manifest) {
        self.harness.apply(manifest).await;
    }
}

impl<H: CatalogHarness, F: Form> CatalogHarness for Formed<H, F> {
    type Catalog = F::Catalog<H::Catalog>;

    async fn start_catalog() -> Self {
        Self::new(H::start_catalog().await)
    }

    fn catalog(&self) -> Self::Catalog {
        F::catalog(self.harness.catalog())
    }

    async fn restart_catalog(self) -> Option<Self> {
        self.harness.restart_catalog().await.map(Self::new)
    }
}

impl<H: ManagementHarness, F: Form> ManagementHarness for Formed<H, F> {
    type Management = F::Management<H::Management>;

    fn management(&self) -> Self::Management {
        F::management(self.harness.management())
    }

    fn management_clock(&self) -> &ManualClock {
        self.harness.management_clock()
    }
}

impl<H: SearchHarness, F: Form> SearchHarness for Formed<H, F> {
    type Search = F::Search<H::Search>;

    fn search(&self) -> Self::Search {
        F::search(self.harness.search())
    }
}

impl<H: RedeliveryHarness, F: Form> RedeliveryHarness for Formed<H, F> {
    type Redelivery = F::Redelivery<H::Redelivery>;

    fn redelivery(&self) -> Self::Redelivery {
        F::redelivery(self.harness.redelivery())
    }
}
