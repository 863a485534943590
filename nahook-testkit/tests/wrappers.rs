//! The kit's own wrappers are transparent while they have no faults to inject: with an empty script they pass the very
//! suites that the adapter behind them passes.

mod back_ends;

use nahook_control::{Catalog, KeyStore, ManagementStore, Manifest};

use nahook_core::{
    Delivery, DeliveryPublisher, DirectPublisher, EndpointDirectory, Event, RateLimiter,
    SubscriptionStore,
};

use nahook_queue::{DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliverySearch, Redelivery};
use nahook_testkit::{
    CallScript, FaultScript, Faulty, FaultyPublisher, Form, Formed, HeldDelivery, PublisherHarness,
    RecordingPublisher,
};

use back_ends::{Gcra, Memory};

/// Every port behind a wrapper without faults.
struct WithoutFaults;

impl Form for WithoutFaults {
    type Catalog<T: Catalog + Clone + 'static> = Faulty<T>;
    type Log<T: DeliveryLog + Clone + 'static> = Faulty<T>;
    type Search<T: DeliverySearch + Clone + 'static> = Faulty<T>;
    type Management<T: ManagementStore + Clone + 'static> = Faulty<T>;
    type Redelivery<T: Redelivery + Clone + 'static> = Faulty<T>;
    type Publisher<T: DeliveryPublisher + Clone + 'static> = FaultyPublisher<T>;
    type Direct<T: DirectPublisher + Clone + 'static> = FaultyPublisher<T>;
    type Queue<T: DeliveryQueue + Clone + 'static> = Faulty<T>;
    type Recorder<T: DeliveryRecorder + Clone + 'static> = Faulty<T>;
    type Endpoints<T: EndpointDirectory + Clone + 'static> = Faulty<T>;
    type Keys<T: KeyStore + Clone + 'static> = Faulty<T>;
    type Limiter<T: RateLimiter + Clone + 'static> = Faulty<T>;
    type Subscriptions<T: SubscriptionStore + Clone + 'static> = Faulty<T>;

    fn catalog<T: Catalog + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn log<T: DeliveryLog + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn search<T: DeliverySearch + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn management<T: ManagementStore + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn redelivery<T: Redelivery + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn publisher<T: DeliveryPublisher + Clone + 'static>(adapter: T) -> FaultyPublisher<T> {
        FaultyPublisher::new(adapter, FaultScript::default())
    }

    fn direct<T: DirectPublisher + Clone + 'static>(adapter: T) -> FaultyPublisher<T> {
        FaultyPublisher::new(adapter, FaultScript::default())
    }

    fn queue<T: DeliveryQueue + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn recorder<T: DeliveryRecorder + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn endpoints<T: EndpointDirectory + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn keys<T: KeyStore + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn limiter<T: RateLimiter + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }

    fn subscriptions<T: SubscriptionStore + Clone + 'static>(adapter: T) -> Faulty<T> {
        Faulty::new(adapter, CallScript::default())
    }
}

mod faulty {
    use super::*;

    type Wrapped = Formed<Memory, WithoutFaults>;

    nahook_testkit::catalog_conformance!(Wrapped);
    nahook_testkit::direct_conformance!(Wrapped);
    nahook_testkit::endpoint_conformance!(Wrapped);
    nahook_testkit::key_conformance!(Wrapped);
    nahook_testkit::limiter_conformance!(Formed<Gcra, WithoutFaults>);
    nahook_testkit::log_conformance!(Wrapped);
    nahook_testkit::management_conformance!(Wrapped);
    nahook_testkit::redelivery_conformance!(Wrapped);
    nahook_testkit::search_conformance!(Wrapped);
    nahook_testkit::publisher_conformance!(Wrapped);
    nahook_testkit::queue_conformance!(Wrapped);
    nahook_testkit::recorder_conformance!(Wrapped);
    nahook_testkit::subscription_conformance!(Wrapped);
}

/// The recording publisher is a publisher like any other.
struct Recording(RecordingPublisher);

impl PublisherHarness for Recording {
    type Publisher = RecordingPublisher;

    async fn start() -> Self {
        Self(RecordingPublisher::default())
    }

    fn publisher(&self) -> RecordingPublisher {
        self.0.clone()
    }

    async fn apply(&self, _: &Manifest) {}

    async fn held(&self) -> Vec<HeldDelivery> {
        self.0.held()
    }

    async fn restart(self) -> Option<Self> {
        None
    }

    async fn make_unreachable(&self) -> bool {
        false
    }
}

mod recording {
    use super::*;

    nahook_testkit::publisher_conformance!(Recording, every_form);
}

/// A faulty publisher whose queue can be out of reach, and which writes all or nothing until then.
struct Unreachable(FaultyPublisher<RecordingPublisher>);

#[derive(Clone)]
struct RollingBack(FaultyPublisher<RecordingPublisher>);

impl DeliveryPublisher for RollingBack {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        self.0.publish(event, deliveries).await;
    }
}

impl PublisherHarness for Unreachable {
    type Publisher = RollingBack;

    async fn start() -> Self {
        Self(FaultyPublisher::recording(
            FaultScript::default().rolling_back(),
        ))
    }

    fn publisher(&self) -> RollingBack {
        RollingBack(self.0.clone())
    }

    async fn apply(&self, _: &Manifest) {}

    async fn held(&self) -> Vec<HeldDelivery> {
        self.0.held()
    }

    async fn restart(self) -> Option<Self> {
        None
    }

    async fn make_unreachable(&self) -> bool {
        use nahook_core::FailureKind::QueueUnavailable;
        use nahook_testkit::{Answer, Fault};
        let refused = Fault::new(false, Answer::Fail(QueueUnavailable));
        self.0.set_script(FaultScript::uniform(refused, 10_000));
        true
    }
}

mod rolling_back {
    use super::*;

    nahook_testkit::publisher_conformance!(Unreachable);
}
