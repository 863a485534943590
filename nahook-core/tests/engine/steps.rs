//! The order of the steps, and that each refusal ends it.

use std::time::Duration;

use nahook_core::admission::{Caller, LimiterDown, Verdict};
use nahook_core::id::EndpointId;
use nahook_core::{Delivery, EventTypeRef, TriggerError};

use crate::ports::{
    NOBODY, Ports, bound_to, caller, capped, event, out_of_reach, ready, subscribers,
};

#[tokio::test(start_paused = true)]
async fn the_limiter_comes_before_the_look_up_and_the_look_up_before_the_publisher() {
    let played = Ports::default()
        .limiter(|asked| {
            assert_eq!(*asked, caller());
            ready(Ok(Verdict::Admit))
        })
        .store(|name, scope| {
            assert_eq!(*name, event().event_type);
            assert_eq!(*scope, caller().fan_out_scope().unwrap());
            ready(Ok(Some(subscribers(3))))
        })
        .publisher(|published, deliveries| {
            assert_eq!(published.payload, event().payload);
            assert_eq!(published.metadata, event().metadata);
            assert_eq!(published.workspace, caller().workspace);
            let event_type = EventTypeRef {
                id: subscribers(3).event_type,
                name: event().event_type,
            };
            assert_eq!(published.event_type, Some(event_type));
            assert!(deliveries.iter().all(Delivery::may_be_queued));
            deliveries.iter_mut().for_each(Delivery::mark_published);
            ready(())
        })
        .play(&caller())
        .await;
    assert_eq!(played.calls, ["limiter", "store", "publisher"]);
    let receipt = played.answer.unwrap();
    assert_eq!(receipt.delivery_ids().count(), 3);
    assert_eq!(receipt.event_type(), subscribers(3).event_type);
    assert!(!receipt.limiter_bypassed());
}

#[tokio::test(start_paused = true)]
async fn a_key_bound_to_an_endpoint_asks_nobody() {
    let bound = bound_to(EndpointId::from_bits(0));
    let played = Ports::default().play(&bound).await;
    assert_eq!(played.calls, NOBODY);
    assert!(matches!(
        played.answer,
        Err(TriggerError::NotWorkspaceScoped(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_payload_over_the_cap_asks_nobody() {
    let len = event().payload.len();
    let played = Ports::default().play(&capped(len - 1)).await;
    assert_eq!(played.calls, NOBODY);
    match played.answer {
        Err(TriggerError::PayloadTooLarge { len: is, len_max }) => {
            assert_eq!((is, len_max), (len, len - 1));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_exactly_the_cap_is_published() {
    let ports = Ports::default().admits().finds(1).publishes();
    let played = ports.play(&capped(event().payload.len())).await;
    assert_eq!(played.answer.unwrap().delivery_ids().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_scope_is_judged_before_the_size() {
    let bound_and_capped = Caller {
        endpoint: Some(EndpointId::from_bits(0)),
        ..capped(0)
    };
    let played = Ports::default().play(&bound_and_capped).await;
    assert_eq!(played.calls, NOBODY);
    assert!(matches!(
        played.answer,
        Err(TriggerError::NotWorkspaceScoped(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_caller_over_the_limit_is_told_how_long_and_nobody_else_is_asked() {
    let wait = Duration::from_millis(1_234);
    let played = Ports::default()
        .limiter(move |_| ready(Ok(Verdict::Refuse { retry_after: wait })))
        .play(&caller())
        .await;
    assert_eq!(played.calls, ["limiter"]);
    assert!(matches!(
        played.answer,
        Err(TriggerError::RateLimited { retry_after }) if retry_after == wait
    ));
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_is_down_is_passed_by_and_the_receipt_says_so() {
    let played = Ports::default()
        .limiter(|_| ready(Err(out_of_reach())))
        .finds(2)
        .publishes()
        .play(&caller())
        .await;
    assert_eq!(played.calls, ["limiter", "store", "publisher"]);
    let receipt = played.answer.unwrap();
    assert!(receipt.limiter_bypassed());
    assert_eq!(receipt.delivery_ids().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_is_down_refuses_where_the_settings_say_so() {
    let ports = Ports::default().limiter(|_| ready(Err(out_of_reach())));
    let ports = ports.limiter_down(LimiterDown::Refuse);
    let played = ports.play(&caller()).await;
    assert_eq!(played.calls, ["limiter"]);
    assert!(matches!(
        played.answer,
        Err(TriggerError::LimiterUnavailable(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_type_publishes_nothing() {
    let ports = Ports::default().admits().store(|_, _| ready(Ok(None)));
    let played = ports.play(&caller()).await;
    assert_eq!(played.calls, ["limiter", "store"]);
    assert!(matches!(played.answer, Err(TriggerError::UnknownEventType)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_publishes_nothing() {
    let ports = Ports::default()
        .admits()
        .store(|_, _| ready(Err(out_of_reach())));
    let played = ports.play(&caller()).await;
    assert_eq!(played.calls, ["limiter", "store"]);
    assert!(matches!(
        played.answer,
        Err(TriggerError::StoreUnavailable(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn nobody_subscribed_is_an_empty_receipt_without_a_publisher() {
    let played = Ports::default().admits().finds(0).play(&caller()).await;
    assert_eq!(played.calls, ["limiter", "store"]);
    let receipt = played.answer.unwrap();
    assert_eq!(receipt.deliveries(), []);
    assert_eq!(receipt.event_type(), subscribers(0).event_type);
}
