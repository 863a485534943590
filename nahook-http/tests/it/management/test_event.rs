use std::sync::Arc;
use std::time::Duration;

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind};
use nahook_queue::{DeliveryQueue as _, LeaseRequest, WorkerId};
use serde_json::json;

use crate::management::support::Bench;

const PATH: &str = "/endpoints/ep_1/test";

impl Bench {
    /// Returns the due deliveries by id, endpoint and payload.
    async fn due(&self) -> Vec<(String, String, String)> {
        let request = LeaseRequest::new(WorkerId(1), 100, Duration::from_mins(1));
        let leased = self.memory.lease(&request).await.unwrap().deliveries;
        let told = leased.into_iter().map(|due| {
            assert_eq!(due.event_type, None);
            let payload = String::from_utf8(due.payload.as_bytes().to_vec()).unwrap();
            (
                due.lease.delivery.to_string(),
                due.endpoint.to_string(),
                payload,
            )
        });
        told.collect()
    }
}

#[tokio::test]
async fn a_test_event_is_one_delivery_to_that_endpoint_alone() {
    let bench = Bench::new().await;
    let two = json!({"url": "https://two.example/"});
    let two = bench.post("/endpoints", &two).await.json(201)["id"].clone();
    let subscribe = json!({"eventTypeIds": ["evt_paid"]});
    let path = format!("/endpoints/{}/subscriptions", two.as_str().unwrap());
    bench.post(&path, &subscribe).await.json(201);

    let path = format!("{}{PATH}", crate::management::support::SHOP);
    let sent = bench
        .ask(axum::http::Method::POST, &path, "")
        .await
        .json(202);
    let id = sent["deliveryId"].as_str().unwrap();
    assert_eq!(sent, json!({"deliveryId": id}));
    let due = bench.due().await;
    assert_eq!(due.len(), 1, "{due:?}");
    assert_eq!((due[0].0.as_str(), due[0].1.as_str()), (id, "ep_1"));
    assert!(due[0].2.contains(r#""type":"nahook.test""#), "{due:?}");
    let shown = bench.get(&format!("/deliveries/{id}")).await.json(200);
    assert_eq!(shown["endpointId"], "ep_1");

    // What is given arrives byte for byte.
    let given = r#"{ "b":1e400,  "a":[[[]]],"b":2, "c":"\ud83d" }"#;
    let body = format!(r#"{{"payload": {given} }}"#);
    let sent = bench
        .ask(axum::http::Method::POST, &path, body)
        .await
        .json(202);
    let id = sent["deliveryId"].as_str().unwrap().to_owned();
    assert_eq!(
        bench.due().await,
        [(id, "ep_1".to_owned(), given.to_owned())]
    );
}

#[tokio::test]
async fn a_test_event_that_cannot_be_sent_is_refused() {
    let bench = Bench::new().await;
    for path in ["/endpoints/ep_other/test", "/endpoints/ep_none/test"] {
        let said = bench.post(path, &json!({})).await.error(404, "not_found");
        assert_eq!(said, "Endpoint not found");
    }
    for payload in [json!("text"), json!(7), json!([1]), json!(true)] {
        let body = json!({"payload": payload});
        let said = bench.post(PATH, &body).await.error(400, "validation_error");
        assert_eq!(said, "payload must be a JSON object");
    }
    let off = json!({"isActive": false});
    bench.patch("/endpoints/ep_1", &off).await.json(200);
    let refused = bench.post(PATH, &json!({})).await;
    refused.error(409, "endpoint_disabled");
    assert_eq!(bench.due().await, []);
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

#[tokio::test]
async fn a_queue_that_is_down_is_told() {
    for (kind, status, code) in [
        (FailureKind::QueueUnavailable, 503, "unavailable"),
        (FailureKind::Unconfirmed, 409, "unconfirmed"),
    ] {
        let bench = Bench::with(|ports| ports.publisher = Arc::new(Saying(kind))).await;
        bench.post(PATH, &json!({})).await.error(status, code);
    }
}
