//! Health, readiness and metrics.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use nahook_http::{Operations, Probe, operations_router, with_fallbacks};
use serde_json::json;
use tokio::time::Instant;

use crate::ingestion::support::{Answer, ask};

async fn get(operations: Operations, path: &str) -> Answer {
    let router: Router = with_fallbacks(operations_router(operations));
    // Java's client does this to GETs.
    let request = Request::get(path).header("content-length", "0");
    ask(&router, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_live_process_says_so() {
    let broken = Operations::new().with_probe(Probe::new("store", || ready(Err("gone".into()))));
    let answer = get(broken, "/healthz").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.json(), json!({"status": "alive"}));
}

#[tokio::test]
async fn readiness_follows_the_probes() {
    let up = Arc::new(AtomicBool::new(true));
    let probe = {
        let up = Arc::clone(&up);
        Probe::new("queue", move || {
            let is_up = up.load(Ordering::SeqCst);
            ready(is_up.then_some(()).ok_or("refuses writes".into()))
        })
    };
    let operations = Operations::new()
        .with_probe(Probe::new("store", || ready(Ok(()))))
        .with_probe(probe);
    let answer = get(operations.clone(), "/readyz").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.json(),
        json!({"status": "ready", "checks": {"store": "ok", "queue": "ok"}})
    );
    up.store(false, Ordering::SeqCst);
    let answer = get(operations.clone(), "/readyz").await;
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.json(),
        json!({
            "error": {"code": "unavailable", "message": "Not ready: queue"},
            "checks": {"store": "ok", "queue": "refuses writes"},
        })
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    up.store(true, Ordering::SeqCst);
    assert_eq!(get(operations, "/readyz").await.status.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn silence_and_panics_are_not_ready_and_cost_a_bounded_time() {
    let panics = || async { panic!("planted") };
    let operations = Operations::new()
        .with_probe(Probe::new("silent", pending))
        .with_probe(Probe::new("fine", || ready(Ok(()))))
        .with_probe(Probe::new("panicking", panics))
        .with_probe(Probe::new("silent too", pending));
    let begun = Instant::now();
    let answer = get(operations, "/readyz").await;
    assert!(begun.elapsed() <= Duration::from_secs(2));
    let message = &answer.json()["error"]["message"];
    assert_eq!(message, "Not ready: silent, panicking, silent too");
    assert_eq!(
        answer.json()["checks"],
        json!({
            "silent": "no answer in time",
            "fine": "ok",
            "panicking": "the check failed",
            "silent too": "no answer in time",
        })
    );
}

#[tokio::test]
async fn metrics_are_what_the_exporter_writes() {
    let operations = Operations::new().with_metrics(|| "up 1\n".to_owned());
    let answer = get(operations, "/metrics").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.body, "up 1\n");
    let content_type = answer.header("content-type").unwrap();
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    let answer = get(Operations::new(), "/metrics").await;
    assert_eq!(answer.error(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let router = operations_router(Operations::new());
    let request = Request::post("/healthz").body(Body::empty()).unwrap();
    let answer = ask(&router, request).await;
    assert_eq!(answer.error(), (405, "method_not_allowed".to_owned()));
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
}
