//! The steps of a batch of triggers: each port is asked as seldom as one call can ask it, and each event is answered for
//! itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_core::admission::{Caller, Grant, LimiterDown};
use nahook_core::id::EndpointId;
use nahook_core::{Delivery, Event, EventTypeName, FailureKind, NewEvent, TriggerError};

use crate::ports::{
    Answer, BatchPlayed, Granted, NOBODY, Ports, TIMEOUT, bound_to, caller, capped, event,
    out_of_reach, publish, ready, silence, subscribers,
};

/// The limiter's answer to a number of tokens.
type Granting = fn(u32) -> Answer<Granted>;
/// A publisher's behaviour with an event's deliveries.
type Publishing = fn(&Event, &mut [Delivery]) -> Answer<()>;
/// The event types that were looked up.
type LookedUp = Vec<String>;

/// An event of that type; those of type `order.none` are unknown, and a look-up of `order.silent` never ends.
fn of_type(name: &str) -> NewEvent {
    NewEvent {
        event_type: EventTypeName::new(name).unwrap(),
        ..event()
    }
}

fn everybody(wanted: u32) -> Answer<Granted> {
    ready(Ok(Grant {
        admitted: wanted,
        refused: None,
    }))
}

async fn play(
    names: &[&str],
    caller: &Caller,
    limiter_down: LimiterDown,
    granting: Granting,
    publishing: Publishing,
) -> (BatchPlayed, LookedUp) {
    let looked_up = Arc::new(Mutex::new(LookedUp::new()));
    let names_of = Arc::clone(&looked_up);
    let ports = Ports::default().limiter_down(limiter_down);
    let ports = ports.granting(granting).publishers(.., publishing);
    let ports = ports.stores(.., move |name, _| {
        names_of.lock().unwrap().push(name.to_string());
        match name.as_str() {
            "order.none" => ready(Ok(None)),
            "order.down" => ready(Err(out_of_reach())),
            "order.silent" => silence(),
            _ => ready(Ok(Some(subscribers(2)))),
        }
    });
    let events = names.iter().map(|name| of_type(name)).collect();
    let played = ports.play_batch(events, caller).await;
    let looked_up = looked_up.lock().unwrap().clone();
    (played, looked_up)
}

/// Plays with ports that are in order.
async fn plainly(names: &[&str], caller: &Caller) -> (BatchPlayed, LookedUp) {
    play(names, caller, LimiterDown::Admit, everybody, publish).await
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_triggers_looks_each_event_type_up_once() {
    let names = [
        "order.paid",
        "order.sent",
        "order.paid",
        "order.none",
        "order.paid",
    ];
    let (played, looked_up) = plainly(&names, &caller()).await;
    assert_eq!(looked_up, ["order.paid", "order.sent", "order.none"]);
    let times = |port| played.calls.iter().filter(|call| **call == port).count();
    assert_eq!((times("limiter"), times("publisher")), (1, 4));
    let answers = played.answer.unwrap();
    for (name, answer) in names.iter().zip(&answers) {
        match answer {
            Ok(receipt) => assert_eq!(receipt.delivery_ids().count(), 2),
            Err(TriggerError::UnknownEventType) => assert_eq!(*name, "order.none"),
            Err(other) => panic!("{name}: {other:?}"),
        }
    }
    assert!(answers[3].is_err());
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_triggers_by_a_key_bound_to_an_endpoint_asks_nobody() {
    let bound = bound_to(EndpointId::from_bits(0));
    let (played, _) = plainly(&["order.paid"; 2], &bound).await;
    assert_eq!(played.calls, NOBODY);
    played.answer.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn triggers_of_a_batch_that_are_too_large_ask_for_no_token() {
    let capped = capped(event().payload.len() - 1);
    let (played, _) = plainly(&["order.paid"; 2], &capped).await;
    assert_eq!(played.calls, NOBODY);
    for answer in played.answer.unwrap() {
        assert!(matches!(answer, Err(TriggerError::PayloadTooLarge { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_triggers_of_a_batch_get_what_tokens_there_are() {
    let granting: Granting = |wanted| {
        assert_eq!(wanted, 4);
        ready(Ok(Grant {
            admitted: 3,
            refused: Some(Duration::from_secs(7)),
        }))
    };
    let names = ["order.paid", "order.none", "order.paid", "order.sent"];
    let (played, looked_up) = play(&names, &caller(), LimiterDown::Admit, granting, publish).await;
    // Nothing is looked up for the one that was not let in.
    assert_eq!(looked_up, ["order.paid", "order.none"]);
    assert!(matches!(
        &played.answer.unwrap()[..],
        [
            Ok(_),
            Err(TriggerError::UnknownEventType),
            Ok(_),
            Err(TriggerError::RateLimited { retry_after }),
        ] if *retry_after == Duration::from_secs(7)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_triggers_passes_a_limiter_that_is_down_or_not_as_the_settings_say() {
    let down: Granting = |_| ready(Err(out_of_reach()));
    let names = ["order.paid", "order.sent"];
    let (played, _) = play(&names, &caller(), LimiterDown::Admit, down, publish).await;
    for answer in played.answer.unwrap() {
        assert!(answer.unwrap().limiter_bypassed());
    }
    let (played, _) = play(&names, &caller(), LimiterDown::Refuse, down, publish).await;
    assert_eq!(played.calls, ["limiter"]);
    for answer in played.answer.unwrap() {
        assert!(matches!(answer, Err(TriggerError::LimiterUnavailable(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_or_is_silent_is_told_of_its_own_events_alone() {
    let names = ["order.silent", "order.paid", "order.down", "order.silent"];
    let (played, _) = plainly(&names, &caller()).await;
    assert_eq!(played.elapsed, TIMEOUT);
    assert!(matches!(
        &played.answer.unwrap()[..],
        [
            Err(TriggerError::DeadlineExceeded),
            Ok(_),
            Err(TriggerError::StoreUnavailable(_)),
            Err(TriggerError::DeadlineExceeded),
        ]
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_limiter_costs_a_batch_the_deadline_and_nothing_is_looked_up() {
    let granting: Granting = |_| silence();
    let (played, _) = play(
        &["order.paid"; 2],
        &caller(),
        LimiterDown::Admit,
        granting,
        publish,
    )
    .await;
    assert_eq!(played.calls, ["limiter"]);
    assert_eq!(played.elapsed, TIMEOUT);
    for answer in played.answer.unwrap() {
        assert!(matches!(answer, Err(TriggerError::DeadlineExceeded)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_says_of_one_event_says_nothing_of_the_others() {
    let publishing: Publishing = |event, deliveries| {
        let name = event.event_type.as_ref().unwrap().name.to_string();
        match name.as_str() {
            "order.paid" => publish(event, deliveries),
            "order.sent" => {
                deliveries[0].mark_published();
                deliveries[1].mark_failed(FailureKind::EndpointGone);
                ready(())
            }
            "order.lost" => silence(),
            // Not at once, which would break the mock for the others.
            _ => Box::pin(async { panic!("planned") }),
        }
    };
    let names = ["order.broken", "order.lost", "order.paid", "order.sent"];
    let (played, _) = play(&names, &caller(), LimiterDown::Admit, everybody, publishing).await;
    assert_eq!(played.elapsed, TIMEOUT);
    let answers = played.answer.unwrap();
    let told: Vec<Vec<_>> = answers
        .iter()
        .map(|answer| {
            let failures = answer.as_ref().unwrap().failures();
            failures.map(|failure| failure.kind).collect()
        })
        .collect();
    let unconfirmed = vec![FailureKind::Unconfirmed; 2];
    let expected = [
        unconfirmed.clone(),
        unconfirmed,
        Vec::new(),
        vec![FailureKind::EndpointGone],
    ];
    assert_eq!(told, expected);
}
