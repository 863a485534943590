use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, MessageId};
use proptest::prelude::*;

use super::{DeliveryState, DeliveryStatus, Next};
use crate::{Attempt, Lease, LeaseToken, Settlement};

#[derive(Clone, Debug)]
enum Event {
    Lease,
    Expire,
    Settle(Settlement),
    QueueAgain(Timestamp),
}

proptest! {
    #[test]
    fn no_sequence_of_events_leaves_the_machine(events in prop::collection::vec(event(), 0..60)) {
        let (mut state, mut attempts, mut is_leased) = (DeliveryState::Pending, 0, false);
        for event in events {
            let before = (state, attempts);
            match &event {
                Event::Lease => is_leased = !state.has_ended(),
                Event::Expire => is_leased = false,
                Event::Settle(settlement) if is_leased => {
                    is_leased = false;
                    attempts = settlement.attempts_after(attempts);
                    let moved = settlement.next.state().unwrap_or(state);
                    prop_assert_eq!(state.settled(settlement.next), Some(moved));
                    state = moved;
                }
                Event::Settle(settlement) => {
                    let moved = state.settled(settlement.next);
                    prop_assert_eq!(moved.is_none(), state.has_ended());
                }
                Event::QueueAgain(at) => {
                    let again = state.queued_again(attempts, *at);
                    prop_assert_eq!(again.is_some(), state.status().is_given_up());
                    if let Some(again) = again {
                        prop_assert_eq!(again == DeliveryState::Pending, attempts == 0);
                        prop_assert!(attempts == 0 || again == DeliveryState::Retry(*at));
                        state = again;
                    }
                }
            }
            prop_assert!((before.1..=before.1 + 1).contains(&attempts), "attempts are never counted down");
            prop_assert!(before.0 != DeliveryState::Delivered || state == before.0, "what was delivered stays so");
            let is_kept = !before.0.has_ended() || matches!(event, Event::QueueAgain(_));
            prop_assert!(is_kept || state == before.0, "what was given up is moved by being queued again alone");
            let status = state.status();
            prop_assert_eq!(status.while_leased(is_leased) == DeliveryStatus::Delivering, is_leased);
            prop_assert_eq!(state.retry_at().is_some(), status == DeliveryStatus::ScheduledRetry);
            let same = DeliveryState::of(status, state.retry_at().unwrap_or_default());
            prop_assert_eq!(same, Some(state));
            prop_assert_eq!(DeliveryStatus::from_code(state.code().into()), Some(status));
        }
    }
}

#[test]
fn settlement_moves_all_that_has_not_ended_and_nothing_else() {
    let [first, second] = [1, 2].map(Timestamp::from_millis);
    for open in [DeliveryState::Pending, DeliveryState::Retry(first)] {
        assert!(!open.has_ended());
        for (next, settled) in [
            (Next::DeadLetter, DeliveryState::DeadLetter),
            (Next::Delivered, DeliveryState::Delivered),
            (Next::Failed, DeliveryState::Failed),
            (Next::Release, open),
            (Next::Retry(second), DeliveryState::Retry(second)),
        ] {
            assert_eq!(open.settled(next), Some(settled));
        }
    }
    for ended in [
        DeliveryState::DeadLetter,
        DeliveryState::Delivered,
        DeliveryState::Failed,
    ] {
        assert!(ended.has_ended());
        for next in [Next::Delivered, Next::Release, Next::Retry(second)] {
            assert_eq!(ended.settled(next), None);
        }
    }
}

/// Stores and their SQL have these numbers.
#[test]
fn states_keep_their_codes_and_their_order() {
    let retry = DeliveryState::Retry(Timestamp::default());
    let coded = [
        DeliveryState::Pending,
        retry,
        DeliveryState::Delivered,
        DeliveryState::Failed,
        DeliveryState::DeadLetter,
    ];
    assert_eq!(coded.map(DeliveryState::code), [0, 1, 2, 3, 4]);
    let ranked = [
        DeliveryState::Pending,
        retry,
        DeliveryState::Failed,
        DeliveryState::DeadLetter,
        DeliveryState::Delivered,
    ];
    assert_eq!(ranked.map(DeliveryState::rank), [0, 1, 2, 3, 4]);
}

#[test]
fn words_and_codes_are_read_as_they_are_written() {
    for status in DeliveryStatus::ALL {
        assert_eq!(DeliveryStatus::parse(status.as_str()), Some(status));
        match status.code() {
            Some(code) => assert_eq!(DeliveryStatus::from_code(code.into()), Some(status)),
            None => assert_eq!(status, DeliveryStatus::Delivering),
        }
    }
    assert_eq!(DeliveryStatus::parse("Pending"), None);
    assert!([-1, 5, 256].map(DeliveryStatus::from_code) == [None; 3]);
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Lease),
        1 => Just(Event::Expire),
        4 => settlement().prop_map(Event::Settle),
        1 => instant().prop_map(Event::QueueAgain),
    ]
}

fn settlement() -> impl Strategy<Value = Settlement> {
    let next = prop_oneof![
        1 => Just(Next::DeadLetter),
        1 => Just(Next::Delivered),
        1 => Just(Next::Failed),
        3 => Just(Next::Release),
        6 => instant().prop_map(Next::Retry),
    ];
    (next, any::<bool>()).prop_map(|(next, was_attempted)| Settlement {
        lease: Lease {
            delivery: DeliveryId::nth(MessageId::from_bits(7), 0),
            token: LeaseToken(1),
        },
        attempt: was_attempted.then(|| Attempt {
            started_at: Timestamp::default(),
            duration: std::time::Duration::ZERO,
            status_code: None,
            error: None,
            response_body: None,
        }),
        next,
    })
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (1_u64..1_000).prop_map(Timestamp::from_millis)
}

#[test]
fn body_is_kept_as_text_that_every_store_takes() {
    let max = Attempt::RESPONSE_BODY_LEN_MAX;
    assert_eq!(Attempt::body_text(b""), None);
    assert_eq!(
        Attempt::body_text(b"a\0\xff").as_deref(),
        Some("a\u{fffd}\u{fffd}")
    );
    for body in [
        vec![b'x'; 1 << 20],
        vec![0xff; 1 << 20],
        "é".repeat(max).into_bytes(),
    ] {
        let text = Attempt::body_text(&body).unwrap();
        assert!((max - 3..=max).contains(&text.len()), "{}", text.len());
    }
}
