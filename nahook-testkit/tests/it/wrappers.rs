//! The kit's own wrappers are transparent while they have no faults to inject: with an empty script they pass the very
//! suites that the adapter behind them passes.

use nahook_control::Manifest;
use nahook_core::{Delivery, DeliveryPublisher, Event};
use nahook_testkit::{
    FaultScript, FaultyPublisher, HeldDelivery, PublisherHarness, RecordingPublisher,
};

use crate::back_ends::{Gcra, Memory};
use crate::formed::{AsObject, Formed, WithoutFaults};

/// Runs every suite on the adapters in memory, wrapped.
macro_rules! every_suite {
    ($form:ty) => {
        type Wrapped = Formed<Memory, $form>;

        nahook_testkit::store_conformance!(Wrapped);
        nahook_testkit::limiter_conformance!(Formed<Gcra, $form>);
    };
}

mod faulty {
    use super::*;

    every_suite!(WithoutFaults);
}

/// The object-safe forms of the ports, behind an `Arc`, are adapters like any other.
mod objects {
    use super::*;

    every_suite!(AsObject);
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

    nahook_testkit::publisher_conformance!(Recording);
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
