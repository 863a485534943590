//! A panic of an adapter ends that adapter's step and nothing else.

use std::time::Duration;

use nahook_core::{
    Delivery, FailureKind, FanOutSettings, LimiterDown, Outcome, StoreErrorKind, TriggerError,
};
use tokio::time::sleep;

use crate::ports::{Answer, Ports, caller};

/// When a port panics: before it has made a future, or in it.
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

        let mut ports = Ports::default().limiter(move |_| moment.panicking());
        ports.settings = FanOutSettings {
            limiter_down: LimiterDown::Refuse,
            ..FanOutSettings::default()
        };
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
            deliveries[0].published();
            deliveries[1].failed(FailureKind::PayloadTooLarge);
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
