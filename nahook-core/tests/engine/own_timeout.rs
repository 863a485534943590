//! Without a deadline of the caller's an answer comes within the settings' time-out, counted from the call.

use std::time::Duration;

use nahook_core::{DirectSend, FanOut, FanOutSettings, SendError, TriggerError};
use tokio::time::Instant;

use crate::direct::ports::{MockDirect, MockEndpoints, send, send_to};
use crate::ports::{MockLimiter, MockPublisher, MockSubscriptions, caller, event, silence};

const OWN: Duration = Duration::from_secs(3);

fn settings() -> FanOutSettings {
    FanOutSettings {
        timeout: OWN,
        ..FanOutSettings::default()
    }
}

fn silent_limiter() -> MockLimiter {
    let mut limiter = MockLimiter::new();
    limiter.expect_check().returning(|_| silence());
    limiter.expect_check_many().returning(|_, _| silence());
    limiter
}

#[tokio::test(start_paused = true)]
async fn triggers_wait_for_the_time_out_of_the_settings() {
    let engine = FanOut::new(
        MockSubscriptions::new(),
        MockPublisher::new(),
        silent_limiter(),
    )
    .with_settings(settings());
    assert_eq!(*engine.settings(), settings());

    let began = Instant::now();
    let answer = engine.trigger(event(), &caller()).await;
    assert!(matches!(answer, Err(TriggerError::DeadlineExceeded)));
    assert_eq!(began.elapsed(), OWN);

    let began = Instant::now();
    let batch = vec![event(), event()];
    let answers = engine.trigger_batch(batch, &caller()).await.unwrap();
    let is_late = |answer: &_| matches!(answer, Err(TriggerError::DeadlineExceeded));
    assert!(answers.len() == 2 && answers.iter().all(is_late));
    assert_eq!(began.elapsed(), OWN);
}

#[tokio::test(start_paused = true)]
async fn sends_wait_for_the_time_out_of_the_settings() {
    let engine = DirectSend::new(MockEndpoints::new(), MockDirect::new(), silent_limiter())
        .with_settings(settings());
    assert_eq!(*engine.settings(), settings());

    let began = Instant::now();
    let answer = engine.send(send(), &caller()).await;
    assert!(matches!(answer, Err(SendError::DeadlineExceeded)));
    assert_eq!(began.elapsed(), OWN);

    let began = Instant::now();
    let answers = engine
        .send_batch(vec![send_to(1), send_to(2)], &caller())
        .await;
    let is_late = |answer: &_| matches!(answer, Err(SendError::DeadlineExceeded));
    assert!(answers.len() == 2 && answers.iter().all(is_late));
    assert_eq!(began.elapsed(), OWN);
}
