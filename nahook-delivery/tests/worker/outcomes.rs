//! Outcomes of a delivery, by the answers of its endpoint.

use std::time::{Duration, UNIX_EPOCH};

use nahook_control::{EndpointDirectory, EndpointKind, EndpointSpec, HealthReport, HealthState};
use nahook_core::Clock;
use nahook_core::id::EndpointId;
use nahook_delivery::{RetryAfter, RetrySchedule, Signer, TransportError, WorkerSettings};
use nahook_queue::DeliveryStatus;
use tokio::time::sleep;

use crate::support::{Act, Arrival, Rig, SECRET};

/// Returns the seconds between consecutive arrivals.
fn gaps(arrivals: &[Arrival]) -> Vec<f64> {
    arrivals
        .windows(2)
        .map(|pair| pair[1].at.as_secs_f64() - pair[0].at.as_secs_f64())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_receives_the_payload_once_and_signed() {
    let rig = Rig::new(&["ep_a"]).await;
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    let report = worker.stop().await;

    let [arrival] = &rig.arrivals()[..] else {
        panic!("one request");
    };
    assert_eq!(&arrival.body[..], b"{ \"order\" : 1.0e+02 }");
    assert_eq!(arrival.header("content-type"), "application/json");
    assert_eq!(
        arrival.header("user-agent"),
        concat!("nahook/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(arrival.header("nahook-delivery-id"), ids[0].to_string());
    assert_eq!(arrival.header("nahook-event-type"), "order.paid");
    assert_eq!(arrival.header("nahook-attempt"), "1");
    let message = rig.record(ids[0]).await.message.to_string();
    assert_eq!(arrival.header("webhook-id"), message);
    let timestamp = rig.clock.now().as_secs();
    assert_eq!(arrival.header("webhook-timestamp"), timestamp.to_string());
    let signature = Signer::new([SECRET])
        .unwrap()
        .sign(&message, timestamp, &arrival.body);
    assert_eq!(arrival.header("webhook-signature"), signature);
    assert!(!arrival.headers.contains_key("authorization"));

    let attempts = rig.attempts(ids[0]).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].attempt.status_code, Some(200));
    assert_eq!(attempts[0].attempt.error, None);
    assert_eq!(
        (report.attempts, report.delivered, report.unsettled),
        (1, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_delivery_follows_the_schedule_and_then_is_a_dead_letter() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::Answer(500));
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::DeadLetter).await;
    let report = worker.stop().await;

    let arrivals = rig.arrivals();
    assert_eq!(arrivals.len(), 10);
    let waits = RetrySchedule::default().waits;
    for (gap, wait) in gaps(&arrivals).into_iter().zip(waits) {
        let off = (gap / wait.as_secs_f64() - 1.0).abs();
        assert!(off <= 0.101, "{gap} instead of {wait:?}");
    }
    let numbers: Vec<_> = arrivals
        .iter()
        .map(|a| a.header("nahook-attempt").to_owned())
        .collect();
    assert_eq!(numbers, (1..=10).map(|n| n.to_string()).collect::<Vec<_>>());
    let message = arrivals[0].header("webhook-id");
    assert!(
        arrivals
            .iter()
            .all(|arrival| arrival.header("webhook-id") == message)
    );
    assert_eq!(rig.attempts(ids[0]).await.len(), 10);
    assert_eq!(
        (report.attempts, report.retried, report.dead_lettered),
        (10, 9, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn without_jitter_the_schedule_is_kept_to_the_second() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::Break(TransportError::Connect));
    let settings = WorkerSettings {
        schedule: RetrySchedule {
            jitter_percent: 0,
            ..RetrySchedule::default()
        },
        ..WorkerSettings::default()
    };
    let worker = rig.start(settings);
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::DeadLetter).await;
    worker.stop().await;
    for (gap, wait) in gaps(&rig.arrivals())
        .into_iter()
        .zip(RetrySchedule::default().waits)
    {
        assert!(
            (gap - wait.as_secs_f64()).abs() < 0.1,
            "{gap} instead of {wait:?}"
        );
    }
    let attempt = &rig.attempts(ids[0]).await[0].attempt;
    assert_eq!(attempt.status_code, None);
    assert_eq!(attempt.error.as_deref(), Some("the connection failed"));
}

#[tokio::test(start_paused = true)]
async fn the_jitter_differs_between_deliveries() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.script("ep_a", |nth| Act::Answer(if nth < 20 { 500 } else { 200 }));
    let worker = rig.start(WorkerSettings::default());
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.extend(rig.publish(&["ep_a"]).await);
    }
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    let mut second: Vec<_> = rig
        .arrivals()
        .into_iter()
        .skip(20)
        .map(|arrival| arrival.at)
        .collect();
    assert_eq!(second.len(), 20);
    second.dedup_by_key(|at| at.as_millis() / 20);
    assert!(second.len() > 5, "they all came back together: {second:?}");
}

/// Returns the wait after a first attempt with this answer, in seconds.
async fn first_wait(act: impl Fn(&Rig) -> Act) -> f64 {
    let rig = Rig::new(&["ep_a"]).await;
    let act = act(&rig);
    rig.script(
        "ep_a",
        move |nth| if nth == 0 { act } else { Act::Answer(200) },
    );
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    gaps(&rig.arrivals())[0]
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_a_day() {
    let secs = |status, secs| {
        move |_: &Rig| Act::AskToRetry(status, RetryAfter::Delay(Duration::from_secs(secs)))
    };
    let is = |wait: f64, expected: f64| (wait - expected).abs() < 0.6;
    assert!(is(first_wait(secs(429, 77)).await, 77.0));
    assert!(is(first_wait(secs(503, 3_600)).await, 3_600.0));
    assert!(is(first_wait(secs(503, 86_401)).await, 86_400.0));
    assert!(is(
        first_wait(secs(429, u64::from(u32::MAX))).await,
        86_400.0
    ));
    // Never shorter than the schedule, and of no meaning elsewhere.
    assert!(is(first_wait(secs(429, 0)).await, 5.0));
    assert!(is(first_wait(secs(500, 3_600)).await, 5.0));
}

#[tokio::test(start_paused = true)]
async fn retry_after_may_be_a_date() {
    let wait = first_wait(|rig: &Rig| {
        let secs = rig.clock.now().as_secs() + 90;
        Act::AskToRetry(503, RetryAfter::At(UNIX_EPOCH + Duration::from_secs(secs)))
    })
    .await;
    assert!((89.0..91.0).contains(&wait), "{wait}");
}

#[tokio::test(start_paused = true)]
async fn gone_fails_the_delivery_and_disables_the_endpoint() {
    let rig = Rig::new(&["ep_a", "ep_b"]).await;
    rig.always("ep_a", Act::Answer(410));
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a", "ep_b"]).await;
    rig.until(&ids[..1], DeliveryStatus::Failed).await;
    rig.until(&ids[1..], DeliveryStatus::Delivered).await;
    assert!(!rig.target("ep_a").await.is_active);
    let attempts = rig.attempts(ids[0]).await;
    assert_eq!(attempts[0].attempt.status_code, Some(410));

    let late = rig.publish(&["ep_a"]).await;
    rig.until(&late, DeliveryStatus::Failed).await;
    worker.stop().await;
    assert_eq!(rig.arrivals_at("ep_a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_only_fails_for_five_days_is_disabled() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::Answer(500));
    let worker = rig.start(WorkerSettings::default());
    let first = rig.publish(&["ep_a"]).await;
    let failing_since = loop {
        sleep(Duration::from_secs(1)).await;
        if let Some(since) = rig.target("ep_a").await.failing_since {
            break since;
        }
    };
    let attempts = rig.attempts(first[0]).await;
    assert_eq!(attempts[0].attempt.started_at, failing_since);

    sleep(Duration::from_mins(5 * 24 * 60 - 1)).await;
    let nearly = rig.publish(&["ep_a"]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.attempts(nearly[0]).await.len(), 1);
    assert!(rig.target("ep_a").await.is_active);
    assert_eq!(rig.target("ep_a").await.failing_since, Some(failing_since));

    sleep(Duration::from_mins(1)).await;
    rig.publish(&["ep_a"]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!rig.target("ep_a").await.is_active);
    // What waits for a retry is given up when its time comes.
    rig.until(&nearly, DeliveryStatus::Failed).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_success_ends_the_count_of_five_days() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.script("ep_a", |nth| Act::Answer(if nth == 1 { 200 } else { 500 }));
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.target("ep_a").await.failing_since, None);
    sleep(Duration::from_hours(24 * 6)).await;
    rig.publish(&["ep_a"]).await;
    sleep(Duration::from_secs(1)).await;
    let target = rig.target("ep_a").await;
    assert!(target.is_active && target.failing_since.is_some());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_disabled_endpoint_receives_nothing() {
    let rig = Rig::new(&["ep_a", "ep_b"]).await;
    let ids = rig.publish(&["ep_a", "ep_b"]).await;
    let endpoint = EndpointId::new("ep_a").unwrap();
    let state = HealthState::Disable;
    rig.store
        .report(&[HealthReport { endpoint, state }])
        .await
        .unwrap();
    let worker = rig.start(WorkerSettings::default());
    rig.until(&ids[..1], DeliveryStatus::Failed).await;
    rig.until(&ids[1..], DeliveryStatus::Delivered).await;
    let report = worker.stop().await;
    assert_eq!(rig.arrivals().len(), 1);
    assert_eq!((report.attempts, report.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slack_endpoint_receives_an_unsigned_post_and_basic_auth_is_sent_where_set() {
    let rig = Rig::new(&[]).await;
    let mut config = serde_json::Map::new();
    config.insert("webhookUrl".to_owned(), "http://slack.test/T/B/x".into());
    rig.apply(vec![
        EndpointSpec {
            id: EndpointId::new("ep_slack").ok(),
            kind: Some(EndpointKind::Slack),
            config: Some(config),
            ..EndpointSpec::default()
        },
        EndpointSpec {
            id: EndpointId::new("ep_auth").ok(),
            url: "http://auth.test/".to_owned(),
            auth_username: Some("Aladdin".to_owned()),
            auth_password: Some("open sesame".to_owned()),
            ..EndpointSpec::default()
        },
    ])
    .await;
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_slack", "ep_auth"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    let arrivals = rig.arrivals();
    let at = |url: &str| arrivals.iter().find(|arrival| arrival.url == url).unwrap();
    let slack = at("http://slack.test/T/B/x");
    let signed = |name: &http::HeaderName| name.as_str().starts_with("webhook-");
    assert!(!slack.headers.keys().any(signed));
    assert_eq!(
        at("http://auth.test/").header("authorization"),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
}
