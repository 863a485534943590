//! Without a deadline of the caller's an answer comes within the engine's timeout, counted from the call.

use std::time::Duration;

use nahook_core::{Admission, FanOut, SendError, TriggerError};
use tokio::time::Instant;

use crate::ports::{
    MockLimiter, MockPublisher, MockSubscriptions, caller, event, send, send_to, silence,
};

const OWN: Duration = Duration::from_secs(3);

fn silent_fan_out() -> FanOut<MockSubscriptions, MockPublisher> {
    let mut subscriptions = MockSubscriptions::new();
    subscriptions
        .expect_subscribers()
        .returning(|_, _| silence());
    subscriptions
        .expect_endpoint_states()
        .returning(|_, _| silence());
    FanOut::new(subscriptions, MockPublisher::new()).with_timeout(OWN)
}

fn silently_admitted() -> Admission<MockSubscriptions, MockPublisher, MockLimiter> {
    let mut limiter = MockLimiter::new();
    limiter.expect_check().returning(|_| silence());
    limiter.expect_check_many().returning(|_, _| silence());
    Admission::new(silent_fan_out(), limiter)
}

/// Each answer of the future is that the deadline has passed, after the engine's own timeout.
macro_rules! expect_late {
    ($error:ident, $answers:expr) => {
        let began = Instant::now();
        for answer in $answers.await {
            assert!(matches!(answer, Err($error::DeadlineExceeded)));
        }
        assert_eq!(began.elapsed(), OWN);
    };
}

#[tokio::test(start_paused = true)]
async fn a_trigger_waits_for_the_engines_timeout() {
    let engine = silent_fan_out();
    assert_eq!(engine.timeout(), OWN);
    let workspace = caller().workspace;
    expect_late!(TriggerError, async {
        [engine.trigger(event(), workspace).await]
    });
    let batch = || vec![event(), event()];
    expect_late!(TriggerError, engine.trigger_batch(batch(), workspace));
    let engine = silently_admitted();
    expect_late!(TriggerError, async {
        [engine.trigger(event(), &caller()).await]
    });
    expect_late!(TriggerError, async {
        engine.trigger_batch(batch(), &caller()).await.unwrap()
    });
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_the_engines_timeout() {
    let engine = silent_fan_out();
    let workspace = caller().workspace;
    expect_late!(SendError, async { [engine.send(send(), workspace).await] });
    let batch = || vec![send_to(1), send_to(2)];
    expect_late!(SendError, engine.send_batch(batch(), workspace));
    let engine = silently_admitted();
    expect_late!(SendError, async { [engine.send(send(), &caller()).await] });
    expect_late!(SendError, engine.send_batch(batch(), &caller()));
}
