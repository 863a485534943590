//! A panic of an adapter ends that adapter's step and nothing else.

use std::time::Duration;

use nahook_core::admission::LimiterDown;
use nahook_core::{
    Delivery, DeliveryPublisher, Event, FailureKind, Outcome, StoreErrorKind, TriggerError,
};
use tokio::time::sleep;

use crate::ports::{Answer, Ports, TIMEOUT, caller};

/// The moment in which a port panics: before it has made a future, or in it.
#[derive(Clone, Copy)]
enum Moment {
    AtOnce,
    AtTheFirstPoll,
    AfterAWait,
}

impl Moment {
    const ALL: [Self; 3] = [Self::AtOnce, Self::AtTheFirstPoll, Self::AfterAWait];

    fn panicking<T: Send + 'static>(self) -> Answer<T> {
        match self {
            Self::AtOnce => panic!("planned"),
            Self::AtTheFirstPoll => Box::pin(async { panic!("planned") }),
            Self::AfterAWait => Box::pin(async {
                sleep(Duration::from_millis(3)).await;
                panic!("planned")
            }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_panics_is_a_limiter_that_is_down() {
    for moment in Moment::ALL {
        let ports = Ports::default().limiter(move |_| moment.panicking());
        let played = ports.finds(1).publishes().play(&caller()).await;
        let receipt = played.answer.unwrap();
        assert!(receipt.limiter_bypassed());
        assert_eq!(receipt.delivery_ids().count(), 1);

        let ports = Ports::default().limiter(move |_| moment.panicking());
        let ports = ports.limiter_down(LimiterDown::Refuse);
        let played = ports.play(&caller()).await;
        assert_eq!(played.calls, ["limiter"]);
        assert!(matches!(
            played.answer,
            Err(TriggerError::LimiterUnavailable(_))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_publishes_nothing() {
    for moment in Moment::ALL {
        let ports = Ports::default().admits();
        let ports = ports.store(move |_, _| moment.panicking());
        let played = ports.play(&caller()).await;
        assert_eq!(played.calls, ["limiter", "store"]);
        match played.answer {
            Err(TriggerError::StoreUnavailable(error)) => {
                assert_eq!(error.kind(), StoreErrorKind::Internal);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_panics_keeps_what_it_resolved() {
    for moment in Moment::ALL {
        let ports = Ports::default().admits().finds(3);
        let ports = ports.publisher(move |_, deliveries| {
            deliveries[0].mark_published();
            deliveries[1].mark_failed(FailureKind::PayloadTooLarge);
            moment.panicking()
        });
        let receipt = ports.play(&caller()).await.answer.unwrap();
        let outcomes: Vec<_> = receipt.deliveries().iter().map(Delivery::outcome).collect();
        assert_eq!(
            outcomes,
            [
                Outcome::Published,
                Outcome::Failed(FailureKind::PayloadTooLarge),
                Outcome::Failed(FailureKind::Unconfirmed),
            ]
        );
    }
}

/// Resolves a slot and panics when it is dropped.
struct BrokenGuard<'a>(&'a mut [Delivery]);

impl Drop for BrokenGuard<'_> {
    fn drop(&mut self) {
        self.0[1].mark_failed(FailureKind::QueueUnavailable);
        panic!("planned");
    }
}

struct BreaksWhenDropped;

impl DeliveryPublisher for BreaksWhenDropped {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        deliveries[0].mark_published();
        let _guard = BrokenGuard(deliveries);
        std::future::pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_panics_when_dropped_keeps_what_it_resolved() {
    let ports = Ports::default().admits().finds(3);
    let played = ports.play_with(BreaksWhenDropped, &caller()).await;
    assert_eq!(played.elapsed, TIMEOUT);
    let receipt = played.answer.unwrap();
    let outcomes: Vec<_> = receipt.deliveries().iter().map(Delivery::outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Published,
            Outcome::Failed(FailureKind::QueueUnavailable),
            Outcome::Failed(FailureKind::Unconfirmed),
        ]
    );
}
