//! The Trigger route when all goes well, or nearly.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use nahook_control::{ApplyMode, Catalog as _, CreatingSubscriptions};
use nahook_core::{FailureKind, Outcome};
use serde_json::json;

use crate::ingestion::support::{Bench, Fault, KEY, ORDER_PAID, Scripted, ask, post};

#[tokio::test]
async fn a_trigger_reaches_every_subscriber_byte_for_byte() {
    let bench = Bench::new().await;
    let payload = r#"{ "b":1.0e+02,"a" : "\u0041",
        "a":12345678901234567890123 }"#;
    let body = format!(r#" {{"x":[],"payload": {payload} ,"metadata":{{"k":"v"}}}} "#);
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let queued = bench.queued().await;
    assert_eq!(queued.len(), 2);
    for delivery in &queued {
        assert_eq!(delivery.payload.as_bytes(), payload);
    }
    let mut ids: Vec<_> = queued.iter().map(|d| d.lease.delivery).collect();
    ids.sort();
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(
        answer.json(),
        json!({"eventTypeId": "evt_paid", "deliveryIds": ids, "status": "accepted", "failures": []})
    );
}

#[tokio::test]
async fn both_bases_lead_there() {
    let bench = Bench::new().await;
    for path in [ORDER_PAID, "/ingest/event/order.paid"] {
        let answer = ask(&bench.router(), post(path, KEY, r#"{"payload":{}}"#)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}");
    }
    assert_eq!(bench.queued().await.len(), 4);
}

#[tokio::test]
async fn the_routes_nest_in_another_application() {
    let bench = Bench::new().await;
    let ingestion = nahook_http::ingestion_router(bench.ingestion());
    let app = axum::Router::new()
        .route("/mine", axum::routing::get(|| async { "mine" }))
        .nest("/hooks/{tenant}", ingestion);
    let path = format!("/hooks/acme{ORDER_PAID}");
    let answer = ask(&app, post(&path, KEY, r#"{"payload":{}}"#)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(answer.header("x-request-id").is_some());
    let answer = ask(&app, Request::get("/mine").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.body, "mine");
    assert_eq!(answer.header("x-request-id"), None);
}

#[tokio::test]
async fn an_event_type_that_nobody_hears_is_accepted() {
    let bench = Bench::new().await;
    let path = "/api/ingest/event/order.unheard";
    let answer = ask(&bench.router(), post(path, KEY, r#"{"payload":{}}"#)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json()["deliveryIds"], json!([]));
    assert_eq!(answer.json()["failures"], json!([]));
}

#[tokio::test]
async fn a_failure_is_told_beside_what_was_queued() {
    let mut bench = Bench::new().await;
    let gone = Outcome::Failed(FailureKind::EndpointGone);
    bench.publisher = Arc::new(Scripted(vec![gone, Outcome::Published]));
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, r#"{"payload":{}}"#)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let json = answer.json();
    assert_eq!(json["status"], "accepted");
    assert_eq!(json["deliveryIds"].as_array().unwrap().len(), 1);
    let failures = json!([{
        "endpointId": "ep_1", "code": "endpoint_gone", "message": FailureKind::EndpointGone.message(),
    }]);
    assert_eq!(json["failures"], failures);
}

#[tokio::test]
async fn a_limiter_that_is_down_lets_everybody_in() {
    let mut bench = Bench::new().await;
    bench.limiter = Arc::new(Fault::Down);
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, r#"{"payload":{}}"#)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_unknown_event_type_is_created_where_that_was_chosen() {
    let mut bench = Bench::new().await;
    let memory = bench.memory.clone();
    bench.subscriptions = Arc::new(CreatingSubscriptions::new(memory.clone(), memory));
    let trigger = || post("/api/ingest/event/brand.new", KEY, r#"{"payload":{}}"#);
    let first = ask(&bench.router(), trigger()).await;
    let second = ask(&bench.router(), trigger()).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.json()["deliveryIds"], json!([]));
    assert_eq!(first.json()["eventTypeId"], second.json()["eventTypeId"]);
}

#[tokio::test]
async fn an_event_type_that_is_created_has_the_endpoints_of_patterns_at_once() {
    let mut bench = Bench::new().await;
    let shop = json!({ "workspaces": [{ "id": "ws_rich", "name": "rich", "endpoints": [
        { "id": "ep_brand", "url": "https://brand.example/", "event_types": ["brand.*"] },
    ] }] });
    let shop = serde_json::from_value(shop).unwrap();
    let applied = bench.memory.apply(&shop, ApplyMode::Commit);
    applied.await.unwrap();
    let trigger = || post("/api/ingest/event/brand.new", KEY, r#"{"payload":{}}"#);
    let unknown = ask(&bench.router(), trigger()).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let memory = bench.memory.clone();
    bench.subscriptions = Arc::new(CreatingSubscriptions::new(memory.clone(), memory));
    let first = ask(&bench.router(), trigger()).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.json()["deliveryIds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_content_type_is_not_looked_at() {
    let bench = Bench::new().await;
    for content_type in [
        None,
        Some("application/json; charset=utf-8"),
        Some("text/plain"),
    ] {
        let mut request = post(ORDER_PAID, KEY, r#"{"payload":{}}"#);
        request.headers_mut().remove("content-type");
        if let Some(value) = content_type {
            let headers = request.headers_mut();
            headers.insert("content-type", value.parse().unwrap());
        }
        let answer = ask(&bench.router(), request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{content_type:?}");
    }
}

#[tokio::test]
async fn an_encoded_name_is_decoded_once() {
    let bench = Bench::new().await;
    for (segment, status) in [
        ("order%2Epaid", 202),
        ("order%252Epaid", 400),
        ("order+paid", 400),
        ("order%20paid", 400),
        ("order%2Fpaid", 400),
        ("order%ff", 400),
        ("order%C3%A9", 400),
        ("order%", 400),
        ("%2E%2E", 400),
    ] {
        let path = format!("/api/ingest/event/{segment}");
        let answer = ask(&bench.router(), post(&path, KEY, r#"{"payload":{}}"#)).await;
        assert_eq!(answer.status.as_u16(), status, "{segment}");
        if status == 400 {
            assert_eq!(answer.error().1, "validation_error");
        }
    }
}

#[tokio::test]
async fn batch_is_a_route_and_no_event_type() {
    let bench = Bench::new().await;
    for path in [
        "/api/ingest/event/batch",
        "/ingest/event/batch",
        "/api/ingest/event/%62atch",
        "/api/ingest/batch",
        "/ingest/b%61tch",
    ] {
        // An event type, or an endpoint, would be content with that.
        let answer = ask(&bench.router(), post(path, KEY, r#"{"payload":{}}"#)).await;
        assert_eq!(
            answer.error(),
            (400, "validation_error".to_owned()),
            "{path}"
        );
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("items")
        );
    }
}

#[tokio::test]
async fn what_is_too_long_is_blamed() {
    let bench = Bench::new().await;
    let long = |len: usize| "x".repeat(len);
    for (body, code, message) in [
        (
            format!(r#"{{"payload":{{}},"metadata":{{"a":"{}"}}}}"#, long(1_025)),
            (400, "validation_error"),
            "metadata.a is longer than 1,024 characters",
        ),
        (
            format!(
                r#"{{"payload":{{}},"metadata":{{"a":"{}"}}}}"#,
                long(310_000)
            ),
            (400, "validation_error"),
            "metadata.a is longer than 1,024 characters",
        ),
        (
            format!(r#"{{"payload":{{}},"metadata":{{"{}":""}}}}"#, long(129)),
            (400, "validation_error"),
            "a key of metadata is longer than 128 characters",
        ),
        (
            format!(
                r#"{{"payload":{{}},"metadata":{{"a":"{}"}}}}"#,
                long(500_000)
            ),
            (413, "payload_too_large"),
            "The request body exceeds the limit of 393216 bytes",
        ),
        (
            format!(r#"{{"payload":{{"a":"{}"}}}}"#, long(262_144)),
            (413, "payload_too_large"),
            "The payload exceeds the limit of 262144 bytes",
        ),
    ] {
        let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
        assert_eq!(answer.error(), (code.0, code.1.to_owned()));
        assert_eq!(answer.json()["error"]["message"], message);
    }
    // The most that is allowed fits, however it is written.
    let (key, value) = ("\\ud83d\\ude00".repeat(126), "\\ud83d\\ude00".repeat(1_024));
    let labels: Vec<_> = (0..5).map(|n| format!(r#""{n}{key}":"{value}""#)).collect();
    let payload = format!(r#"{{"a":"{}"}}"#, long(262_144 - 8));
    let body = format!(
        r#"{{"payload":{payload},"metadata":{{{}}}}}"#,
        labels.join(",")
    );
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let item = format!(
        r#"{{"items":[{{"eventType":"order.paid","payload":{{}},"metadata":{{"a":"{}"}}}}]}}"#,
        long(1_025)
    );
    let answer = ask(&bench.router(), post("/api/ingest/event/batch", KEY, item)).await;
    assert_eq!(answer.status.as_u16(), 207);
    let error = &answer.json()["items"][0]["error"];
    assert_eq!(
        error["message"],
        "metadata.a is longer than 1,024 characters"
    );
}
