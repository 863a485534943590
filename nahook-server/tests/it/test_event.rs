//! A test event arrives and is in the delivery log, whatever the store and the queue are.

use std::time::{Duration, Instant};

use nahook_testserver::{NatsServer, PostgresServer};
use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::manifest::{SECRET, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server};

const TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000e2";
const BASE: &str = "/management/v1/workspaces/ws_shop";
const PAYLOAD: &str = r#"{ "n" : 1.0e+02, "deep":[[[]]] }"#;

/// Two endpoints that are subscribed to the same, and a management token.
fn manifest(receiver: &Receiver) -> Value {
    let endpoints = ["ep_1", "ep_2"].map(|id| endpoint(id, &receiver.url(&format!("/{id}"))));
    let mut manifest = shop(endpoints.into());
    manifest["workspaces"][0]["management_tokens"] = json!([{ "name": "ops", "token": TOKEN }]);
    // What one may send at once is spent by the first event.
    manifest["workspaces"][0]["plan"] = json!({ "key_rate": { "count": 1, "period_secs": 3600 } });
    manifest
}

async fn arrives(server: &Server, receiver: &Receiver) {
    let api = server.api_with(TOKEN);
    let path = format!("{BASE}/endpoints/ep_1/test");
    server.trigger("{}").await;
    receiver.wait_for(2).await;

    let answer = api.post(&path, format!("{{\"payload\":{PAYLOAD}}}")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["deliveryId"].as_str().unwrap().to_owned();
    let arrivals = receiver.exactly(3).await;
    let arrival = &arrivals[2];
    arrival.assert_signed(SECRET);
    assert_eq!(
        (arrival.path.as_str(), &arrival.body[..]),
        ("/ep_1", PAYLOAD.as_bytes())
    );
    assert_eq!(arrival.header("nahook-delivery-id"), id);

    let shown = format!("{BASE}/deliveries/{id}?include=payload");
    let give_up = Instant::now() + SOON;
    loop {
        // The log of a queue elsewhere follows a moment later.
        let answer = api.get(&shown).await;
        if answer.status == 200 && answer.json()["status"] == "delivered" {
            let json = answer.json();
            assert_eq!(json["endpointId"], "ep_1");
            assert_eq!(
                (&json["totalAttempts"], &json["eventTypeId"]),
                (&1.into(), &Value::Null)
            );
            let sent: Value = serde_json::from_str(PAYLOAD).unwrap();
            assert_eq!(json["payload"]["data"], sent);
            break;
        }
        assert!(Instant::now() < give_up, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Neither has cost the plan anything, nor is it an event that somebody triggered.
    for _ in 0..3 {
        assert_eq!(api.post(&path, "").await.status, 202);
    }
    receiver.exactly(6).await;
    assert!(receiver.arrivals_at("/ep_2").len() == 1, "the trigger's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_arrives_from_a_file() {
    let receiver = Receiver::start().await;
    let server = Server::with(&manifest(&receiver)).await;
    arrives(&server, &receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_arrives_from_postgres() {
    let receiver = Receiver::start().await;
    let url = PostgresServer::shared().create_database();
    let [server] = Server::sharing(&url, &manifest(&receiver)).await;
    arrives(&server, &receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_arrives_over_nats() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    let queue = nats.url();
    let settings = [&ALLOW_LOOPBACK[..], &["--queue", &queue]].concat();
    let server = Server::with_settings(&manifest(&receiver), &settings).await;
    arrives(&server, &receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_arrives_over_nats_beside_postgres() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    let url = PostgresServer::shared().create_database();
    let (manifest, queue) = (manifest(&receiver), nats.url());
    let [server] = Server::sharing_with(&url, &manifest, &["--queue", &queue]).await;
    arrives(&server, &receiver).await;
}
