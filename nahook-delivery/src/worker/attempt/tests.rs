use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use nahook_core::id::{DeliveryId, EndpointId, EnvironmentId, MessageId, WorkspaceId};
use nahook_core::{Event, Payload, RandomIds};
use nahook_queue::{Lease, LeaseToken};
use nahook_testkit::TokioClock;

use super::*;
use crate::transport::{OutboundRequest, RetryAfter};
use crate::worker::schedule::RetrySchedule;

/// Time that each attempt here takes.
const TAKES: Duration = Duration::from_secs(10);

type Outcome = Result<OutboundResponse, TransportError>;

/// Ends each attempt in the same way, after its time.
struct Scripted(Outcome);

impl Transport for Scripted {
    async fn post(&self, _: OutboundRequest) -> Outcome {
        tokio::time::sleep(TAKES).await;
        self.0.clone()
    }
}

const ERROR: Outcome = Ok(OutboundResponse {
    status: 500,
    retry_after: None,
    body: Bytes::new(),
});

fn target(failing_since: Option<Timestamp>) -> EndpointTarget {
    EndpointTarget {
        id: EndpointId::new("ep_1").unwrap(),
        workspace: WorkspaceId::new("ws_1").unwrap(),
        environment: EnvironmentId::new("env_1").unwrap(),
        url: "http://a.test/".to_owned(),
        kind: EndpointKind::Slack,
        secrets: Vec::new(),
        auth: None,
        is_active: true,
        failing_since,
    }
}

/// A delivery's first attempt that ends so, and the instant at which it began.
async fn first(outcome: Outcome, target: EndpointTarget, is_forgiven: bool) -> (Ended, Timestamp) {
    let clock = TokioClock::default();
    let begun_at = clock.now();
    let settings = WorkerSettings {
        schedule: RetrySchedule {
            jitter_percent: 0,
            ..RetrySchedule::default()
        },
        ..WorkerSettings::default()
    };
    let means = Means {
        transport: &Scripted(outcome),
        clock: &clock,
        ids: &RandomIds,
        settings: &settings,
        metrics: &AttemptMetrics::new(),
    };
    let message = MessageId::from_bits(7);
    let lease = Lease {
        delivery: DeliveryId::nth(message, 0),
        token: LeaseToken(1),
    };
    let payload = Payload::new("{}").unwrap();
    let event = Event::direct(payload, message, target.workspace, None, begun_at);
    let delivery = LeasedDelivery::new(lease, &event, target.id, 0);
    let addressee = Addressee::new(&Arc::new(target.clone()));
    let ended = attempt(&means, &delivery, &target, &addressee, is_forgiven).await;
    assert_eq!(clock.now().saturating_since(begun_at), TAKES);
    (ended, begun_at)
}

async fn attempted(outcome: Outcome, target: EndpointTarget) -> (Attempted, Timestamp) {
    match first(outcome, target, true).await {
        (Ended::Attempted(attempted), begun_at) => (attempted, begun_at),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn retry_waits_from_the_end_of_the_attempt() {
    let (attempted, begun_at) = attempted(ERROR, target(None)).await;
    let wait = TAKES + Duration::from_secs(5);
    assert_eq!(attempted.next, Next::Retry(begun_at.saturating_add(wait)));
    let attempt = attempted.attempt;
    assert_eq!((attempt.started_at, attempt.duration), (begun_at, TAKES));
}

#[tokio::test(start_paused = true)]
async fn start_of_the_answer_is_recorded_as_text() {
    for (body, expected) in [
        (&b""[..], None),
        (b"<h1>no</h1>", Some("<h1>no</h1>")),
        (b"\xff\0!", Some("\u{fffd}\u{fffd}!")),
    ] {
        for status in [200, 410, 500] {
            let answer = OutboundResponse {
                status,
                retry_after: None,
                body: Bytes::from_static(body),
            };
            let (attempted, _) = attempted(Ok(answer), target(None)).await;
            assert_eq!(attempted.attempt.response_body.as_deref(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_that_is_a_date_is_that_instant() {
    let clock = TokioClock::default();
    let date = clock.now().saturating_add(Duration::from_mins(1));
    let outcome = Ok(OutboundResponse {
        status: 503,
        retry_after: Some(RetryAfter::At(
            UNIX_EPOCH + Duration::from_nanos(date.as_nanos()),
        )),
        body: Bytes::new(),
    });
    let (attempted, _) = attempted(outcome, target(None)).await;
    assert_eq!(attempted.next, Next::Retry(date));
}

#[tokio::test(start_paused = true)]
async fn endpoint_fails_from_the_start_of_the_first_attempt_that_failed() {
    let (attempted, begun_at) = attempted(ERROR, target(None)).await;
    let failing = HealthState::FailingSince(begun_at);
    assert_eq!(attempted.health, Some(failing));
}

#[tokio::test(start_paused = true)]
async fn endpoint_is_disabled_by_the_attempt_that_ends_five_days_after_that() {
    let now = TokioClock::default().now().as_nanos();
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
    let just = now + nanos(TAKES) - nanos(Duration::from_hours(5 * 24));
    for (since, expected) in [(just, Some(HealthState::Disable)), (just + 1, None)] {
        let target = target(Some(Timestamp::from_nanos(since)));
        let (attempted, _) = attempted(ERROR, target).await;
        assert_eq!(attempted.health, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_machine_lacks_is_no_attempt_where_it_is_certain_or_forgiven() {
    for (cause, is_certain) in [
        (LocalCause::Connections, true),
        (LocalCause::Descriptors, true),
        (LocalCause::Memory, true),
        (LocalCause::Threads, true),
        (LocalCause::Network, false),
        (LocalCause::Ports, false),
        (LocalCause::Resolver, false),
    ] {
        for is_forgiven in [false, true] {
            let lack = Err(TransportError::Local(cause));
            let (ended, _) = first(lack, target(None), is_forgiven).await;
            match ended {
                Ended::NotMade(found) => assert!((is_certain || is_forgiven) && found == cause),
                Ended::Attempted(attempted) => {
                    assert!(!is_certain && !is_forgiven, "{cause:?}");
                    let failure = match cause {
                        LocalCause::Resolver => "the host has no address that may be used",
                        _ => "the connection failed",
                    };
                    assert_eq!(attempted.attempt.error.as_deref(), Some(failure));
                }
            }
        }
    }
}
