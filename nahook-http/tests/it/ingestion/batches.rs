//! `POST /api/ingest/batch` and `POST /api/ingest/event/batch`.

use std::sync::Arc;

use axum::http::StatusCode;
use nahook_core::{FailureKind, Outcome};
use serde_json::{Value, json};

use crate::ingestion::support::{BOUND, Bench, Fault, KEY, SOME, Scripted, ask, post};

const SENDS: &str = "/api/ingest/batch";
const TRIGGERS: &str = "/api/ingest/event/batch";

fn batch(items: impl Into<Value>) -> String {
    json!({ "items": items.into() }).to_string()
}

fn codes(answer: &Value) -> Vec<Option<&str>> {
    let items = answer["items"].as_array().unwrap();
    for (index, item) in items.iter().enumerate() {
        assert_eq!(item["index"], index);
        let is_error = item.get("error").is_some();
        assert_ne!(is_error, item.get("status").is_some(), "{item}");
        if is_error {
            assert_eq!(item.as_object().unwrap().len(), 2, "{item}");
            assert_eq!(item["error"].as_object().unwrap().len(), 2, "{item}");
        } else {
            assert_eq!(item["status"], "accepted");
        }
    }
    items
        .iter()
        .map(|item| item["error"]["code"].as_str())
        .collect()
}

#[tokio::test]
async fn sends_are_answered_in_order_and_repeats_with_the_first() {
    let bench = Bench::new().await;
    let body = batch(json!([
        {"endpointId": "ep_1", "payload": {"n": 0}, "idempotencyKey": "k"},
        {"endpointId": "ep_2", "payload": {"n": 1}},
        {"endpointId": "ep_1", "payload": {"n": 2}, "idempotencyKey": "k"},
    ]));
    let answer = ask(&bench.router(), post(SENDS, KEY, body.clone())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let json = answer.json();
    assert_eq!(codes(&json), [None; 3]);
    assert_eq!(json["items"][0]["idempotencyKey"], "k");
    assert_eq!(
        json["items"][0]["deliveryId"],
        json["items"][2]["deliveryId"]
    );
    assert_eq!(json["items"][0].as_object().unwrap().len(), 4);
    let again = ask(&bench.router(), post(SENDS, KEY, body)).await.json();
    assert_eq!(
        again["items"][0]["deliveryId"],
        json["items"][0]["deliveryId"]
    );
    let mut payloads: Vec<_> = bench
        .queued()
        .await
        .into_iter()
        .map(|d| d.payload)
        .collect();
    payloads.sort_by_key(|payload| payload.as_bytes().clone());
    let payloads: Vec<_> = payloads.iter().map(|p| &p.as_bytes()[..]).collect();
    assert_eq!(payloads, [&b"{\"n\":0}"[..], b"{\"n\":1}", b"{\"n\":1}"]);
}

#[tokio::test]
async fn a_bad_send_rejects_nothing_else() {
    let bench = Bench::new().await;
    let body = batch(json!([
        {"endpointId": "ep_1", "payload": {}},
        {"endpointId": "ep_none", "payload": {}},
        {"endpointId": "ep_off", "payload": {}},
        {"endpointId": "not an id", "payload": {}},
        {"endpointId": "ep_poor", "payload": {}},
        {"endpointId": 7, "payload": {}},
        {"payload": {}},
        {"endpointId": "ep_1", "payload": 7},
        {"endpointId": "ep_1"},
        {"endpointId": "ep_1", "payload": {}, "idempotencyKey": ""},
        {"endpointId": "ep_1", "payload": {"x": "x".repeat(300_000)}},
        "item", null, [],
        {"endpointId": "ep_2", "payload": [], "later": {}},
    ]));
    let answer = ask(&bench.router(), post(SENDS, KEY, body)).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let (gone, bad) = (Some("not_found"), Some("validation_error"));
    assert_eq!(
        codes(&answer.json()),
        [
            None,
            gone,
            Some("endpoint_disabled"),
            gone,
            gone,
            bad,
            bad,
            bad,
            bad,
            bad,
            Some("payload_too_large"),
            bad,
            bad,
            bad,
            None,
        ]
    );
    assert_eq!(bench.queued().await.len(), 2);
    // All of them failed: still 207.
    let body = batch(json!([{"endpointId": "ep_none", "payload": {}}]));
    let answer = ask(&bench.router(), post(SENDS, KEY, body)).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
}

#[tokio::test]
async fn triggers_are_answered_in_order_each_as_if_alone() {
    let mut bench = Bench::new().await;
    let gone = Outcome::Failed(FailureKind::EndpointGone);
    bench.publisher = Arc::new(Scripted(vec![Outcome::Published, gone]));
    let body = batch(json!([
        {"eventType": "order.paid", "payload": {"n": 0}, "metadata": {"k": "v"}},
        {"eventType": "order.unheard", "payload": {}},
        {"eventType": "order.unknown", "payload": {}},
        {"eventType": "order..paid", "payload": {}},
        {"eventType": "order.paid", "payload": {}, "metadata": {"k": 1}},
        {"eventType": "order.paid"},
        {"eventType": null, "payload": {}},
        {"eventType": "order.paid", "payload": {"x": "x".repeat(300_000)}},
        {"eventType": "order.paid", "payload": []},
    ]));
    let answer = ask(&bench.router(), post(TRIGGERS, KEY, body)).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let json = answer.json();
    let bad = Some("validation_error");
    assert_eq!(
        codes(&json),
        [
            None,
            None,
            Some("not_found"),
            bad,
            bad,
            bad,
            bad,
            Some("payload_too_large"),
            None
        ]
    );
    let first = &json["items"][0];
    assert_eq!(first["eventTypeId"], "evt_paid");
    assert_eq!(first["deliveryIds"].as_array().unwrap().len(), 1);
    assert_eq!(first["failures"][0]["endpointId"], "ep_2");
    assert_eq!(first["failures"][0]["code"], "endpoint_gone");
    assert_eq!(json["items"][1]["deliveryIds"], json!([]));
    assert_eq!(first.as_object().unwrap().len(), 5, "{first}");
}

#[tokio::test]
async fn all_accepted_is_a_202() {
    let bench = Bench::new().await;
    let items: Vec<_> = (0..20)
        .map(|n| json!({"eventType": "order.paid", "payload": {"n": n}}))
        .collect();
    let answer = ask(&bench.router(), post(TRIGGERS, KEY, batch(items))).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(codes(&answer.json()), [None; 20]);
    assert_eq!(bench.queued().await.len(), 40);
}

#[tokio::test]
async fn a_batch_has_1_to_20_items() {
    let bench = Bench::new().await;
    for path in [SENDS, TRIGGERS] {
        for body in [
            batch(json!([])),
            batch(vec![json!({}); 21]),
            batch(vec![json!({}); 10_000]),
            batch(json!({})),
            batch(json!(null)),
            "{}".to_owned(),
            "[]".to_owned(),
            String::new(),
            r#"{"items":[{}],"items":[{}]}"#.to_owned(),
            r#"{"items":[{}"#.to_owned(),
        ] {
            let answer = ask(&bench.router(), post(path, KEY, body)).await;
            assert_eq!(
                answer.error(),
                (400, "validation_error".to_owned()),
                "{path}"
            );
        }
        let answer = ask(&bench.router(), post(path, KEY, batch(vec![json!({}); 20]))).await;
        assert_eq!(answer.status, StatusCode::MULTI_STATUS);
        assert_eq!(codes(&answer.json()), [Some("validation_error"); 20]);
    }
    let answer = ask(&bench.router(), post(TRIGGERS, BOUND, batch(json!([{}])))).await;
    assert_eq!(answer.error(), (400, "invalid_api_key".to_owned()));
    assert_eq!(bench.queued().await, []);
}

#[tokio::test]
async fn each_item_costs_a_token_and_the_first_ones_get_what_there_is() {
    let bench = Bench::new().await;
    let sends: Vec<_> = (0..3)
        .map(|_| json!({"endpointId": "ep_some", "payload": {}}))
        .chain([
            json!({"endpointId": "ep_some"}),
            json!({"endpointId": "ep_some", "payload": {}}),
        ])
        .collect();
    let answer = ask(
        &bench.router(),
        post(SENDS, SOME, batch(sends[..2].to_vec())),
    )
    .await;
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("1"));
    let answer = ask(&bench.router(), post(SENDS, SOME, batch(sends))).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let limited = Some("rate_limited");
    // What is malformed costs nothing.
    assert_eq!(
        codes(&answer.json()),
        [None, limited, limited, Some("validation_error"), limited]
    );
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    let item = json!({"eventType": "order.paid", "payload": {}});
    let answer = ask(&bench.router(), post(TRIGGERS, SOME, batch(vec![item]))).await;
    assert_eq!(codes(&answer.json()), [limited]);
    assert_eq!(bench.queued().await.len(), 3);
}

#[tokio::test]
async fn twenty_of_the_largest_payloads_fit_and_arrive_to_the_byte() {
    let bench = Bench::new().await;
    let largest = format!("{{\"x\":\"{}\"}}", "x".repeat(256 * 1024 - 8));
    assert_eq!(largest.len(), 256 * 1024);
    let items: Vec<_> = (0..20)
        .map(|_| format!("{{\"endpointId\":\"ep_3\",\"payload\":{largest}}}"))
        .collect();
    let body = format!("{{\"items\":[{}]}}", items.join(","));
    let answer = ask(&bench.router(), post(SENDS, KEY, body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let queued = bench.queued().await;
    assert_eq!(queued.len(), 20);
    assert!(
        queued
            .iter()
            .all(|delivery| delivery.payload.as_bytes() == &largest)
    );
    // Far more than twenty of them with their envelopes is not even read.
    let body = format!("{{\"items\":[\"{}\"]}}", "x".repeat(8 << 20));
    let answer = ask(&bench.router(), post(SENDS, KEY, body)).await;
    assert_eq!(answer.error(), (413, "payload_too_large".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_fails_each_item_by_itself() {
    for (fault, code) in [
        (Fault::Down, "unavailable"),
        (Fault::Panic, "unavailable"),
        (Fault::Silence, "ingest_timeout"),
    ] {
        let mut bench = Bench::new().await;
        bench.subscriptions = Arc::new(fault);
        bench.subscriptions = Arc::new(fault);
        let send = json!({"endpointId": "ep_1", "payload": {}});
        let answer = ask(&bench.router(), post(SENDS, KEY, batch(vec![send; 2]))).await;
        assert_eq!(codes(&answer.json()), [Some(code); 2]);
        let trigger = json!({"eventType": "order.paid", "payload": {}});
        let answer = ask(
            &bench.router(),
            post(TRIGGERS, KEY, batch(vec![trigger; 2])),
        )
        .await;
        assert_eq!(codes(&answer.json()), [Some(code); 2]);
        assert_eq!(bench.queued().await, []);
    }
}

#[tokio::test]
async fn items_do_not_keep_each_other_in_memory() {
    let long = "x".repeat(100_000);
    let sends = batch(["ep_1", "ep_2"].map(|id| json!({"endpointId": id, "payload": {"a": long}})));
    let event = json!({"eventType": "order.paid", "payload": {"a": long}});
    let triggers = batch([event.clone(), event]);
    for (path, body) in [(SENDS, sends), (TRIGGERS, triggers)] {
        let bench = Bench::new().await;
        let answer = ask(&bench.router(), post(path, KEY, body.clone())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let starts = bench.queued().await;
        let starts = starts
            .iter()
            .map(|it| it.payload.as_bytes().as_ptr().addr());
        let starts: std::collections::BTreeSet<_> = starts.collect();
        // In the body they lie this far from each other.
        let places: Vec<_> = body.match_indices("{\"a\"").map(|(at, _)| at).collect();
        let apart = places[1] - places[0];
        assert!(
            starts
                .iter()
                .all(|start| !starts.contains(&(start + apart))),
            "{path}"
        );
    }
}
