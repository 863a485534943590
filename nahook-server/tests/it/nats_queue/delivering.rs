//! Triggered deliveries arrive, and the store's log shows them.

use std::path::Path;
use std::time::{Duration, Instant};

use nahook_queue::{AttemptRecord, DeliveryLog as _, DeliveryRecord, DeliveryStatus};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testserver::NatsServer;

use crate::support::SOON;
use crate::support::manifest::{EVENT_TYPE, SECRET, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, Server};

const PAYLOAD: &str = r#"{ "n" : 1.0e+02 }"#;

/// A server on a file whose queue is on `nats`.
pub(crate) async fn server(nats: &str, receiver: &Receiver, endpoints: &[&str]) -> Server {
    let endpoints = endpoints
        .iter()
        .map(|id| endpoint(id, &receiver.url(&format!("/{id}"))))
        .collect();
    let settings = [&ALLOW_LOOPBACK[..], &["--queue", nats]].concat();
    Server::with_settings(&shop(endpoints), &settings).await
}

/// Returns the log of a delivery in the server's file, once it shows the expected state.
pub(crate) async fn logged(
    dir: &Path,
    id: &str,
    status: DeliveryStatus,
) -> (DeliveryRecord, Vec<AttemptRecord>) {
    let file = dir.join("nahook-data/nahook.db");
    let store = SqliteStore::open(file, SqliteSettings::tool()).unwrap();
    let (id, workspace) = (id.parse().unwrap(), "ws_shop".parse().unwrap());
    let give_up = Instant::now() + SOON;
    loop {
        let record = store.delivery(id, &workspace).await.unwrap();
        if let Some(record) = &record
            && record.status == status
        {
            let attempts = store.attempts(id, &workspace).await.unwrap().unwrap();
            let payload = store.payload(id, &workspace).await.unwrap().unwrap();
            assert_eq!(payload.as_bytes(), PAYLOAD);
            return (record.clone(), attempts);
        }
        assert!(Instant::now() < give_up, "not {status:?}: {record:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_arrive_signed_and_the_log_shows_what_became_of_them() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    receiver.reply("/ep_bad", [Reply::Status(500)]);
    receiver.reply("/ep_gone", [Reply::Status(410)]);
    let server = server(&nats.url(), &receiver, &["ep_good", "ep_bad", "ep_gone"]).await;

    let answer = server.api().trigger(EVENT_TYPE, PAYLOAD).await;
    let ids = answer.delivery_ids();
    assert_eq!(ids.len(), 3);
    for arrival in receiver.exactly(3).await {
        arrival.assert_signed(SECRET);
        assert_eq!(arrival.body, PAYLOAD);
    }

    let (good, attempts) = logged(server.dir(), &ids[0], DeliveryStatus::Delivered).await;
    assert_eq!((good.attempts, attempts.len()), (1, 1));
    assert_eq!(attempts[0].attempt.status_code, Some(200));
    assert_eq!(good.delivered_at.is_some(), good.next_retry_at.is_none());
    let (bad, attempts) = logged(server.dir(), &ids[1], DeliveryStatus::ScheduledRetry).await;
    assert_eq!((bad.attempts, attempts.len()), (1, 1));
    assert!(bad.next_retry_at.is_some_and(|at| at > bad.updated_at));
    assert_eq!(attempts[0].attempt.status_code, Some(500));
    let (gone, _) = logged(server.dir(), &ids[2], DeliveryStatus::Failed).await;
    assert_eq!(gone.attempts, 1);
}

/// Before any worker has seen it: here there is none that could, since the endpoint is busy with another.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_in_the_log_before_it_is_attempted() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    receiver.reply("/ep_slow", [Reply::Hang]);
    let server = server(&nats.url(), &receiver, &["ep_slow"]).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        let answer = server.api().trigger(EVENT_TYPE, PAYLOAD).await;
        ids.extend(answer.delivery_ids());
    }
    let (record, attempts) = logged(server.dir(), &ids[49], DeliveryStatus::Pending).await;
    assert_eq!((record.attempts, attempts.len()), (0, 0));
    assert!(receiver.len() < 50, "not all can be under way");
}

/// Stopped with work in hand, the next start goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    receiver.reply("/ep_late", [Reply::Status(503)]);
    let mut server = server(&nats.url(), &receiver, &["ep_late"]).await;
    let id = server.trigger(PAYLOAD).await;
    logged(server.dir(), &id[0], DeliveryStatus::ScheduledRetry).await;
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());
    receiver.reply("/ep_late", [Reply::Status(200)]);
    server.start_again().await;
    let (record, attempts) = logged(server.dir(), &id[0], DeliveryStatus::Delivered).await;
    assert_eq!((record.attempts, attempts.len()), (2, 2));
}

/// Whoever moves the queue to NATS leaves nothing behind in the store.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_store_is_delivered_beside_it() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    receiver.reply("/ep_1", [Reply::Status(503), Reply::Status(200)]);
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/ep_1"))]);
    let mut before = Server::with(&manifest).await;
    let id = before.trigger(PAYLOAD).await;
    logged(before.dir(), &id[0], DeliveryStatus::ScheduledRetry).await;
    before.process.terminate();
    assert!(before.process.exit(SOON).await.success());
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--sample", "false"];
    let url = nats.url();
    let arguments = [&arguments[..], &ALLOW_LOOPBACK, &["--queue", &url]].concat();
    let _after = Nahook::start(before.dir(), &arguments);
    let (record, attempts) = logged(before.dir(), &id[0], DeliveryStatus::Delivered).await;
    assert_eq!((record.attempts, attempts.len()), (2, 2));
    assert_eq!(nats.messages("NAHOOK_DELIVERIES"), Some(0));
}

/// With a key the store sees to it that there is one delivery; without, it goes over NATS as a fan-out does.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_directly_arrives_and_with_a_key_only_once() {
    let nats = NatsServer::start();
    let receiver = Receiver::start().await;
    let server = server(&nats.url(), &receiver, &["ep_1"]).await;
    let mut ids = Vec::new();
    for key in [Some("order 17"), Some("order 17"), None, None] {
        let mut body = serde_json::json!({ "payload": {} });
        if let Some(key) = key {
            body["idempotencyKey"] = key.into();
        }
        let answer = server
            .api()
            .post("/api/ingest/ep_1", body.to_string())
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        ids.push(answer.json()["deliveryId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1], "the same delivery");
    let mut arrived: Vec<_> = receiver.exactly(3).await;
    arrived.sort_by_key(|arrival| arrival.header("nahook-delivery-id").to_owned());
    let arrived: Vec<_> = arrived
        .iter()
        .map(|arrival| arrival.header("nahook-delivery-id"))
        .collect();
    let mut expected = vec![&ids[0], &ids[2], &ids[3]];
    expected.sort();
    assert_eq!(arrived, expected);
}
