//! The deadline in each step of a Send. Time is paused, so every duration is exact.

use std::time::Duration;

use nahook_core::admission::Verdict;
use nahook_core::id::{DeliveryId, EndpointId, MessageId};
use nahook_core::{EndpointState, FailureKind, SendError};
use tokio::time::{Instant, sleep};

use crate::ports::{Ports, SendPlayed, TIMEOUT, after, caller, send_to, silence};

const ALMOST: Duration = Duration::from_millis(4_999);
const MS: Duration = Duration::from_millis(1);

impl SendPlayed {
    fn is_late(&self) -> bool {
        matches!(self.answer, Err(SendError::DeadlineExceeded))
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_limiter_costs_a_send_the_deadline_and_nothing_is_looked_up() {
    let ports = Ports::default().limiter(|_| silence());
    let played = ports.play_send(&caller()).await;
    assert!(played.is_late());
    assert_eq!(played.calls, ["limiter"]);
    assert_eq!(played.elapsed, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_what_the_limiter_has_left_and_nothing_is_published() {
    let ports = Ports::default()
        .limiter(|_| after(ALMOST, Ok(Verdict::Admit)))
        .endpoints(|_, _| silence());
    let played = ports.play_send(&caller()).await;
    assert!(played.is_late());
    assert_eq!(played.calls, ["limiter", "store"]);
    assert_eq!(played.elapsed, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ends_with_the_deadline_lets_nothing_be_published() {
    let ports = Ports::default().admits();
    let ports = ports.endpoints(|_, _| after(TIMEOUT, Ok(vec![EndpointState::Active])));
    let played = ports.play_send(&caller()).await;
    assert!(played.is_late());
    assert_eq!(played.calls, ["limiter", "store"]);
}

#[tokio::test(start_paused = true)]
async fn a_send_whose_deadline_has_passed_already_is_not_published() {
    let deadline = Instant::now();
    sleep(MS).await;
    let ports = Ports::default().admits().finds_endpoints().sends();
    let played = ports.play_send_by(deadline, &caller()).await;
    assert!(played.is_late());
    assert_eq!(played.elapsed, Duration::ZERO);
    assert!(!played.calls.contains(&"publisher"));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_takes_a_send_just_in_time_is_heard() {
    let ports = Ports::default().admits().finds_endpoints();
    let ports = ports.sender(|_, slot| {
        slot.mark_published();
        after(ALMOST, ())
    });
    let played = ports.play_send(&caller()).await;
    assert!(played.answer.is_ok());
    assert_eq!(played.elapsed, ALMOST);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_of_each_send_at_the_deadline_is_kept() {
    let ports = Ports::default().grants(4, 4, None).finds_endpoints();
    let earlier = DeliveryId::nth(MessageId::from_bits(77), 0);
    let ports = ports.sender(move |_, slot| {
        match [1, 2, 3]
            .map(EndpointId::from_bits)
            .iter()
            .position(|id| *id == slot.endpoint())
        {
            Some(0) => slot.mark_published(),
            Some(1) => slot.mark_failed(FailureKind::QueueUnavailable),
            Some(_) => slot.mark_replayed(earlier),
            None => {}
        }
        silence()
    });
    let sends = [1, 2, 3, 4].map(send_to).to_vec();
    let played = ports.play_sends(sends, &caller()).await;
    assert_eq!(played.elapsed, TIMEOUT);
    let [Ok(first), Err(late), Ok(third), Err(unconfirmed)] = &played.answer[..] else {
        panic!("{played:?}")
    };
    assert!(!first.is_replay && third.is_replay);
    assert_eq!(third.delivery, earlier);
    // Rolled back at the deadline: nothing was queued, and trying again is safe.
    assert!(matches!(late, SendError::DeadlineExceeded));
    assert!(matches!(
        unconfirmed,
        SendError::Unconfirmed {
            is_keyed: false,
            ..
        }
    ));
}
