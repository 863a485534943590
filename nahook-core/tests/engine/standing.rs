//! Callers are told of their limits, whatever the limiter does.

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_core::admission::{Allowance, Caller, Plan, Rate};
use nahook_core::{Admission, FanOut, StoreError, Timestamp};
use nahook_testkit::ManualClock;
use tokio::time::Instant;

use crate::ports::{
    Answer, MockLimiter, MockPublisher, MockSubscriptions, TIMEOUT, caller, out_of_reach, ready,
    silence,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A caller whose workspace may spend 9 a second and whose key 4.
fn limited() -> Caller {
    let rate = |count| Rate::per_second(NonZeroU32::new(count).unwrap());
    Caller {
        plan: Plan {
            workspace_rate: rate(9),
            key_rate: rate(4),
            ..Plan::default()
        },
        ..caller()
    }
}

/// Returns what the engine says of [`limited`] over a limiter that answers that, and how long it took.
async fn told(
    peek: impl Fn(&Caller) -> Answer<Result<Allowance, StoreError>> + Send + 'static,
) -> (Allowance, Duration) {
    let mut limiter = MockLimiter::new();
    limiter.expect_peek().returning(peek);
    let fan_out = FanOut::new(MockSubscriptions::new(), MockPublisher::new());
    let engine = Admission::new(fan_out.with_clock(ManualClock::starting_at(NOW)), limiter);
    let began = Instant::now();
    let allowance = engine.standing_by(began + TIMEOUT, &limited()).await;
    (allowance, began.elapsed())
}

/// The tighter of the plan's two rates, unspent.
const OF_THE_PLAN: Allowance = Allowance {
    limit: 4,
    remaining: 4,
    reset_at: NOW,
};

#[tokio::test(start_paused = true)]
async fn the_limiters_own_numbers_are_told() {
    let known = Allowance {
        limit: 4,
        remaining: 1,
        reset_at: NOW.saturating_add(Duration::from_millis(750)),
    };
    let answer = told(move |asked| {
        assert_eq!(*asked, limited());
        ready(Ok(known))
    });
    assert_eq!(answer.await, (known, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_does_not_answer_leaves_the_plans_numbers() {
    let down = told(|_| ready(Err(out_of_reach())));
    assert_eq!(down.await, (OF_THE_PLAN, Duration::ZERO));
    let silent = told(|_| silence());
    assert_eq!(silent.await, (OF_THE_PLAN, TIMEOUT));
    let panicking = told(|_| panic!("planted"));
    assert_eq!(panicking.await, (OF_THE_PLAN, Duration::ZERO));
}
