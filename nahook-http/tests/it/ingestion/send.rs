//! `POST /api/ingest/{endpointId}`.

use std::sync::Arc;

use axum::http::StatusCode;
use nahook_core::admission::LimiterDown;
use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind};
use serde_json::{Value, json};

use crate::ingestion::support::{
    BOUND, Bench, DISABLED, Fault, KEY, POOR, POOR_LEN_MAX, STAGING, ask, post,
};

const TO_ONE: &str = "/api/ingest/ep_1";

fn keyed(key: &str) -> String {
    json!({"payload": {"a": 1}, "idempotencyKey": key}).to_string()
}

#[tokio::test]
async fn a_send_is_queued_for_its_endpoint_and_its_key_is_echoed() {
    for path in [TO_ONE, "/ingest/ep_1", "/api/ingest/ep%5f1"] {
        let bench = Bench::new().await;
        let body = "{ \"idempotencyKey\":\"\\u0000 é \\\"k\\\"\" , \"payload\":{\"b\" : 1.0,\"b\":2}, \"x\":[] }";
        let answer = ask(&bench.router(), post(path, KEY, body)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let queued = bench.queued().await;
        assert_eq!(queued.len(), 1);
        assert_eq!(queued[0].endpoint.as_str(), "ep_1");
        assert_eq!(queued[0].event_type, None);
        assert_eq!(queued[0].payload.as_bytes(), &b"{\"b\" : 1.0,\"b\":2}"[..]);
        assert_eq!(
            answer.json(),
            json!({
                "deliveryId": queued[0].lease.delivery.to_string(),
                "idempotencyKey": "\0 é \"k\"",
                "status": "accepted",
            })
        );
    }
}

#[tokio::test]
async fn a_send_without_a_key_is_given_one_and_is_never_a_repeat() {
    let bench = Bench::new().await;
    let mut keys = std::collections::HashSet::new();
    for body in [
        r#"{"payload":{}}"#,
        r#"{"payload":{},"idempotencyKey":null}"#,
        r#"{"payload":[]}"#,
    ] {
        let answer = ask(&bench.router(), post(TO_ONE, KEY, body)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let key = answer.json()["idempotencyKey"].as_str().unwrap().to_owned();
        assert_eq!((key.len(), &key[14..15]), (36, "7"), "{key}");
        assert!(keys.insert(key));
    }
    assert_eq!(bench.queued().await.len(), 3);
}

#[tokio::test]
async fn the_same_key_is_answered_with_the_first_delivery() {
    let bench = Bench::new().await;
    let first = ask(&bench.router(), post(TO_ONE, KEY, keyed("k"))).await;
    for body in [
        keyed("k"),
        r#"{"payload":{"other":true},"idempotencyKey":"k"}"#.to_owned(),
    ] {
        let again = ask(&bench.router(), post(TO_ONE, KEY, body)).await;
        assert_eq!(
            (again.status, again.body),
            (first.status, first.body.clone())
        );
    }
    for (path, key) in [("/api/ingest/ep_2", "k"), (TO_ONE, "K")] {
        let other = ask(&bench.router(), post(path, KEY, keyed(key))).await;
        assert_ne!(other.json()["deliveryId"], first.json()["deliveryId"]);
    }
    assert_eq!(bench.queued().await.len(), 3);
}

#[tokio::test]
async fn what_is_refused_is_refused_with_its_code_and_queues_nothing() {
    let bench = Bench::new().await;
    let ok = r#"{"payload":{}}"#.to_owned();
    let large = json!({"payload": {"x": "x".repeat(POOR_LEN_MAX)}}).to_string();
    let long = keyed(&"x".repeat(257));
    for (path, key, body, status, code) in [
        (
            TO_ONE,
            "nhk_us_unknown_000000000000000000000",
            &ok,
            401,
            "unauthorized",
        ),
        (
            TO_ONE,
            "nhm_manager_000000000000000000000000",
            &ok,
            401,
            "unauthorized",
        ),
        (TO_ONE, DISABLED, &ok, 403, "token_disabled"),
        (
            "/api/ingest/ep_poor",
            POOR,
            &large,
            413,
            "payload_too_large",
        ),
        ("/api/ingest/ep_none", KEY, &ok, 404, "not_found"),
        ("/api/ingest/not-an-id", KEY, &ok, 404, "not_found"),
        ("/api/ingest/%ff", KEY, &ok, 404, "not_found"),
        // Another workspace's, another environment's, and another one than the key's.
        ("/api/ingest/ep_poor", KEY, &ok, 404, "not_found"),
        (TO_ONE, STAGING, &ok, 404, "not_found"),
        ("/api/ingest/ep_2", BOUND, &ok, 404, "not_found"),
        ("/api/ingest/ep_off", KEY, &ok, 409, "endpoint_disabled"),
        (TO_ONE, KEY, &String::new(), 400, "validation_error"),
        (TO_ONE, KEY, &"[]".to_owned(), 400, "validation_error"),
        (TO_ONE, KEY, &"{}".to_owned(), 400, "validation_error"),
        (
            TO_ONE,
            KEY,
            &r#"{"payload":null}"#.to_owned(),
            400,
            "validation_error",
        ),
        (
            TO_ONE,
            KEY,
            &r#"{"payload":{},"payload":{}}"#.to_owned(),
            400,
            "validation_error",
        ),
        (
            TO_ONE,
            KEY,
            &r#"{"payload":{},"idempotencyKey":7}"#.to_owned(),
            400,
            "validation_error",
        ),
        (
            TO_ONE,
            KEY,
            &r#"{"payload":{},"idempotencyKey":"\ud800"}"#.to_owned(),
            400,
            "validation_error",
        ),
        (TO_ONE, KEY, &keyed(""), 400, "validation_error"),
        (TO_ONE, KEY, &long, 400, "validation_error"),
    ] {
        let answer = ask(&bench.router(), post(path, key, body.clone())).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{path} {body}");
    }
    assert_eq!(bench.queued().await, []);
    // What each of them may do, they can.
    for (path, key) in [
        (TO_ONE, BOUND),
        ("/api/ingest/ep_staged", STAGING),
        ("/api/ingest/ep_staged", KEY),
    ] {
        let answer = ask(&bench.router(), post(path, key, ok.clone())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}");
    }
    assert_eq!(bench.queued().await.len(), 3);
}

#[tokio::test]
async fn a_limit_is_kept_and_told() {
    let bench = Bench::new().await;
    let send = || post("/api/ingest/ep_poor", POOR, r#"{"payload":{}}"#);
    assert_eq!(
        ask(&bench.router(), send()).await.status,
        StatusCode::ACCEPTED
    );
    let refused = ask(&bench.router(), send()).await;
    assert_eq!(refused.error(), (429, "rate_limited".to_owned()));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    // An unknown endpoint would have cost a token as well.
    let unknown = post("/api/ingest/ep_none", POOR, r#"{"payload":{}}"#);
    assert_eq!(ask(&bench.router(), unknown).await.error().0, 429);
    assert_eq!(bench.queued().await.len(), 1);
}

/// A queue that says the same of everything.
struct Saying(FailureKind);

impl DeliveryPublisher for Saying {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        for delivery in deliveries {
            delivery.mark_failed(self.0);
        }
    }
}

/// A queue that never answers, and may have taken it.
struct Silent;

impl DeliveryPublisher for Silent {
    async fn publish(&self, _: &Event, _: &mut [Delivery]) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_queue_that_fails_is_told_by_what_is_known() {
    for (kind, status, code) in [
        (FailureKind::EndpointGone, 404, "not_found"),
        (FailureKind::PayloadTooLarge, 413, "payload_too_large"),
        (FailureKind::QueueUnavailable, 503, "unavailable"),
    ] {
        let mut bench = Bench::new().await;
        bench.publisher = Arc::new(Saying(kind));
        for body in [r#"{"payload":{}}"#.to_owned(), keyed("k")] {
            let answer = ask(&bench.router(), post(TO_ONE, KEY, body)).await;
            assert_eq!(answer.error(), (status, code.to_owned()), "{kind:?}");
        }
    }
    for kind in [FailureKind::Internal, FailureKind::Unconfirmed] {
        let mut bench = Bench::new().await;
        bench.publisher = Arc::new(Saying(kind));
        // Repeating the one is safe, and clients do so by themselves; the other would be a second delivery.
        let keyed = ask(&bench.router(), post(TO_ONE, KEY, keyed("k"))).await;
        assert_eq!(keyed.error(), (503, "unconfirmed".to_owned()));
        assert_eq!(keyed.header("retry-after"), Some("1"));
        let keyless = ask(&bench.router(), post(TO_ONE, KEY, r#"{"payload":{}}"#)).await;
        assert_eq!(keyless.error(), (409, "unconfirmed".to_owned()));
        assert_eq!(keyless.header("retry-after"), None);
        let message = keyless.json()["error"]["message"].to_string();
        assert!(message.contains("del_"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_and_failures_cost_the_deadline_at_most() {
    let ok = r#"{"payload":{}}"#;
    let mut bench = Bench::new().await;
    bench.publisher = Arc::new(Silent);
    let answer = ask(&bench.router(), post(TO_ONE, KEY, ok)).await;
    assert_eq!(answer.error(), (409, "unconfirmed".to_owned()));
    for fault in [Fault::Down, Fault::Panic, Fault::Silence] {
        let (status, code) = match fault {
            Fault::Silence => (504, "ingest_timeout"),
            Fault::Down | Fault::Panic => (503, "unavailable"),
        };
        let mut bench = Bench::new().await;
        bench.subscriptions = Arc::new(fault);
        let answer = ask(&bench.router(), post(TO_ONE, KEY, ok)).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{fault:?}");
        let mut bench = Bench::new().await;
        bench.limiter = Arc::new(fault);
        bench.limiter_down = LimiterDown::Refuse;
        let answer = ask(&bench.router(), post(TO_ONE, KEY, ok)).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{fault:?}");
        assert_eq!(bench.queued().await, []);
    }
    let mut bench = Bench::new().await;
    bench.limiter = Arc::new(Fault::Down);
    let answer = ask(&bench.router(), post(TO_ONE, KEY, ok)).await;
    assert_eq!(
        answer.status,
        StatusCode::ACCEPTED,
        "a limiter that is down admits"
    );
    assert_ne!(answer.json()["deliveryId"], Value::Null);
}
