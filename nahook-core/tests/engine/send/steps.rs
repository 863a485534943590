//! The order of the steps of a Send, and that each refusal ends it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_core::admission::{Caller, LimiterDown, Verdict};
use nahook_core::id::EndpointId;
use nahook_core::{
    EndpointState, FailureKind, IdempotencyKey, NewSend, Outcome, SendError, StoreErrorKind,
};
use tokio::time::sleep;

use crate::ports::{NOBODY, Ports, bound_to, caller, capped, out_of_reach, ready, send, send_to};

#[tokio::test(start_paused = true)]
async fn a_send_is_let_in_then_looked_up_then_published() {
    let played = Ports::default()
        .limiter(|asked| {
            assert_eq!(*asked, caller());
            ready(Ok(Verdict::Admit))
        })
        .endpoints(|ids, scope| {
            assert_eq!(*ids, [send().endpoint]);
            assert_eq!(*scope, caller().scope());
            ready(Ok(vec![EndpointState::Active]))
        })
        .sender(|event, slot| {
            assert_eq!(slot.endpoint(), send().endpoint);
            assert_eq!(event.idempotency_key, send().idempotency_key);
            assert_eq!(event.payload, send().payload);
            assert_eq!(event.workspace, caller().workspace);
            assert_eq!(event.event_type, None);
            let unknown = Outcome::Failed(FailureKind::Unconfirmed);
            assert_eq!(slot.outcome(), unknown);
            slot.mark_published();
            ready(())
        })
        .play_send(&caller())
        .await;
    assert_eq!(played.calls, ["limiter", "store", "publisher"]);
    let sent = played.answer.as_ref().unwrap();
    assert_eq!(Some(&sent.idempotency_key), send().idempotency_key.as_ref());
    assert!(!sent.is_replay && !sent.limiter_bypassed);
}

#[tokio::test(start_paused = true)]
async fn a_send_past_the_endpoint_that_its_key_is_bound_to_asks_nobody() {
    let other = EndpointId::from_bits(2);
    let played = Ports::default().play_send(&bound_to(other)).await;
    assert_eq!(played.calls, NOBODY);
    let answer = &played.answer;
    assert!(matches!(answer, Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn a_send_to_the_endpoint_that_its_key_is_bound_to_is_published() {
    let ports = Ports::default().admits().finds_endpoints().sends();
    let played = ports.play_send(&bound_to(send().endpoint)).await;
    assert!(played.answer.is_ok(), "{played:?}");
}

#[tokio::test(start_paused = true)]
async fn a_send_over_the_cap_asks_nobody_and_one_of_exactly_the_cap_is_published() {
    let len = send().payload.len();
    let played = Ports::default().play_send(&capped(len - 1)).await;
    assert_eq!(played.calls, NOBODY);
    match &played.answer {
        Err(SendError::PayloadTooLarge { len: is, len_max }) => {
            assert_eq!((*is, *len_max), (len, len - 1));
        }
        other => panic!("{other:?}"),
    }
    let ports = Ports::default().admits().finds_endpoints().sends();
    assert!(ports.play_send(&capped(len)).await.answer.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_scope_of_a_send_is_judged_before_its_size() {
    let bound_and_capped = Caller {
        endpoint: Some(EndpointId::from_bits(2)),
        ..capped(0)
    };
    let played = Ports::default().play_send(&bound_and_capped).await;
    assert_eq!(played.calls, NOBODY);
    let answer = &played.answer;
    assert!(matches!(answer, Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn a_send_over_the_limit_is_told_how_long_and_nobody_else_is_asked() {
    let wait = Duration::from_millis(1_234);
    let refusal = Verdict::Refuse { retry_after: wait };
    let ports = Ports::default().limiter(move |_| ready(Ok(refusal)));
    let played = ports.play_send(&caller()).await;
    assert_eq!(played.calls, ["limiter"]);
    assert!(matches!(
        &played.answer,
        Err(SendError::RateLimited { retry_after }) if *retry_after == wait
    ));
}

#[tokio::test(start_paused = true)]
async fn a_send_passes_a_limiter_that_is_down_or_not_as_the_settings_say() {
    let down = || Ports::default().limiter(|_| ready(Err(out_of_reach())));
    let played = down().finds_endpoints().sends().play_send(&caller()).await;
    assert!(played.answer.unwrap().limiter_bypassed);

    let ports = down();
    let ports = ports.limiter_down(LimiterDown::Refuse);
    let played = ports.play_send(&caller()).await;
    assert_eq!(played.calls, ["limiter"]);
    let answer = &played.answer;
    assert!(matches!(answer, Err(SendError::LimiterUnavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_active_is_published_nothing() {
    for state in [EndpointState::Disabled, EndpointState::Unknown] {
        let ports = Ports::default().admits();
        let ports = ports.endpoints(move |_, _| ready(Ok(vec![state])));
        let played = ports.play_send(&caller()).await;
        assert_eq!(played.calls, ["limiter", "store"]);
        match (state, &played.answer) {
            (EndpointState::Disabled, Err(SendError::EndpointDisabled))
            | (EndpointState::Unknown, Err(SendError::UnknownEndpoint)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_for_too_few_endpoints_knows_nothing_of_the_others() {
    let ports = Ports::default().grants(2, 2, None).sends();
    let ports = ports.endpoints(|_, _| ready(Ok(vec![EndpointState::Active])));
    let sends = [1, 2].map(send_to).to_vec();
    let played = ports.play_sends(sends, &caller()).await;
    assert!(played.answer[0].is_ok());
    assert!(matches!(played.answer[1], Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_or_panics_publishes_nothing() {
    let down = Ports::default()
        .admits()
        .endpoints(|_, _| ready(Err(out_of_reach())));
    let broken = Ports::default()
        .admits()
        .endpoints(|_, _| panic!("planned"));
    for (ports, kind) in [
        (down, StoreErrorKind::Unavailable),
        (broken, StoreErrorKind::Internal),
    ] {
        let played = ports.play_send(&caller()).await;
        assert_eq!(played.calls, ["limiter", "store"]);
        match &played.answer {
            Err(SendError::StoreUnavailable(error)) => assert_eq!(error.kind(), kind),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_sends_asks_limiter_and_store_once_and_publishes_each() {
    let ports = Ports::default().grants(4, 4, None).endpoints(|ids, _| {
        assert_eq!(*ids, [3, 2, 1, 3].map(EndpointId::from_bits));
        let state = |id: &EndpointId| {
            if *id == EndpointId::from_bits(2) {
                EndpointState::Unknown
            } else {
                EndpointState::Active
            }
        };
        ready(Ok(ids.iter().map(state).collect()))
    });
    let ports = ports.sender(|event, slot| {
        let to = if slot.endpoint() == EndpointId::from_bits(1) {
            1
        } else {
            3
        };
        assert_eq!(event.payload, send_to(to).payload);
        slot.mark_published();
        ready(())
    });
    let sends = [3, 2, 1, 3].map(send_to).to_vec();
    let played = ports.play_sends(sends, &caller()).await;
    let published = ["publisher"; 3];
    assert_eq!(
        played.calls,
        [&["limiter", "store"], &published[..]].concat()
    );
    let is_sent: Vec<_> = played.answer.iter().map(Result::is_ok).collect();
    assert_eq!(is_sent, [true, false, true, true]);
    assert!(matches!(played.answer[1], Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn of_several_sends_with_one_key_the_first_is_published_first() {
    let keyed = |endpoint, key| NewSend {
        idempotency_key: Some(IdempotencyKey::new(key).unwrap()),
        ..send_to(endpoint)
    };
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let ports = Ports::default().grants(5, 5, None).finds_endpoints();
    let ports = ports.sender(move |event, slot| {
        let key = event.idempotency_key.clone().unwrap();
        let scope = (slot.endpoint(), key);
        seen.lock().unwrap().push((scope.clone(), "began"));
        slot.mark_published();
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            seen.lock().unwrap().push((scope, "ended"));
        })
    });
    let sends = vec![
        keyed(1, "k"),
        keyed(1, "k"),
        keyed(2, "k"),
        keyed(1, "other"),
        keyed(1, "k"),
    ];
    let played = ports.play_sends(sends, &caller()).await;
    assert!(played.answer.iter().all(Result::is_ok));
    let steps = steps.lock().unwrap();
    let same = (EndpointId::from_bits(1), IdempotencyKey::new("k").unwrap());
    let of_same = steps.iter().filter(|(scope, _)| *scope == same);
    let words: Vec<_> = of_same.map(|(_, word)| *word).collect();
    assert_eq!(words, ["began", "ended"].repeat(3), "one after the other");
    let first: Vec<_> = steps[..3].iter().map(|(_, word)| *word).collect();
    assert_eq!(first, ["began"; 3], "nobody else waits for them");
}

#[tokio::test(start_paused = true)]
async fn the_first_sends_of_a_batch_get_what_tokens_there_are() {
    let wait = Duration::from_secs(9);
    // One of the four is too large and asks for no token.
    let mut sends = [1, 2, 3, 4].map(send_to).to_vec();
    sends[1] = send_to(u128::from(u64::MAX));
    let cap = capped(send_to(1).payload.len());
    let ports = Ports::default()
        .grants(3, 2, Some(wait))
        .finds_endpoints()
        .sends();
    let played = ports.play_sends(sends, &cap).await;
    assert!(matches!(
        &played.answer[..],
        [
            Ok(_),
            Err(SendError::PayloadTooLarge { .. }),
            Ok(_),
            Err(SendError::RateLimited { retry_after }),
        ] if *retry_after == wait
    ));
}

#[tokio::test(start_paused = true)]
async fn an_empty_batch_of_sends_asks_nobody() {
    let played = Ports::default().play_sends(Vec::new(), &caller()).await;
    assert_eq!(played.calls, NOBODY);
    assert!(played.answer.is_empty());
}
