//! Reports of a Trigger to operators: one line, and the metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use nahook_core::{FailureKind, Outcome};
use nahook_http::{metric, not_found};
use serde_json::Value;

use crate::ingestion::support::{Bench, DISABLED, Fault, KEY, ORDER_PAID, Scripted, ask, post};
use crate::logging::{Lines, Logging};

impl Lines {
    /// The one line of a Trigger.
    fn trigger(&self) -> Value {
        self.only("trigger")
    }
}

/// Returns the lines that are logged while `request` is answered.
pub(crate) async fn logged(bench: &Bench, request: Request<Body>) -> Lines {
    let logging = Logging::start();
    ask(&bench.router(), request).await;
    logging.stop()
}

#[tokio::test]
async fn a_trigger_is_told_in_one_line() {
    let mut bench = Bench::new().await;
    bench.limiter = Arc::new(Fault::Down);
    let failed = Outcome::Failed(FailureKind::Unconfirmed);
    bench.publisher = Arc::new(Scripted(vec![failed]));
    let mut request = post(ORDER_PAID, KEY, r#"{"payload":{"a":1}}"#);
    let headers = request.headers_mut();
    headers.insert("x-request-id", "mine".parse().unwrap());
    let line = logged(&bench, request).await.trigger();
    for (field, value) in [
        ("request", Value::from("mine")),
        ("workspace", "ws_rich".into()),
        ("event_type", "order.paid".into()),
        ("status", 202.into()),
        ("code", "accepted".into()),
        ("payload_len", 7.into()),
        ("width", 2.into()),
        ("queued", 1.into()),
        ("failures", r#"{"unconfirmed": 1}"#.into()),
        ("limiter_bypassed", true.into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["key"].as_str().unwrap().starts_with("key_"));
    assert!(line["message_id"].as_str().unwrap().starts_with("msg_"));
    assert!(line["duration_ms"].as_f64().unwrap() >= 0.0);
}

#[tokio::test]
async fn what_went_well_is_told_to_those_who_ask_for_it() {
    let mut bench = Bench::new().await;
    let request = || post(ORDER_PAID, KEY, r#"{"payload":{"a":1}}"#);
    let (level, line) = logged(&bench, request()).await.only_at("trigger");
    assert_eq!(level, "DEBUG");
    assert_eq!((&line["status"], &line["queued"]), (&202.into(), &2.into()));
    // Whatever is not as it should be is told to everybody.
    let failed = Outcome::Failed(FailureKind::Unconfirmed);
    bench.publisher = Arc::new(Scripted(vec![failed]));
    assert_eq!(logged(&bench, request()).await.only_at("trigger").0, "INFO");
    let refused = post(ORDER_PAID, DISABLED, "");
    assert_eq!(logged(&bench, refused).await.only_at("trigger").0, "INFO");
}

#[tokio::test]
async fn a_refusal_is_told_as_far_as_it_got() {
    let bench = Bench::new().await;
    let line = logged(&bench, post(ORDER_PAID, DISABLED, "")).await;
    let line = line.trigger();
    assert_eq!(line["status"], 403);
    assert_eq!(line["code"], "token_disabled");
    assert_eq!(line["workspace"], Value::Null);
    let unknown = "/api/ingest/event/order.unknown";
    let line = logged(&bench, post(unknown, KEY, r#"{"payload":{}}"#)).await;
    let line = line.trigger();
    assert_eq!(line["status"], 404);
    assert_eq!(line["event_type"], "order.unknown");
    assert_eq!(line["width"], Value::Null);
}

#[tokio::test]
async fn no_log_holds_a_payload_a_label_or_a_secret() {
    let body = r#"{"payload":{"p4yload":1},"metadata":{"l4bel":"v4lue"}}"#;
    let broken = r#"{"payload":{"p4yload":1},"metadata":{"l4bel":7}}"#;
    for (key, body) in [
        (KEY, body),
        (KEY, broken),
        (KEY, &body[..50]),
        ("nhk_s3cret_0000000000000000000000000", body),
    ] {
        let bench = Bench::new().await;
        let text = logged(&bench, post(ORDER_PAID, key, body.to_owned()))
            .await
            .text();
        for private in ["p4yload", "l4bel", "v4lue", "s3cret", KEY] {
            assert!(!text.contains(private), "{text}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_told_with_its_cause() {
    let mut bench = Bench::new().await;
    bench.subscriptions = Arc::new(Fault::Down);
    let lines = logged(&bench, post(ORDER_PAID, KEY, r#"{"payload":{}}"#)).await;
    assert!(lines.text().contains("is down"), "{}", lines.text());
    assert_eq!(lines.trigger()["status"], 503);
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_too() {
    let mut bench = Bench::new().await;
    bench.subscriptions = Arc::new(Fault::Silence);
    let logging = Logging::start();
    let router = bench.router();
    let asking = ask(&router, post(ORDER_PAID, KEY, r#"{"payload":{}}"#));
    let gone = tokio::time::timeout(Duration::from_millis(20), asking).await;
    assert!(gone.is_err());
    let line = logging.stop().trigger();
    assert_eq!(line["status"], 499);
    assert_eq!(line["code"], "canceled");
    assert_eq!(line["event_type"], "order.paid");
}

#[test]
fn the_metrics_count_what_happened() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        metric::describe();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let mut bench = Bench::new().await;
            let good = || post(ORDER_PAID, KEY, r#"{"payload":{}}"#);
            ask(&bench.router(), good()).await;
            ask(&bench.router(), post(ORDER_PAID, KEY, "")).await;
            ask(&bench.router(), post("/nowhere", KEY, "")).await;
            bench.limiter = Arc::new(Fault::Down);
            let failed = Outcome::Failed(FailureKind::EndpointGone);
            bench.publisher = Arc::new(Scripted(vec![failed]));
            ask(&bench.router(), good()).await;
            not_found().await;
        });
    });
    let text = handle.render();
    for line in [
        r#"nahook_http_requests_total{route="trigger",status="202",code="accepted"} 2"#,
        r#"nahook_http_requests_total{route="trigger",status="400",code="validation_error"} 1"#,
        r#"nahook_http_requests_total{route="none",status="404",code="not_found"} 2"#,
        r#"nahook_triggers_total{outcome="queued"} 1"#,
        r#"nahook_triggers_total{outcome="partial"} 1"#,
        r#"nahook_deliveries_total{outcome="published"} 3"#,
        r#"nahook_deliveries_total{outcome="endpoint_gone"} 1"#,
        "nahook_limiter_bypasses_total 1",
        "nahook_trigger_duration_seconds_count 3",
        "# HELP nahook_triggers_total Events let in, by how their fan-out went",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}
