use std::sync::Arc;
use std::time::Duration;

use nahook_control::{KeyHash, KeyStore as _};
use nahook_core::{EventTypeName, FanOut, Metadata, NewEvent, Payload, Timestamp};
use nahook_queue::{Attempt, DeliveryQueue as _, LeaseRequest, Next, Settlement, WorkerId};
use serde_json::{Value, json};

use crate::management::support::{Bench, KEY, ids};

const PAYLOAD: &str = r#"{ "b":1e400,  "a":[[[]]],"b":2 }"#;

impl Bench {
    /// Triggers an event for the shop's endpoint; answers the delivery's id.
    pub(crate) async fn trigger(&self) -> String {
        let labels = [("source".to_owned(), "checkout".to_owned())];
        self.trigger_labelled(Metadata::new(labels.into()).unwrap())
            .await
    }

    async fn trigger_labelled(&self, metadata: Metadata) -> String {
        let caller = self.memory.api_key(&KeyHash::of(KEY)).await.unwrap();
        let engine = FanOut::new(self.memory.clone(), self.memory.clone());
        let engine = engine.with_clock(Arc::clone(&self.clock));
        let event = NewEvent {
            event_type: EventTypeName::new("order.paid").unwrap(),
            payload: Payload::new(PAYLOAD).unwrap(),
            metadata,
        };
        let receipt = engine
            .trigger(event, caller.unwrap().identity.scope())
            .await
            .unwrap();
        receipt.deliveries()[0].id().to_string()
    }

    /// Attempts everything that is due, once, without success.
    pub(crate) async fn fail_all(&self, next: Next) {
        let request = LeaseRequest::new(WorkerId(1), 100, Duration::from_mins(1));
        for leased in self.memory.lease(&request).await.unwrap().deliveries {
            let attempt = Attempt {
                started_at: Timestamp::from_millis(1_795_680_000_250),
                duration: Duration::from_millis(87),
                status_code: Some(502),
                error: Some("the receiver answered 502".to_owned()),
                response_body: None,
            };
            let settlement = Settlement {
                lease: leased.lease,
                attempt: Some(attempt),
                next,
            };
            self.memory.settle(&[settlement]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_payload_on_request_and_its_attempts() {
    let bench = Bench::new().await;
    let id = bench.trigger().await;
    bench.fail_all(Next::Failed).await;
    let path = format!("/deliveries/{id}");
    let shown = bench.get(&path).await.json(200);
    let mut expected = json!({
        "id": id, "idempotencyKey": shown["idempotencyKey"], "endpointId": "ep_1", "eventTypeId": "evt_paid",
        "metadata": {"source": "checkout"}, "status": "failed", "totalAttempts": 1,
        "firstAttemptAt": "2026-11-26T08:00:00.250Z", "deliveredAt": null, "nextRetryAt": null, "hasPayload": true,
        "createdAt": "2026-11-26T08:00:00.000Z", "updatedAt": "2026-11-26T08:00:00.000Z",
    });
    assert_eq!(shown, expected);
    assert!(!shown["idempotencyKey"].as_str().unwrap().is_empty());
    let with = bench.get(&format!("{path}?include=payload")).await;
    let text = std::str::from_utf8(&with.body).unwrap();
    let envelope = format!(
        r#""payload":{{"status":"available","data":{PAYLOAD},"contentType":"application/json"}}"#
    );
    assert!(text.contains(&envelope), "{text}");
    bench
        .get(&format!("{path}?include=secret"))
        .await
        .error(400, "validation_error");
    let attempts = bench.get(&format!("{path}/attempts")).await.json(200);
    let digits = id.strip_prefix("del_").unwrap();
    assert_eq!(
        attempts,
        json!([{
            "id": format!("att_{digits}_1"), "attemptNumber": 1, "status": "failed", "responseStatusCode": 502,
            "responseTimeMs": 87, "errorMessage": "the receiver answered 502", "createdAt": "2026-11-26T08:00:00.250Z",
        }])
    );
    for missing in [
        "/deliveries/del_x",
        "/deliveries/del_00000000000000000000000000",
        "/deliveries/nothing/attempts",
    ] {
        assert_eq!(
            bench.get(missing).await.error(404, "not_found"),
            "Delivery not found"
        );
    }
    bench.delete("/endpoints/ep_1").await.nothing();
    expected["endpointId"] = json!("ep_1");
    assert_eq!(bench.get(&path).await.json(200), expected);
    let list = bench.get("/endpoints/ep_1/deliveries").await.json(200);
    assert_eq!(list["deliveries"], json!([expected]));
}

#[tokio::test]
async fn pages_show_every_delivery_once_the_newest_first() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.insert(0, bench.trigger().await);
        bench.clock.forward(5);
    }
    let mut seen = Vec::new();
    let mut query = "?limit=3".to_owned();
    let mut pages = 0;
    loop {
        let page = bench
            .get(&format!("/endpoints/ep_1/deliveries{query}"))
            .await
            .json(200);
        seen.extend(ids(&page["deliveries"]).into_iter().map(str::to_owned));
        pages += 1;
        // What is queued meanwhile belongs to no later page.
        bench.trigger().await;
        match &page["nextCursor"] {
            Value::String(cursor) => {
                assert!(!cursor.starts_with("del_") && !cursor.contains(&made[0][4..]));
                query = format!("?limit=3&cursor={cursor}");
            }
            other => {
                assert_eq!(*other, Value::Null);
                break;
            }
        }
    }
    assert_eq!((pages, &seen), (3, &made));
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_only() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.trigger().await;
    }
    let own = "/endpoints/ep_1/deliveries?limit=1";
    let page = bench.get(own).await.json(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    bench.get(&format!("{own}&cursor={cursor}")).await.json(200);
    let mut changed = cursor.to_owned().into_bytes();
    changed[3] = if changed[3] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let two = bench
        .post("/endpoints", &json!({"url": "https://two.example/"}))
        .await
        .json(201);
    let two = format!(
        "/endpoints/{}/deliveries?cursor={cursor}",
        two["id"].as_str().unwrap()
    );
    for bad in [
        format!("{own}&cursor={changed}"),
        format!("{own}&cursor={cursor}A"),
        format!("{own}&cursor="),
        format!("{own}&cursor=%00%ff"),
        format!("{own}&status=failed&cursor={cursor}"),
        two,
    ] {
        bench.get(&bad).await.error(400, "invalid_cursor");
    }
}

#[tokio::test]
async fn a_list_is_filtered_bounded_and_goes_back_seven_days() {
    let bench = Bench::new().await;
    let list = async |query: &str| {
        let page = bench
            .get(&format!("/endpoints/ep_1/deliveries{query}"))
            .await
            .json(200);
        page["deliveries"].as_array().unwrap().len()
    };
    assert_eq!(list("").await, 0);
    bench.trigger().await;
    bench.fail_all(Next::DeadLetter).await;
    for _ in 0..60 {
        bench.trigger().await;
    }
    assert_eq!(list("").await, 50);
    assert_eq!(list("?limit=100").await, 61);
    assert_eq!(list("?status=dead_letter").await, 1);
    assert_eq!(list("?status=delivered").await, 0);
    for bad in [
        "?limit=0",
        "?limit=101",
        "?limit=a",
        "?status=lost",
        "?status=",
    ] {
        bench
            .get(&format!("/endpoints/ep_1/deliveries{bad}"))
            .await
            .error(400, "validation_error");
    }
    bench.clock.forward(7 * 24 * 3600 * 1000);
    assert_eq!(list("?limit=100").await, 61);
    bench.clock.forward(1);
    assert_eq!(list("?limit=100").await, 0);
    bench.delete("/endpoints/ep_1").await.nothing();
    // It was there, though nothing of it is listed any more.
    assert_eq!(list("").await, 0);
    assert_eq!(list("?status=delivered").await, 0);
    bench
        .get("/endpoints/ep_never/deliveries")
        .await
        .error(404, "not_found");
}

#[tokio::test]
async fn page_of_huge_labels_ends_early_and_the_next_goes_on() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for _ in 0..9 {
        // Accepted before labels had a bound.
        let labels = [("a".to_owned(), "x".repeat(310_000))];
        let labels = Metadata::from_stored(labels.into()).unwrap();
        made.push(bench.trigger_labelled(labels).await);
    }
    made.sort_unstable_by(|a, b| b.cmp(a));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = bench
            .get(&format!("/endpoints/ep_1/deliveries?limit=100{cursor}"))
            .await;
        let page = page.json(200);
        assert!(page.to_string().len() < 1_500_000);
        seen.extend(ids(&page["deliveries"]).into_iter().map(str::to_owned));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}
