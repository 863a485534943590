//! A harness whose adapter is wrapped, so that the wrapper passes the very clauses that the adapter passes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    Catalog, EndpointDirectory, KeyState, KeyStore, ManagementStore, Manifest, SessionStore,
};
use nahook_core::id::{ApiKeyId, DeliveryId, WorkspaceId};
use nahook_core::{
    Delivery, DeliveryPublisher, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore, Event,
    RateLimiter, SubscriptionStore, Timestamp,
};
use nahook_queue::{
    DeliveryCounts, DeliveryLog, DeliveryQueue, DeliveryRecord, DeliveryRecorder, DeliverySearch,
    EventSearch, Redelivery,
};
use nahook_testkit::{
    CatalogHarness, CountsHarness, EndpointHarness, EventSearchHarness, Faulty, FaultyPublisher,
    HeldDelivery, KeyHarness, LimiterHarness, LogHarness, ManagementHarness, ManualClock,
    PublisherHarness, QueueHarness, RecorderHarness, RedeliveryHarness, SearchHarness, SendHarness,
    SessionHarness, SubscriptionHarness,
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
    DeliveryCounts DeliveryCounts Faulty Counts counts
    DeliverySearch DeliverySearch Faulty Search search
    EventSearch EventSearch Faulty Events events
    SessionStore SessionStore Faulty Sessions sessions
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

/// Makes [`Formed`] each harness that `H` is, by the adapter in its form and `H`'s own methods.
macro_rules! formed {
    ($(
        $harness:ident $of:ident $make:ident as $form_of:ident $form_make:ident
            [$($start:ident)? $(, $restart:ident)?] {
            $(async fn $asked:ident($($given:ident: $type:ty),*) $(-> $answer:ty)?;)*
            $(fn $told:ident($($now:ident: $is:ty),*) $(-> $back:ty)?;)*
        }
    )+) => {
        $(
            impl<H: $harness, F: Form> $harness for Formed<H, F> {
                type $of = F::$form_of<H::$of>;

                $(async fn $start() -> Self {
                    Self::new(H::$start().await)
                })?

                fn $make(&self) -> Self::$of {
                    F::$form_make(self.harness.$make())
                }

                $(async fn $restart(self) -> Option<Self> {
                    self.harness.$restart().await.map(Self::new)
                })?

                $(async fn $asked(&self, $($given: $type),*) $(-> $answer)? {
                    self.harness.$asked($($given),*).await
                })*

                $(fn $told(&self, $($now: $is),*) $(-> $back)? {
                    self.harness.$told($($now),*)
                })*
            }
        )+
    };
}

formed! {
    LimiterHarness Limiter limiter as Limiter limiter [start] {
        fn advance(by: Duration);
    }
    SubscriptionHarness Subscriptions subscriptions as Subscriptions subscriptions [start] {
        async fn apply(manifest: &Manifest);
    }
    PublisherHarness Publisher publisher as Publisher publisher [start, restart] {
        async fn apply(manifest: &Manifest);
        async fn held() -> Vec<HeldDelivery>;
        async fn make_unreachable() -> bool;
    }
    SendHarness Sender sender as Publisher publisher [start, restart] {
        async fn apply(manifest: &Manifest);
        async fn held() -> Vec<HeldDelivery>;
        async fn record(id: DeliveryId, workspace: &WorkspaceId) -> Option<DeliveryRecord>;
        fn advance(by: Duration);
    }
    QueueHarness Queue queue as Queue queue [start, restart] {
        async fn apply(manifest: &Manifest);
        async fn publish(event: &Event, deliveries: &mut [Delivery]);
        fn now() -> Timestamp;
        fn advance(by: Duration);
    }
    LogHarness Log log as Log log [] {}
    RecorderHarness Recorder recorder as Recorder recorder [] {}
    KeyHarness Keys keys as Keys keys [start] {
        async fn apply(manifest: &Manifest);
        async fn set_api_key_state(workspace: &WorkspaceId, key: ApiKeyId, state: KeyState);
    }
    EndpointHarness Endpoints endpoints as Endpoints endpoints [start] {
        async fn apply(manifest: &Manifest);
    }
    CatalogHarness Catalog catalog as Catalog catalog [start_catalog, restart_catalog] {}
    ManagementHarness Management management as Management management [] {
        fn management_clock() -> &ManualClock;
    }
    CountsHarness Counts counts as Counts counts [] {}
    SearchHarness Search search as Search search [] {}
    EventSearchHarness Events events as Events events [] {}
    SessionHarness Sessions sessions as Sessions sessions [] {}
    RedeliveryHarness Redelivery redelivery as Redelivery redelivery [] {}
}
