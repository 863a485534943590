//! The whole table of errors.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use nahook_core::FailureKind;
use nahook_core::admission::LimiterDown;
use serde_json::json;

use crate::ingestion::support::{
    Answer, BOUND, Bench, DISABLED, Fault, KEY, ORDER_PAID, POOR, POOR_LEN_MAX, SlowToCommit, ask,
    post,
};

const GOOD: &str = r#"{"payload":{}}"#;

/// Nobody is told what our insides are called.
fn leaks_nothing(answer: &Answer) {
    let text = format!("{:?} {:?}", answer.headers, answer.body);
    for inside in ["postgres", "secret@", "planted", "nahook_core", "src/"] {
        assert!(!text.contains(inside), "{text}");
    }
}

#[tokio::test]
async fn what_the_caller_did_wrong_is_told_by_status_and_code() {
    let bench = Bench::new().await;
    let router = bench.router();
    let no_key = || Request::post(ORDER_PAID).body(Body::from(GOOD)).unwrap();
    let with = |authorization: &'static str| {
        let request = Request::post(ORDER_PAID).header("authorization", authorization);
        request.body(Body::from(GOOD)).unwrap()
    };
    let big = format!(r#"{{"payload":{{"a":"{}"}}}}"#, "x".repeat(POOR_LEN_MAX));
    let unknown = "/api/ingest/event/order.unknown";
    let malformed = "/api/ingest/event/order..paid";
    let long = format!("/api/ingest/event/{}", "x".repeat(129));
    let table = [
        (no_key(), 401, "unauthorized"),
        (with("Bearer"), 401, "unauthorized"),
        (with("Basic bmhrOng="), 401, "unauthorized"),
        (
            with("Bearer nhm_manager_000000000000000000000000"),
            401,
            "unauthorized",
        ),
        (with("Bearer nhk_"), 401, "unauthorized"),
        (
            with("Bearer nhk_us_nobody_0000000000000000000000"),
            401,
            "unauthorized",
        ),
        (with("Bearer NHK_us_open"), 401, "unauthorized"),
        (post(ORDER_PAID, DISABLED, GOOD), 403, "token_disabled"),
        (post(ORDER_PAID, BOUND, GOOD), 400, "invalid_api_key"),
        (post(malformed, KEY, GOOD), 400, "validation_error"),
        (post(&long, KEY, GOOD), 400, "validation_error"),
        (post(ORDER_PAID, KEY, ""), 400, "validation_error"),
        (post(ORDER_PAID, KEY, "{"), 400, "validation_error"),
        (post(ORDER_PAID, KEY, "[]"), 400, "validation_error"),
        (post(ORDER_PAID, KEY, "{}"), 400, "validation_error"),
        (post(unknown, KEY, GOOD), 404, "not_found"),
        (post(ORDER_PAID, POOR, big), 413, "payload_too_large"),
        (
            post(ORDER_PAID, KEY, " ".repeat(10_000_000)),
            413,
            "payload_too_large",
        ),
        (post("/", KEY, GOOD), 404, "not_found"),
        (post("/api/ingest/event/", KEY, GOOD), 404, "not_found"),
        (
            post("/api/ingest/event/order.paid/", KEY, GOOD),
            404,
            "not_found",
        ),
        (
            post("/api/ingest/event/order/paid", KEY, GOOD),
            404,
            "not_found",
        ),
        (post("/api//ingest/event/a", KEY, GOOD), 404, "not_found"),
        (post("/API/ingest/event/a", KEY, GOOD), 404, "not_found"),
    ];
    for (request, status, code) in table {
        let what = format!("{request:?}");
        let answer = ask(&router, request).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{what}");
        assert_eq!(answer.header("retry-after"), None, "{what}");
        let says_how = answer.header("www-authenticate").is_some();
        assert_eq!(says_how, status == 401, "{what}");
        assert!(answer.header("x-request-id").is_some(), "{what}");
        assert_eq!(answer.header("location"), None, "{what}");
        leaks_nothing(&answer);
    }
    assert!(bench.queued().await.is_empty());
}

#[tokio::test]
async fn a_401_says_how_to_authenticate() {
    let bench = Bench::new().await;
    let answer = ask(
        &bench.router(),
        post(ORDER_PAID, "nhk_no_00000000000000000000000000000", GOOD),
    )
    .await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn what_is_no_ingestion_key_is_not_looked_up() {
    let mut bench = Bench::new().await;
    bench.keys = Arc::new(Fault::Panic);
    for token in ["nhm_manager_000000000000000000000000", "whsec_x", "nh"] {
        let answer = ask(&bench.router(), post(ORDER_PAID, token, GOOD)).await;
        assert_eq!(answer.error(), (401, "unauthorized".to_owned()), "{token}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let bench = Bench::new().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FUNNY"] {
        let request = Request::builder().method(method).uri(ORDER_PAID);
        let request = request.header("content-length", "0");
        let answer = ask(&bench.router(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.error(),
            (405, "method_not_allowed".to_owned()),
            "{method}"
        );
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
}

#[tokio::test]
async fn too_many_are_told_when_to_come_back() {
    let bench = Bench::new().await;
    let router = bench.router();
    let first = ask(&router, post(ORDER_PAID, POOR, GOOD)).await;
    assert_eq!(first.status.as_u16(), 202);
    let second = ask(&router, post(ORDER_PAID, POOR, GOOD)).await;
    assert_eq!(second.error(), (429, "rate_limited".to_owned()));
    let wait: NonZeroU32 = second.header("retry-after").unwrap().parse().unwrap();
    assert!((3_590..=3_600).contains(&wait.get()), "{wait}");
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_nothing_is_queued() {
    for fault in [Fault::Down, Fault::Panic] {
        let mut bench = Bench::new().await;
        bench.subscriptions = Arc::new(fault);
        let answer = ask(&bench.router(), post(ORDER_PAID, KEY, GOOD)).await;
        assert_eq!(answer.error(), (503, "unavailable".to_owned()), "{fault:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        leaks_nothing(&answer);
        assert!(bench.queued().await.is_empty());
    }
}

#[tokio::test]
async fn a_key_store_that_is_down_is_503() {
    let mut bench = Bench::new().await;
    bench.keys = Arc::new(Fault::Down);
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, GOOD)).await;
    assert_eq!(answer.error(), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    leaks_nothing(&answer);
}

#[tokio::test]
async fn a_limiter_that_is_down_is_503_where_refusing_was_chosen() {
    let mut bench = Bench::new().await;
    bench.limiter = Arc::new(Fault::Down);
    bench.limiter_down = LimiterDown::Refuse;
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, GOOD)).await;
    assert_eq!(answer.error(), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    leaks_nothing(&answer);
}

#[tokio::test]
async fn a_queue_that_is_down_is_a_202_with_every_endpoint_under_failures() {
    struct Down;
    impl nahook_core::DeliveryPublisher for Down {
        async fn publish(&self, _: &nahook_core::Event, deliveries: &mut [nahook_core::Delivery]) {
            for delivery in deliveries {
                delivery.mark_failed(FailureKind::QueueUnavailable);
            }
        }
    }
    let mut bench = Bench::new().await;
    bench.publisher = Arc::new(Down);
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, GOOD)).await;
    assert_eq!(answer.status.as_u16(), 202);
    assert_eq!(answer.json()["deliveryIds"], json!([]));
    for (failure, endpoint) in answer.json()["failures"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["ep_1", "ep_2"])
    {
        assert_eq!(failure["endpointId"], endpoint);
        assert_eq!(failure["code"], "queue_unavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_silent_costs_the_deadline_and_nothing_is_queued() {
    let start = tokio::time::Instant::now;
    let silent = |name: &'static str| async move {
        let mut bench = Bench::new().await;
        match name {
            "keys" => bench.keys = Arc::new(Fault::Silence),
            "limiter" => bench.limiter = Arc::new(Fault::Silence),
            "subscriptions" => bench.subscriptions = Arc::new(Fault::Silence),
            _ => bench.publisher = Arc::new(SlowToCommit),
        }
        bench
    };
    for name in ["keys", "limiter", "subscriptions", "publisher"] {
        let bench = silent(name).await;
        let begun = start();
        let answer = ask(&bench.router(), post(ORDER_PAID, KEY, GOOD)).await;
        assert_eq!(begun.elapsed().as_secs(), 5, "{name}");
        assert_eq!(answer.error(), (504, "ingest_timeout".to_owned()), "{name}");
        assert_eq!(answer.header("retry-after"), None, "{name}");
        assert!(bench.queued().await.is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_arrival_of_the_request() {
    let mut bench = Bench::new().await;
    bench.subscriptions = Arc::new(Fault::Silence);
    let (sender, body) = crate::ingestion::slow::channel();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        sender.send(GOOD).await;
    });
    let begun = tokio::time::Instant::now();
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
    assert_eq!(answer.error(), (504, "ingest_timeout".to_owned()));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}
