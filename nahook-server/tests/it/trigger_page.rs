//! The documentation's own example against the real program, with the example manifest applied.

use serde_json::json;

use crate::support::manifest::{SECRET, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::{Arrival, Receiver};
use crate::support::server::{ALLOW_LOOPBACK, Server};
use crate::support::shell::shell;

/// The request of the Trigger page, as it is there.
const PAGE: &str = r#"curl -X POST https://us.api.nahook.com/api/ingest/event/order.paid \
  -H "Authorization: Bearer nhk_us_YOUR_API_KEY_0000000000000000" \
  -H "Content-Type: application/json" \
  -d '{
    "payload": { "orderId": "ord_123", "status": "paid" },
    "metadata": { "source": "checkout-service" }
  }'"#;

/// The payload within it, to the byte.
const PAGE_PAYLOAD: &str = r#"{ "orderId": "ord_123", "status": "paid" }"#;

/// A server with the example manifest applied by the program itself, its receivers' port alone changed, and the first key
/// that it has drawn.
async fn server_with_the_example(receiver: &Receiver) -> (Server, String) {
    let example = include_str!("../../examples/manifest.toml");
    let manifest = example.replace("127.0.0.1:3002", &receiver.address.to_string());
    assert_ne!(manifest, example);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest.toml");
    std::fs::write(&path, manifest).unwrap();
    let applied = Nahook::run(dir.path(), &["apply", path.to_str().unwrap()]).await;
    assert!(applied.success, "{}", applied.stderr);
    let mut words = applied.stdout.split_whitespace();
    let key = words.find(|word| word.starts_with("nhk_")).unwrap();
    (Server::start(dir, &ALLOW_LOOPBACK).await, key.to_owned())
}

fn at<'a>(arrivals: &'a [Arrival], path: &str) -> &'a Arrival {
    arrivals
        .iter()
        .find(|arrival| arrival.path == path)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_own_curl_reaches_every_subscribed_endpoint_once() {
    let receiver = Receiver::start().await;
    let (server, key) = server_with_the_example(&receiver).await;
    let line = PAGE
        .replace(
            "https://us.api.nahook.com",
            &format!("http://{}", server.address),
        )
        .replace("nhk_us_YOUR_API_KEY_0000000000000000", &key);

    let (status, body) = shell(server.dir(), &line).await;

    assert_eq!(status, 202, "{body}");
    let receipt: serde_json::Value = serde_json::from_str(&body).unwrap();
    let ids = receipt["deliveryIds"].as_array().unwrap().clone();
    let documented = json!({
        "eventTypeId": "evt_order_paid", "deliveryIds": ids, "status": "accepted", "failures": [],
    });
    assert_eq!(receipt, documented);
    assert!(
        ids.iter()
            .all(|id| id.as_str().unwrap().starts_with("del_")),
        "{body}"
    );

    // The key is Production's, so the endpoint in Staging gets nothing.
    let arrivals = receiver.exactly(2).await;
    let (billing, mail) = (at(&arrivals, "/billing"), at(&arrivals, "/mail"));
    for (arrival, id) in [(billing, &ids[0]), (mail, &ids[1])] {
        assert_eq!(arrival.method, "POST");
        assert_eq!(arrival.body, PAGE_PAYLOAD);
        arrival.assert_signed(SECRET);
        assert_eq!(arrival.header("content-type"), "application/json");
        assert_eq!(arrival.header("nahook-delivery-id"), id.as_str().unwrap());
        assert_eq!(arrival.header("nahook-event-type"), "order.paid");
        assert_eq!(arrival.header("nahook-attempt"), "1");
        let agent = format!("nahook/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(arrival.header("user-agent"), agent);
        assert!(arrival.header("webhook-id").starts_with("msg_"));
        // Labels are for whoever looks at deliveries, not for the receiver.
        assert!(!format!("{:?}", arrival.headers).contains("checkout-service"));
    }
    assert_eq!(billing.header("webhook-id"), mail.header("webhook-id"));
    assert_eq!(
        mail.header("authorization"),
        "Basic bmFob29rOm5vdC1hLXJlYWwtcGFzc3dvcmQ="
    );
    assert!(!billing.headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calling_it_again_delivers_again() {
    let receiver = Receiver::start().await;
    let (server, key) = server_with_the_example(&receiver).await;
    let api = server.api_with(&key);

    let first = api.trigger("order.paid", PAGE_PAYLOAD).await.delivery_ids();
    let second = api.trigger("order.paid", PAGE_PAYLOAD).await.delivery_ids();

    assert!(first.iter().all(|id| !second.contains(id)));
    let arrivals = receiver.exactly(4).await;
    let mut arrived: Vec<_> = arrivals
        .iter()
        .map(|a| a.header("nahook-delivery-id"))
        .collect();
    arrived.sort_unstable();
    let mut answered: Vec<_> = first.iter().chain(&second).collect();
    answered.sort_unstable();
    assert_eq!(arrived, answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_arrives_byte_for_byte() {
    let receiver = Receiver::start().await;
    let endpoints = ["/a", "/b"].map(|path| {
        endpoint(
            &format!("ep{}", path.replace('/', "_")),
            &receiver.url(path),
        )
    });
    let server = Server::with(&shop(endpoints.into())).await;
    let long = format!("{{\"blob\":\"{}\"}}", "ä€😀\\u00e4\\/".repeat(8_000));
    let payloads = [
        "{}",
        "{ \"b\" : 1.0e+02,\r\n\t\"a\":12345678901234567890123456789 ,\"a\":\"\\u0041\\/\" }",
        "{\"z\":-0,\"y\":1E400,\"x\":0.10000000000000000000001,\"w\":1.50}",
        "{\"caf\u{e9}\":\"\u{20ac}9.99\u{2028}\\u0000\"}",
        "{\"nested\":[[[{\"\":null}]]],\"payload\":{\"metadata\":true}}",
        &long,
    ];
    for (round, payload) in payloads.iter().enumerate() {
        let ids = server
            .api()
            .trigger("order.paid", payload)
            .await
            .delivery_ids();
        assert_eq!(ids.len(), 2);
        let arrivals = receiver.wait_for(2 * (round + 1)).await;
        for arrival in &arrivals[2 * round..] {
            assert_eq!(arrival.body, payload.as_bytes());
            arrival.assert_signed(SECRET);
        }
    }
    receiver.exactly(2 * payloads.len()).await;
}
