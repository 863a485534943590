//! The order of the steps of a Send, and that each refusal ends it.

use std::sync::Arc;
use std::time::Duration;

use nahook_core::{
    Caller, DirectDelivery, DirectOutcome, EndpointId, EndpointTarget, EnvironmentId, FailureKind,
    FanOutSettings, Grant, LimiterDown, Plan, SendError, StoreError, StoreErrorKind, Verdict,
    WorkspaceId,
};

use super::ports::{SendPorts, reached, send, send_to};
use crate::ports::{caller, ready};

const NOBODY: [&str; 0] = [];

fn out_of_reach() -> StoreError {
    StoreError::unavailable("out of reach")
}

fn bound_to(endpoint: EndpointId) -> Caller {
    Caller {
        endpoint: Some(endpoint),
        ..caller()
    }
}

fn capped(payload_len_max: usize) -> Caller {
    Caller {
        plan: Plan {
            payload_len_max,
            ..Plan::default()
        },
        ..caller()
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_is_let_in_then_looked_up_then_published() {
    let played = SendPorts::new()
        .limiter(|asked| {
            assert_eq!(*asked, caller());
            ready(Ok(Verdict::Admit))
        })
        .directory(|ids| {
            assert_eq!(*ids, [send().endpoint]);
            ready(Ok(vec![Some(Arc::new(reached(ids[0])))]))
        })
        .publisher(|deliveries| {
            let [slot] = deliveries else {
                panic!("{deliveries:?}")
            };
            assert_eq!(slot.endpoint(), send().endpoint);
            assert_eq!(slot.idempotency_key(), send().idempotency_key.as_ref());
            assert_eq!(slot.event().payload, send().payload);
            assert_eq!(slot.event().workspace, caller().workspace);
            assert_eq!(slot.event().event_type, None);
            let unknown = DirectOutcome::Failed(FailureKind::Unconfirmed);
            assert_eq!(slot.outcome(), unknown);
            slot.published();
            ready(())
        })
        .play(&caller())
        .await;
    assert_eq!(played.calls, ["limiter", "directory", "publisher"]);
    let sent = played.answer().as_ref().unwrap();
    assert_eq!(Some(&sent.idempotency_key), send().idempotency_key.as_ref());
    assert!(!sent.is_replay && !sent.limiter_bypassed);
}

#[tokio::test(start_paused = true)]
async fn a_send_past_the_endpoint_that_its_key_is_bound_to_asks_nobody() {
    let other = EndpointId::from_bits(2);
    let played = SendPorts::new().play(&bound_to(other)).await;
    assert_eq!(played.calls, NOBODY);
    let answer = played.answer();
    assert!(matches!(answer, Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn a_send_to_the_endpoint_that_its_key_is_bound_to_is_published() {
    let ports = SendPorts::new().admits().finds().publishes();
    let played = ports.play(&bound_to(send().endpoint)).await;
    assert!(played.answer().is_ok(), "{played:?}");
}

#[tokio::test(start_paused = true)]
async fn a_send_over_the_cap_asks_nobody_and_one_of_exactly_the_cap_is_published() {
    let len = send().payload.len();
    let played = SendPorts::new().play(&capped(len - 1)).await;
    assert_eq!(played.calls, NOBODY);
    match played.answer() {
        Err(SendError::PayloadTooLarge { len: is, len_max }) => {
            assert_eq!((*is, *len_max), (len, len - 1));
        }
        other => panic!("{other:?}"),
    }
    let ports = SendPorts::new().admits().finds().publishes();
    assert!(ports.play(&capped(len)).await.answer().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_scope_of_a_send_is_judged_before_its_size() {
    let bound_and_capped = Caller {
        endpoint: Some(EndpointId::from_bits(2)),
        ..capped(0)
    };
    let played = SendPorts::new().play(&bound_and_capped).await;
    assert_eq!(played.calls, NOBODY);
    let answer = played.answer();
    assert!(matches!(answer, Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn a_send_over_the_limit_is_told_how_long_and_nobody_else_is_asked() {
    let wait = Duration::from_millis(1_234);
    let refusal = Verdict::Refuse { retry_after: wait };
    let ports = SendPorts::new().limiter(move |_| ready(Ok(refusal)));
    let played = ports.play(&caller()).await;
    assert_eq!(played.calls, ["limiter"]);
    assert!(matches!(
        played.answer(),
        Err(SendError::RateLimited { retry_after }) if *retry_after == wait
    ));
}

#[tokio::test(start_paused = true)]
async fn a_send_passes_a_limiter_that_is_down_or_not_as_the_settings_say() {
    let down = || SendPorts::new().limiter(|_| ready(Err(out_of_reach())));
    let played = down().finds().publishes().play(&caller()).await;
    assert!(played.answer().as_ref().unwrap().limiter_bypassed);

    let mut ports = down();
    ports.settings = FanOutSettings {
        limiter_down: LimiterDown::Refuse,
        ..FanOutSettings::default()
    };
    let played = ports.play(&caller()).await;
    assert_eq!(played.calls, ["limiter"]);
    let answer = played.answer();
    assert!(matches!(answer, Err(SendError::LimiterUnavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_the_caller_does_not_reach_is_published_nothing() {
    type Change = fn(&mut EndpointTarget);
    let theirs: Change = |target| target.workspace = WorkspaceId::from_bits(2);
    let staged: Change = |target| target.environment = EnvironmentId::from_bits(2);
    let off: Change = |target| target.is_active = false;
    let theirs_and_off: Change = |target| {
        target.workspace = WorkspaceId::from_bits(2);
        target.is_active = false;
    };
    let production = Caller {
        environment: Some(EnvironmentId::from_bits(1)),
        ..caller()
    };
    for (change, is_disabled) in [
        (Some(theirs), false),
        (Some(staged), false),
        // Whether another workspace's endpoint is switched off is nobody's business.
        (Some(theirs_and_off), false),
        (Some(off), true),
        (None, false),
    ] {
        let ports = SendPorts::new().admits().directory(move |ids| {
            let mut target = reached(ids[0]);
            let found = change.map(|change| {
                change(&mut target);
                Arc::new(target)
            });
            ready(Ok(vec![found]))
        });
        let played = ports.play(&production).await;
        assert_eq!(played.calls, ["limiter", "directory"]);
        match played.answer() {
            Err(SendError::EndpointDisabled) if is_disabled => {}
            Err(SendError::UnknownEndpoint) if !is_disabled => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_down_or_panics_publishes_nothing() {
    let down = SendPorts::new()
        .admits()
        .directory(|_| ready(Err(out_of_reach())));
    let broken = SendPorts::new().admits().directory(|_| panic!("planned"));
    for (ports, kind) in [
        (down, StoreErrorKind::Unavailable),
        (broken, StoreErrorKind::Internal),
    ] {
        let played = ports.play(&caller()).await;
        assert_eq!(played.calls, ["limiter", "directory"]);
        match played.answer() {
            Err(SendError::StoreUnavailable(error)) => assert_eq!(error.kind(), kind),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_sends_asks_each_port_once() {
    let grant = Grant {
        admitted: 4,
        refused: None,
    };
    let ports = SendPorts::new().grants(4, grant).directory(|ids| {
        // Each endpoint once, however often it is sent to.
        let expected = [1, 2, 3].map(EndpointId::from_bits);
        assert_eq!(*ids, expected);
        let found = |id: &EndpointId| (*id != expected[1]).then(|| Arc::new(reached(*id)));
        ready(Ok(ids.iter().map(found).collect()))
    });
    let ports = ports.publisher(|deliveries| {
        let to: Vec<_> = deliveries.iter().map(DirectDelivery::endpoint).collect();
        assert_eq!(to, [3, 1, 3].map(EndpointId::from_bits));
        for slot in deliveries {
            let payload = send_to(if slot.endpoint() == EndpointId::from_bits(1) {
                1
            } else {
                3
            });
            assert_eq!(slot.event().payload, payload.payload);
            slot.published();
        }
        ready(())
    });
    let sends = [3, 2, 1, 3].map(send_to).to_vec();
    let played = ports.play_batch(sends, &caller()).await;
    assert_eq!(played.calls, ["limiter", "directory", "publisher"]);
    let is_sent: Vec<_> = played.answers.iter().map(Result::is_ok).collect();
    assert_eq!(is_sent, [true, false, true, true]);
    assert!(matches!(played.answers[1], Err(SendError::UnknownEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn the_first_sends_of_a_batch_get_what_tokens_there_are() {
    let wait = Duration::from_secs(9);
    let grant = Grant {
        admitted: 2,
        refused: Some(wait),
    };
    // One of the four is too large and asks for no token.
    let mut sends = [1, 2, 3, 4].map(send_to).to_vec();
    sends[1] = send_to(u128::from(u64::MAX));
    let cap = capped(send_to(1).payload.len());
    let ports = SendPorts::new().grants(3, grant).finds().publishes();
    let played = ports.play_batch(sends, &cap).await;
    assert!(matches!(
        &played.answers[..],
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
    let played = SendPorts::new().play_batch(Vec::new(), &caller()).await;
    assert_eq!(played.calls, NOBODY);
    assert!(played.answers.is_empty());
}
