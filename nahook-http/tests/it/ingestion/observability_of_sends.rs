//! Reports of a Send and of batches to operators.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use nahook_http::metric;
use serde_json::{Value, json};

use crate::ingestion::observability::logged;
use crate::ingestion::support::{BOUND, Bench, DISABLED, Fault, KEY, ask, post};
use crate::logging::Logging;

const SEND: &str = "/api/ingest/ep_1";
const SEND_BATCH: &str = "/api/ingest/batch";
const TRIGGER_BATCH: &str = "/api/ingest/event/batch";

const KEYED: &str = r#"{"payload":{"a":1},"idempotencyKey":"order-1"}"#;

fn batch_of_sends() -> String {
    json!({"items": [
        {"endpointId": "ep_1", "payload": {}},
        {"endpointId": "ep_none", "payload": {}},
        {"endpointId": "ep_1", "payload": 7},
    ]})
    .to_string()
}

fn batch_of_triggers() -> String {
    json!({"items": [
        {"eventType": "order.paid", "payload": {}},
        {"eventType": "order.unheard", "payload": {}},
    ]})
    .to_string()
}

#[track_caller]
fn check(line: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(line[field], *value, "{field} in {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() >= 0.0);
}

#[tokio::test]
async fn a_send_is_told_in_one_line() {
    let bench = Bench::new().await;
    let line = logged(&bench, post(SEND, KEY, KEYED)).await.only("send");
    check(
        &line,
        &json!({
            "workspace": "ws_rich", "endpoint": "ep_1", "status": 202, "code": "accepted",
            "payload_len": 7, "replayed": false,
        }),
    );
    assert!(line["message_id"].as_str().unwrap().starts_with("msg_"));
    assert!(line["key"].as_str().unwrap().starts_with("key_"));
    // Of a repeat nothing is queued, so that there is no message to tell of.
    let line = logged(&bench, post(SEND, KEY, KEYED)).await.only("send");
    check(
        &line,
        &json!({"status": 202, "replayed": true, "message_id": null}),
    );
}

#[tokio::test]
async fn a_send_that_is_refused_is_told_as_far_as_it_got() {
    let bench = Bench::new().await;
    for (path, key, body, expected) in [
        (
            SEND,
            DISABLED,
            KEYED,
            json!({"status": 403, "code": "token_disabled", "endpoint": null}),
        ),
        (
            SEND,
            KEY,
            "{",
            json!({"status": 400, "code": "validation_error", "payload_len": null}),
        ),
        (
            "/api/ingest/ep_off",
            KEY,
            KEYED,
            json!({"status": 409, "endpoint": "ep_off"}),
        ),
        (
            "/api/ingest/ep_2",
            BOUND,
            KEYED,
            json!({"status": 404, "endpoint": "ep_2"}),
        ),
    ] {
        let line = logged(&bench, post(path, key, body)).await.only("send");
        check(&line, &expected);
    }
}

#[tokio::test]
async fn a_batch_is_told_in_one_line() {
    let bench = Bench::new().await;
    let request = post(SEND_BATCH, KEY, batch_of_sends());
    let line = logged(&bench, request).await.only("send_batch");
    check(
        &line,
        &json!({"workspace": "ws_rich", "status": 207, "code": "partial", "items": 3, "items_refused": 2}),
    );
    let request = post(TRIGGER_BATCH, KEY, batch_of_triggers());
    let line = logged(&bench, request).await.only("trigger_batch");
    check(
        &line,
        &json!({"status": 202, "code": "accepted", "items": 2, "items_refused": 0}),
    );
    let request = post(TRIGGER_BATCH, BOUND, batch_of_triggers());
    let line = logged(&bench, request).await.only("trigger_batch");
    check(
        &line,
        &json!({"status": 400, "code": "invalid_api_key", "items": null}),
    );
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_a_send_is_told_too() {
    let mut bench = Bench::new().await;
    bench.subscriptions = Arc::new(Fault::Silence);
    let logging = Logging::start();
    let router = bench.router();
    let asking = ask(&router, post(SEND, KEY, KEYED));
    let gone = tokio::time::timeout(Duration::from_millis(20), asking).await;
    assert!(gone.is_err());
    let line = logging.stop().only("send");
    check(
        &line,
        &json!({"status": 499, "code": "canceled", "endpoint": "ep_1"}),
    );
}

#[tokio::test]
async fn no_line_of_a_send_or_a_batch_holds_a_payload_a_label_or_a_secret() {
    let private = ["p4yload", "l4bel", "v4lue", "s3cret", "idemp0tency", KEY];
    let body =
        r#"{"payload":{"p4yload":1},"idempotencyKey":"idemp0tency","metadata":{"l4bel":"v4lue"}}"#;
    let item = |fields: &str| format!(r#"{{"items":[{{{fields},{}]}}"#, &body[1..]);
    for (path, body) in [
        (SEND, body.to_owned()),
        (SEND_BATCH, item(r#""endpointId":"ep_1""#)),
        (SEND_BATCH, item(r#""endpointId":"s3cret s3cret""#)),
        (TRIGGER_BATCH, item(r#""eventType":"order.paid""#)),
        (TRIGGER_BATCH, item(r#""eventType":"s3cret s3cret""#)),
    ] {
        let wrong = body
            .replace("\"v4lue\"", "7")
            .replace("\"idemp0tency\"", "{\"idemp0tency\":0}");
        let cut = body[..body.len() - 12].to_owned();
        for (key, body) in [
            (KEY, &body),
            (KEY, &wrong),
            (KEY, &cut),
            ("nhk_s3cret_0000000000000000000000000", &body),
        ] {
            let mut bench = Bench::new().await;
            let text = logged(&bench, post(path, key, body.clone())).await.text();
            assert!(!text.is_empty());
            // What has failed is told with its cause, and with no more.
            bench.subscriptions = Arc::new(Fault::Down);
            bench.subscriptions = Arc::new(Fault::Down);
            let text = text + &logged(&bench, post(path, key, body.clone())).await.text();
            for private in private.iter().filter(|it| **it != "s3cret") {
                assert!(!text.contains(private), "{private} in {text}");
            }
            // What the planted cause says itself is the store's affair.
            let told = text.replace("postgres://secret@host", "");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}

#[test]
fn the_metrics_count_sends_and_batches_and_name_routes_alone() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        metric::describe();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let bench = Bench::new().await;
            let router = bench.router();
            for (path, body) in [
                (SEND, KEYED.to_owned()),
                (SEND, KEYED.to_owned()),
                (SEND_BATCH, batch_of_sends()),
                (TRIGGER_BATCH, batch_of_triggers()),
                ("/api/ingest/ep_unheard_of", KEYED.to_owned()),
                ("/api/ingest/event/order.unheard_of", KEYED.to_owned()),
                ("/api/ingest/unheard_of/unheard_of", KEYED.to_owned()),
            ] {
                ask(&router, post(path, KEY, body)).await;
            }
        });
    });
    let text = handle.render();
    for line in [
        r#"nahook_http_requests_total{route="send",status="202",code="accepted"} 2"#,
        r#"nahook_http_requests_total{route="send",status="404",code="not_found"} 1"#,
        r#"nahook_http_requests_total{route="send_batch",status="207",code="partial"} 1"#,
        r#"nahook_http_requests_total{route="trigger_batch",status="202",code="accepted"} 1"#,
        r#"nahook_http_requests_total{route="none",status="404",code="not_found"} 1"#,
        r#"nahook_sends_total{outcome="queued"} 2"#,
        r#"nahook_sends_total{outcome="replayed"} 1"#,
        r#"nahook_triggers_total{outcome="queued"} 1"#,
        r#"nahook_triggers_total{outcome="unsubscribed"} 1"#,
        r#"nahook_deliveries_total{outcome="published"} 4"#,
        r#"nahook_ingestion_duration_seconds_count{route="send"} 3"#,
        r#"nahook_ingestion_duration_seconds_count{route="send_batch"} 1"#,
        r#"nahook_ingestion_duration_seconds_count{route="trigger_batch"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    // What a client writes into a path is no label's value.
    for unheard in ["unheard_of", "ep_1", "order."] {
        assert!(!text.contains(unheard), "{unheard} in\n{text}");
    }
}
