//! The wrappers do what their scripts say.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use nahook_core::admission::{Allowance, Grant, Verdict};
use nahook_core::id::EndpointId;
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, FailureKind, Outcome, RateLimiter, StoreErrorKind,
};
use nahook_testkit::declare::{caller, deliveries, event, nth_endpoint_id};
use nahook_testkit::{
    Answer, CallAnswer, CallFault, CallScript, Fault, FaultScript, Faulty, FaultyPublisher,
    ManualClock, Order, RecordingPublisher, TokioClock,
};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const PUBLISHED: Outcome = Outcome::Published;
const UNCONFIRMED: Outcome = Outcome::Failed(FailureKind::Unconfirmed);
const UNAVAILABLE: Outcome = Outcome::Failed(FailureKind::QueueUnavailable);

/// Publishes to so many endpoints and gives up after that time; answers whether it ended before.
async fn publish(
    publisher: &FaultyPublisher<RecordingPublisher>,
    width: usize,
    patience: Duration,
) -> (Vec<Delivery>, bool) {
    let event = event("ws_shop", "order.paid", 1, ManualClock::default().now());
    let endpoints: Vec<EndpointId> = (0..width).map(nth_endpoint_id).collect();
    let mut slots = deliveries(&event, &endpoints);
    let ended = timeout(patience, publisher.publish(&event, &mut slots)).await;
    (slots, ended.is_ok())
}

fn outcomes(slots: &[Delivery]) -> Vec<Outcome> {
    slots.iter().map(Delivery::outcome).collect()
}

/// The numbers of the endpoints whose deliveries the queue holds, in the order of taking.
fn held(publisher: &FaultyPublisher<RecordingPublisher>) -> Vec<usize> {
    let held = publisher.held();
    let number = |endpoint| (0..100).find(|n| nth_endpoint_id(*n) == endpoint);
    held.iter()
        .filter_map(|held| number(held.endpoint))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn taken_and_acknowledged_are_independent() {
    let lost = Answer::Fail(FailureKind::Unconfirmed);
    let script = FaultScript::new([
        Fault::new(true, Answer::Acknowledge),
        Fault::new(true, lost),
        Fault::new(false, lost),
        Fault::new(false, Answer::Acknowledge),
        Fault::new(true, Answer::Omit),
    ]);
    assert!(!script.is_honest());
    let publisher = FaultyPublisher::recording(script);
    let (slots, ended) = publish(&publisher, 6, SECOND).await;
    assert!(ended);
    assert_eq!(
        outcomes(&slots),
        [
            PUBLISHED,
            UNCONFIRMED,
            UNCONFIRMED,
            PUBLISHED,
            UNCONFIRMED,
            PUBLISHED
        ]
    );
    assert_eq!(held(&publisher), [0, 1, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn silence_and_delay_hold_no_sibling_back() {
    let script = FaultScript::new([
        Fault::new(true, Answer::Silence),
        Fault::NONE.after(2 * SECOND, SECOND),
        Fault::NONE.after(SECOND, SECOND),
        Fault::NONE.after(10 * SECOND, Duration::ZERO),
        Fault::NONE,
    ]);
    let expected = [
        (Duration::ZERO, vec![0, 4], vec![4]),
        (SECOND, vec![0, 4, 2], vec![4]),
        (2 * SECOND, vec![0, 4, 2, 1], vec![2, 4]),
        (5 * SECOND, vec![0, 4, 2, 1], vec![1, 2, 4]),
        (60 * SECOND, vec![0, 4, 2, 1, 3], vec![1, 2, 3, 4]),
    ];
    for (patience, taken, published) in expected {
        let publisher = FaultyPublisher::recording(script.clone());
        let patience = patience + Duration::from_millis(1);
        let (slots, ended) = publish(&publisher, 5, patience).await;
        assert!(!ended, "one is silent");
        assert_eq!(held(&publisher), taken, "{patience:?}");
        let found: Vec<_> = (0..5)
            .filter(|n| slots[*n].outcome() == Outcome::Published)
            .collect();
        assert_eq!(found, published, "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_keeps_what_was_resolved_before() {
    let panics = Fault::new(false, Answer::Panic).after(SECOND, Duration::ZERO);
    let late = Fault::NONE.after(2 * SECOND, Duration::ZERO);
    let publisher = FaultyPublisher::recording(FaultScript::new([Fault::NONE, panics, late]));
    let event = event("ws_shop", "order.paid", 1, ManualClock::default().now());
    let mut slots = deliveries(&event, &[0, 1, 2].map(nth_endpoint_id));
    let mut publishing = Box::pin(publisher.publish(&event, &mut slots));
    let panicked = std::future::poll_fn(|context| {
        use std::task::Poll;
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| publishing.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(false),
            Err(_) => Poll::Ready(true),
        }
    })
    .await;
    drop(publishing);
    assert!(panicked);
    assert_eq!(held(&publisher), [0]);
    assert_eq!(
        outcomes(&slots),
        [Outcome::Published, UNCONFIRMED, UNCONFIRMED]
    );
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_rolls_back_writes_all_or_nothing() {
    let slow = Fault::NONE.after(5 * SECOND, Duration::ZERO);
    let script = FaultScript::new([Fault::NONE, slow]).rolling_back();
    let publisher = FaultyPublisher::recording(script.clone());
    let (slots, ended) = publish(&publisher, 3, SECOND).await;
    assert!(!ended);
    assert_eq!(outcomes(&slots), [UNAVAILABLE; 3]);
    assert!(held(&publisher).is_empty());
    let (slots, ended) = publish(&publisher, 3, 60 * SECOND).await;
    assert!(ended);
    assert_eq!(outcomes(&slots), [Outcome::Published; 3]);
    assert_eq!(held(&publisher).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_taken_in_the_order_of_the_script() {
    let forward: Vec<usize> = (0..50).collect();
    let taken = async |order| {
        let slow = Fault::NONE.after(SECOND, Duration::ZERO);
        let script = FaultScript::uniform(slow, 50).in_order(order);
        let publisher = FaultyPublisher::recording(script);
        publish(&publisher, 50, 2 * SECOND).await;
        held(&publisher)
    };
    assert_eq!(taken(Order::Forward).await, forward);
    let mut reverse = taken(Order::Reverse).await;
    reverse.reverse();
    assert_eq!(reverse, forward);
    let mut shuffled = taken(Order::Shuffled(7)).await;
    assert_ne!(shuffled, forward);
    assert_eq!(shuffled, taken(Order::Shuffled(7)).await);
    shuffled.sort_unstable();
    assert_eq!(shuffled, forward);
}

/// A limiter that counts whom it has admitted.
#[derive(Clone, Default)]
struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl RateLimiter for Counting {
    async fn check(
        &self,
        _: &nahook_core::admission::Caller,
    ) -> Result<Verdict, nahook_core::StoreError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(Verdict::Admit)
    }

    async fn check_many(
        &self,
        _: &nahook_core::admission::Caller,
        wanted: u32,
    ) -> Result<Grant, nahook_core::StoreError> {
        let admitted = wanted as usize;
        self.0
            .fetch_add(admitted, std::sync::atomic::Ordering::SeqCst);
        Ok(Grant {
            admitted: wanted,
            refused: None,
        })
    }

    async fn peek(
        &self,
        _: &nahook_core::admission::Caller,
    ) -> Result<Allowance, nahook_core::StoreError> {
        Ok(Allowance::unlimited(ManualClock::default().now()))
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_wrong_one_after_the_other() {
    let counting = Counting::default();
    let faulty = Faulty::new(
        counting.clone(),
        CallScript::new([
            CallFault::NONE,
            CallFault::new(CallAnswer::FailBefore(StoreErrorKind::Unavailable)),
            CallFault::new(CallAnswer::FailAfter(StoreErrorKind::Internal)),
            CallFault::slow(3 * SECOND),
            CallFault::new(CallAnswer::Silence),
        ]),
    );
    let caller = caller("ws_shop", "key_one");
    let effects = || counting.0.load(std::sync::atomic::Ordering::SeqCst);
    let kind = |checked: Result<Verdict, nahook_core::StoreError>| checked.unwrap_err().kind();
    assert!(faulty.check(&caller).await.is_ok());
    assert_eq!(
        kind(faulty.check(&caller).await),
        StoreErrorKind::Unavailable
    );
    assert_eq!(effects(), 1, "failed before the effect");
    assert_eq!(kind(faulty.check(&caller).await), StoreErrorKind::Internal);
    assert_eq!(effects(), 2, "failed after the effect");
    let begun = Instant::now();
    assert!(faulty.check(&caller).await.is_ok());
    assert_eq!(begun.elapsed(), 3 * SECOND);
    assert!(timeout(60 * SECOND, faulty.check(&caller)).await.is_err());
    assert!(
        faulty.check(&caller).await.is_ok(),
        "the script is at its end"
    );
    assert_eq!((faulty.calls(), effects()), (6, 4));
}

#[tokio::test(start_paused = true)]
async fn the_clocks_go_as_they_are_told() {
    let manual = ManualClock::default();
    let begun = manual.now();
    tokio::time::sleep(SECOND).await;
    assert_eq!(manual.now(), begun, "it stands still");
    manual.clone().advance(SECOND);
    assert_eq!(manual.now(), begun.saturating_add(SECOND));
    manual.set(begun);
    assert_eq!(manual.now(), begun);
    let tokio_clock = TokioClock::default();
    assert_eq!(tokio_clock.now(), begun);
    tokio::time::sleep(90 * SECOND).await;
    assert_eq!(tokio_clock.now(), begun.saturating_add(90 * SECOND));
}
