//! A harness whose adapter is wrapped, so that the wrapper passes the very clauses that the adapter passes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{Catalog, EndpointDirectory, KeyState, KeyStore, ManagementStore, Manifest};
use nahook_core::id::{ApiKeyId, DeliveryId, WorkspaceId};
use nahook_core::{
    Delivery, DeliveryPublisher, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore, Event,
    RateLimiter, SubscriptionStore, Timestamp,
};
use nahook_queue::{
    DeliveryLog, DeliveryQueue, DeliveryRecord, DeliveryRecorder, DeliverySearch, Redelivery,
};
use nahook_testkit::{
    CatalogHarness, EndpointHarness, Faulty, FaultyPublisher, HeldDelivery, KeyHarness,
    LimiterHarness, LogHarness, ManagementHarness, ManualClock, PublisherHarness, QueueHarness,
    RecorderHarness, RedeliveryHarness, SearchHarness, SendHarness, SubscriptionHarness,
};

/// The harness `H` with its adapter in the form `F`.
#[derive(Debug)]
pub(crate) struct Formed<H, F> {
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

/// Defines [`Form`], a wrapper for each port, and the two forms in use.
macro_rules! forms {
    ($($port:ident $object:ident $faulty:ident $of:ident $make:ident)+) => {
        /// Wrapper of an adapter, port by port.
        pub(crate) trait Form: 'static {
            $(
                type $of<T: $port + Clone + 'static>: $port + Clone + 'static;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Self::$of<T>;
            )+
        }

        impl Form for AsObject {
            $(
                type $of<T: $port + Clone + 'static> = Arc<dyn $object>;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> Arc<dyn $object> {
                    Arc::new(adapter)
                }
            )+
        }

        impl Form for WithoutFaults {
            $(
                type $of<T: $port + Clone + 'static> = $faulty<T>;
                fn $make<T: $port + Clone + 'static>(adapter: T) -> $faulty<T> {
                    $faulty::new(adapter, Default::default())
                }
            )+
        }
    };
}

/// A trait object in an `Arc`, as the server composes back ends.
pub(crate) struct AsObject;

/// The kit's faulty adapters with no faults to inject.
pub(crate) struct WithoutFaults;

forms! {
    Catalog Catalog Faulty Catalog catalog
    DeliveryLog DeliveryLog Faulty Log log
    DeliverySearch DeliverySearch Faulty Search search
    DeliveryPublisher DynDeliveryPublisher FaultyPublisher Publisher publisher
    DeliveryQueue DeliveryQueue Faulty Queue queue
    DeliveryRecorder DeliveryRecorder Faulty Recorder recorder
    EndpointDirectory EndpointDirectory Faulty Endpoints endpoints
    KeyStore KeyStore Faulty Keys keys
    ManagementStore ManagementStore Faulty Management management
    RateLimiter DynRateLimiter Faulty Limiter limiter
    Redelivery Redelivery Faulty Redelivery redelivery
    SubscriptionStore DynSubscriptionStore Faulty Subscriptions subscriptions
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

impl<H: SendHarness, F: Form> SendHarness for Formed<H, F> {
    type Sender = F::Publisher<H::Sender>;

    async fn start() -> Self {
        Self::new(H::start().await)
    }

    fn sender(&self) -> Self::Sender {
        F::publisher(self.harness.sender())
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

    async fn set_api_key_state(&self, workspace: &WorkspaceId, key: ApiKeyId, state: KeyState) {
        self.harness.set_api_key_state(workspace, key, state).await;
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
