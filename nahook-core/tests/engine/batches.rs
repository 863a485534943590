//! The steps of a batch of triggers: each port is asked as seldom as one call can ask it, and each event is answered for
//! itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_core::admission::{Caller, Grant, LimiterDown, NotWorkspaceScoped, Plan};
use nahook_core::id::EndpointId;
use nahook_core::{
    Admission, Delivery, Event, EventTypeName, FailureKind, FanOut, NewEvent, Receipt, StoreError,
    TriggerError,
};
use tokio::time::Instant;

use crate::ports::{
    Answer, Calls, MockLimiter, MockPublisher, MockSubscriptions, TIMEOUT, caller, event, ready,
    silence, subscribers,
};

const NOBODY: [&str; 0] = [];

/// The limiter's answer to a number of tokens.
type Granting = fn(u32) -> Answer<Result<Grant, StoreError>>;
/// A publisher's behaviour with an event's deliveries.
type Publishing = fn(&Event, &mut [Delivery]) -> Answer<()>;

/// The result of a batch.
#[derive(Debug)]
struct BatchPlayed {
    answers: Result<Vec<Result<Receipt, TriggerError>>, NotWorkspaceScoped>,
    calls: Vec<&'static str>,
    /// The event types that were looked up.
    looked_up: Vec<String>,
    elapsed: Duration,
}

/// An event of that type; those of type `order.none` are unknown, and a look-up of `order.silent` never ends.
fn of_type(name: &str) -> NewEvent {
    NewEvent {
        event_type: EventTypeName::new(name).unwrap(),
        ..event()
    }
}

fn everybody(wanted: u32) -> Answer<Result<Grant, StoreError>> {
    ready(Ok(Grant {
        admitted: wanted,
        refused: None,
    }))
}

fn taken(_: &Event, deliveries: &mut [Delivery]) -> Answer<()> {
    deliveries.iter_mut().for_each(Delivery::mark_published);
    ready(())
}

async fn play(
    names: &[&str],
    caller: &Caller,
    limiter_down: LimiterDown,
    granting: Granting,
    publishing: Publishing,
) -> BatchPlayed {
    let calls = Calls::default();
    let mut limiter = MockLimiter::new();
    let noted = calls.clone();
    limiter.expect_check_many().returning(move |_, wanted| {
        noted.note("limiter");
        granting(wanted)
    });
    let looked_up = Arc::new(Mutex::new(Vec::new()));
    let mut subscriptions = MockSubscriptions::new();
    let (noted, names_of) = (calls.clone(), Arc::clone(&looked_up));
    subscriptions
        .expect_subscribers()
        .returning(move |name, _| {
            noted.note("store");
            names_of.lock().unwrap().push(name.to_string());
            match name.as_str() {
                "order.none" => ready(Ok(None)),
                "order.down" => ready(Err(StoreError::unavailable("out of reach"))),
                "order.silent" => silence(),
                _ => ready(Ok(Some(subscribers(2)))),
            }
        });
    let mut publisher = MockPublisher::new();
    let noted = calls.clone();
    publisher
        .expect_publish()
        .returning(move |event, deliveries| {
            noted.note("publisher");
            publishing(event, deliveries)
        });
    let engine = Admission::new(FanOut::new(subscriptions, publisher), limiter)
        .with_limiter_down(limiter_down);
    let began = Instant::now();
    let events = names.iter().map(|name| of_type(name)).collect();
    let answers = engine
        .trigger_batch_by(began + TIMEOUT, events, caller)
        .await;
    let looked_up = looked_up.lock().unwrap().clone();
    BatchPlayed {
        answers,
        calls: calls.all(),
        looked_up,
        elapsed: began.elapsed(),
    }
}

async fn plainly(names: &[&str]) -> BatchPlayed {
    play(names, &caller(), LimiterDown::Admit, everybody, taken).await
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
    let played = plainly(&names).await;
    assert_eq!(played.looked_up, ["order.paid", "order.sent", "order.none"]);
    let times = |port| played.calls.iter().filter(|call| **call == port).count();
    assert_eq!((times("limiter"), times("publisher")), (1, 4));
    let answers = played.answers.unwrap();
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
    let bound = Caller {
        endpoint: Some(EndpointId::from_bits(0)),
        ..caller()
    };
    let played = play(
        &["order.paid"; 2],
        &bound,
        LimiterDown::Admit,
        everybody,
        taken,
    )
    .await;
    assert_eq!(played.calls, NOBODY);
    played.answers.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn triggers_of_a_batch_that_are_too_large_ask_for_no_token() {
    let capped = Caller {
        plan: Plan {
            payload_len_max: event().payload.len() - 1,
            ..Plan::default()
        },
        ..caller()
    };
    let played = play(
        &["order.paid"; 2],
        &capped,
        LimiterDown::Admit,
        everybody,
        taken,
    )
    .await;
    assert_eq!(played.calls, NOBODY);
    for answer in played.answers.unwrap() {
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
    let played = play(&names, &caller(), LimiterDown::Admit, granting, taken).await;
    // Nothing is looked up for the one that was not let in.
    assert_eq!(played.looked_up, ["order.paid", "order.none"]);
    assert!(matches!(
        &played.answers.unwrap()[..],
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
    let down: Granting = |_| ready(Err(StoreError::unavailable("out of reach")));
    let names = ["order.paid", "order.sent"];
    let played = play(&names, &caller(), LimiterDown::Admit, down, taken).await;
    for answer in played.answers.unwrap() {
        assert!(answer.unwrap().limiter_bypassed());
    }
    let played = play(&names, &caller(), LimiterDown::Refuse, down, taken).await;
    assert_eq!(played.calls, ["limiter"]);
    for answer in played.answers.unwrap() {
        assert!(matches!(answer, Err(TriggerError::LimiterUnavailable(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_or_is_silent_is_told_of_its_own_events_alone() {
    let played = plainly(&["order.silent", "order.paid", "order.down", "order.silent"]).await;
    assert_eq!(played.elapsed, TIMEOUT);
    assert!(matches!(
        &played.answers.unwrap()[..],
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
    let played = play(
        &["order.paid"; 2],
        &caller(),
        LimiterDown::Admit,
        granting,
        taken,
    )
    .await;
    assert_eq!(played.calls, ["limiter"]);
    assert_eq!(played.elapsed, TIMEOUT);
    for answer in played.answers.unwrap() {
        assert!(matches!(answer, Err(TriggerError::DeadlineExceeded)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_says_of_one_event_says_nothing_of_the_others() {
    let publishing: Publishing = |event, deliveries| {
        let name = event.event_type.as_ref().unwrap().name.to_string();
        match name.as_str() {
            "order.paid" => taken(event, deliveries),
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
    let played = play(&names, &caller(), LimiterDown::Admit, everybody, publishing).await;
    assert_eq!(played.elapsed, TIMEOUT);
    let answers = played.answers.unwrap();
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
