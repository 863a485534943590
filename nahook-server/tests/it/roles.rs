//! Processes that only take events in beside processes that only deliver: on a database, and over NATS as well.

use std::time::{Duration, Instant};

use nahook_postgres::{PostgresSettings, PostgresStore};
use nahook_queue::{DeliveryLog as _, DeliveryStatus};
use nahook_testserver::{NatsServer, PostgresServer};

use crate::support::manifest::{EVENT_TYPE, SECRET, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server, announced_address};
use crate::support::{SOON, until};

/// A process of this role on the database, with these settings besides.
async fn process(url: &str, role: &str, settings: &[&str]) -> Server {
    let settings = [&["--role", role], &ALLOW_LOOPBACK[..], settings].concat();
    Server::join(url, &settings).await
}

/// One takes in and delivers nothing; another delivers, and takes nothing in. Then each has company, and each delivery still
/// arrives once.
async fn each_does_its_part(queue: &[&str]) {
    let receiver = Receiver::start().await;
    let endpoints = ["ep_1", "ep_2"].map(|id| endpoint(id, &receiver.url(&format!("/{id}"))));
    let url = PostgresServer::shared().create_database();
    let settings = [&["--role", "ingest"], queue].concat();
    let [one, other] = Server::sharing_with(&url, &shop(endpoints.into()), &settings).await;

    let mut told = Vec::new();
    for server in [&one, &other, &one] {
        told.extend(server.trigger("{}").await);
        assert_eq!(server.api().get("/readyz").await.status, 200);
    }
    assert_eq!(told.len(), 6);
    receiver.exactly(0).await;

    let worker = process(&url, "worker", queue).await;
    receiver.wait_for(6).await;
    let another = process(&url, "worker", queue).await;
    for server in [&one, &other, &one, &other] {
        told.extend(server.trigger("{}").await);
    }
    let mut arrived: Vec<_> = receiver.exactly(14).await;
    arrived.sort_by_key(|arrival| arrival.header("nahook-delivery-id").to_owned());
    told.sort();
    for (arrival, id) in arrived.iter().zip(&told) {
        assert_eq!(arrival.header("nahook-delivery-id"), id);
        arrival.assert_signed(SECRET);
    }

    for server in [&worker, &another] {
        let refused = server.api().trigger(EVENT_TYPE, "{}").await;
        refused.assert_error(404, "not_found");
        for path in [
            "/management/v1/workspaces/ws_shop/endpoints",
            "/openapi.json",
        ] {
            server.api().get(path).await.assert_error(404, "not_found");
        }
        for path in ["/healthz", "/readyz"] {
            let answer = server.api().get(path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        assert!(server.metrics().await.contains("nahook_"));
    }
    let store = PostgresStore::connect(&url, PostgresSettings::default());
    let store = store.await.unwrap();
    for id in told {
        let give_up = Instant::now() + SOON;
        let (id, workspace) = (id.parse().unwrap(), "ws_shop".parse().unwrap());
        loop {
            let record = store.delivery(id, &workspace).await.unwrap();
            if record.is_some_and(|record| record.status == DeliveryStatus::Delivered) {
                break;
            }
            assert!(Instant::now() < give_up, "{id} is not in the log");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let attempts = |server: &Server| server.process.stderr.count(&["attempt", "del_"]);
    assert_eq!(attempts(&one) + attempts(&other), 0, "they deliver nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_does_its_part_on_a_database() {
    each_does_its_part(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_does_its_part_over_nats() {
    let nats = NatsServer::start();
    each_does_its_part(&["--queue", &nats.url()]).await;
}

/// A worker that comes first makes no key that nobody could use; what takes events in does, and shows it.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_is_that_of_who_takes_events_in() {
    let url = PostgresServer::shared().create_database();
    let worker = process(&url, "worker", &[]).await;
    let mut ingest = process(&url, "ingest", &[]).await;
    ingest.process.line("curl -X POST").await;
    assert_eq!(worker.process.stdout.find("curl"), None);
}

/// A file and memory are one process's: the start is refused, and says what to set.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_process_can_have_is_not_divided() {
    let nats = NatsServer::start();
    let url = nats.url();
    let dir = tempfile::tempdir().unwrap();
    for role in ["ingest", "worker"] {
        let with_queue = ["--queue", &url];
        for more in [&[][..], &["--store", "memory://"], &with_queue] {
            let arguments = ["serve", "--listen", "127.0.0.1:0", "--role", role];
            let arguments = [&arguments[..], more].concat();
            let ended = Nahook::run(dir.path(), &arguments).await;
            assert!(!ended.success, "{arguments:?}: {}", ended.stdout);
            assert!(ended.stderr.contains("--role"), "{}", ended.stderr);
            let what = "set --store postgres://";
            assert!(ended.stderr.contains(what), "{}", ended.stderr);
        }
    }
    assert!(!dir.path().join("nahook-data").exists(), "nothing is left");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--role", "all"];
    let mut all = Nahook::start(dir.path(), &arguments);
    announced_address(&mut all).await;
    until(SOON, "the file is there", || {
        dir.path().join("nahook-data").exists().then_some(())
    })
    .await;
}
