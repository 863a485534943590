//! Defaults of an engine, and the time that it gives to events.

use std::time::Duration;

use nahook_core::id::EndpointId;
use nahook_core::{Admission, Clock as _, FanOut, MemoryQueue, MemorySubscriptions, StoreError};
use nahook_testkit::ManualClock;

use crate::ports::{MockLimiter, caller, event, ready, send_to};

/// An engine over a queue in memory, with two endpoints.
fn fan_out() -> (FanOut<MemorySubscriptions, MemoryQueue>, MemoryQueue) {
    let (subscriptions, queue) = (MemorySubscriptions::default(), MemoryQueue::default());
    for endpoint in [1, 2] {
        let endpoint = EndpointId::from_bits(endpoint);
        subscriptions.subscribe(caller().workspace, event().event_type.into(), endpoint);
    }
    (FanOut::new(subscriptions, queue.clone()), queue)
}

#[tokio::test]
async fn call_may_take_five_seconds() {
    assert_eq!(fan_out().0.timeout(), Duration::from_secs(5));
}

#[tokio::test]
async fn limiter_that_is_down_lets_everybody_in_and_each_answer_says_so() {
    let mut limiter = MockLimiter::new();
    let down = || StoreError::unavailable("planted");
    limiter
        .expect_check()
        .returning(move |_| ready(Err(down())));
    limiter
        .expect_check_many()
        .returning(move |_, _| ready(Err(down())));
    let engine = Admission::new(fan_out().0, limiter);
    let caller = caller();
    let receipt = engine.trigger(event(), &caller).await.unwrap();
    assert!(receipt.limiter_bypassed());
    assert!(
        engine
            .send(send_to(1), &caller)
            .await
            .unwrap()
            .limiter_bypassed
    );
    for sent in engine
        .send_batch(vec![send_to(1), send_to(2)], &caller)
        .await
    {
        assert!(sent.unwrap().limiter_bypassed);
    }
}

#[tokio::test]
async fn events_are_accepted_when_the_engines_clock_says() {
    let clock = ManualClock::default();
    let (engine, queue) = fan_out();
    let engine = engine.with_clock(clock.clone());
    clock.advance(Duration::from_secs(7));
    engine.trigger(event(), caller().workspace).await.unwrap();
    engine.send(send_to(1), caller().workspace).await.unwrap();
    let accepted = queue.take().into_iter().map(|(event, _)| event.accepted_at);
    assert_eq!(accepted.collect::<Vec<_>>(), [clock.now(); 3]);
}
