//! A NATS server that is gone, stands still or has no room: the server says so, and nobody waits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nahook_testserver::{NatsOptions, NatsServer, SmallDisk};
use serde_json::Value;
use tokio::task::block_in_place;

use super::delivering::server;
use crate::support::SOON;
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

/// Returns the answer of one of the operations' routes.
async fn asked(server: &Server, path: &str) -> (u16, String) {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}{path}", server.address))
        .body(Empty::new())
        .unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Waits until the check of the queue gives this answer.
async fn wait_for_queue_check(server: &Server, expected: &str) {
    let give_up = Instant::now() + SOON;
    loop {
        let (_, body) = asked(server, "/readyz").await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        if answer["checks"]["queue"] == expected {
            return;
        }
        assert!(Instant::now() < give_up, "not {expected:?}: {body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_for_readiness(server: &Server, expected: u16) -> String {
    let give_up = Instant::now() + SOON;
    loop {
        let (status, body) = asked(server, "/readyz").await;
        if status == expected {
            return body;
        }
        assert!(Instant::now() < give_up, "not {expected}: {body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_is_said_by_the_probe_and_by_every_trigger() {
    for is_frozen in [false, true] {
        let nats = NatsServer::start();
        let receiver = Receiver::start().await;
        let server = server(&nats.url(), &receiver, &["ep_1", "ep_2"]).await;
        wait_for_readiness(&server, 200).await;

        block_in_place(|| {
            if is_frozen {
                nats.freeze();
            } else {
                nats.kill();
            }
        });
        let said = wait_for_readiness(&server, 503).await;
        assert!(
            said.contains("queue") && !said.contains("127.0.0.1"),
            "{said}"
        );
        assert_eq!(asked(&server, "/healthz").await.0, 200, "it lives");
        let asked_at = Instant::now();
        let answer = server.api().trigger(EVENT_TYPE, "{}").await;
        assert!(answer.at - asked_at < SOON, "it is late");
        assert!(answer.delivery_ids().is_empty());
        let failures = answer.json()["failures"].clone();
        let code = if is_frozen {
            "unconfirmed"
        } else {
            "queue_unavailable"
        };
        for failure in failures.as_array().unwrap() {
            assert_eq!(failure["code"], code, "{failures}");
        }
        assert_eq!(failures.as_array().unwrap().len(), 2);

        block_in_place(|| {
            if is_frozen {
                nats.thaw();
            } else {
                nats.start_again();
            }
        });
        wait_for_queue_check(&server, "ok").await;
        // What was definitely not queued does not come; what was unconfirmed does, since the stream got it.
        let before = if is_frozen { 2 } else { 0 };
        receiver.exactly(before).await;
        assert_eq!(server.trigger("{}").await.len(), 2);
        receiver.exactly(before + 2).await;
        // The failed trigger no longer counts, since one has succeeded.
        wait_for_readiness(&server, 200).await;
    }
}

/// Whoever is on call learns from the probe what to do: make room, or bring the server back.
#[tokio::test(flavor = "multi_thread")]
async fn probe_names_the_reason_why_nothing_can_be_queued() {
    let nats = NatsServer::start();
    let endpoints = vec![endpoint("ep_1", "https://receiver.example/")];
    let url = nats.url();
    let settings = ["--queue", &url, "--nats-bytes-max", "20000"];
    let held = [&settings[..], &["--hold-deliveries"]].concat();
    let server = Server::with_settings(&shop(endpoints), &held).await;
    wait_for_queue_check(&server, "ok").await;
    let is_queued = async || {
        let answer = server.api().trigger(EVENT_TYPE, "{}").await;
        if answer.status == 202 {
            return !answer.delivery_ids().is_empty();
        }
        answer.assert_error(503, "unavailable");
        assert!(answer.header("retry-after").is_some());
        false
    };
    let mut queued = 0;
    while is_queued().await {
        queued += 1;
        assert!(queued < 200, "it takes everything");
    }
    wait_for_queue_check(&server, "the stream or the account is full").await;
    block_in_place(|| nats.kill());
    wait_for_queue_check(&server, "there is no connection to a NATS server").await;
}

/// nats-server answers nothing that it cannot write, and takes nothing more until it starts again.
#[test]
fn full_disk_of_the_queue_is_said_by_the_probe_until_something_is_stored() {
    let Some(disk) = SmallDisk::mount(8) else {
        return;
    };
    nahook_testkit::run(async {
        let options = NatsOptions::new().jetstream("max_file_store: 4GB");
        let nats = options.store(&disk.path().join("store")).start();
        let endpoints = vec![endpoint("ep_1", "https://receiver.example/")];
        let url = nats.url();
        let settings = ["--queue", &url, "--hold-deliveries"];
        let server = Server::with_settings(&shop(endpoints), &settings).await;
        wait_for_readiness(&server, 200).await;
        disk.fill();
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(100 << 10));
        let answer = server.api().trigger(EVENT_TYPE, &large).await;
        assert!(answer.delivery_ids().is_empty());
        wait_for_readiness(&server, 503).await;
        let said = "the stream stores nothing: see the NATS server's log, its disk may be full";
        wait_for_queue_check(&server, said).await;
        std::fs::remove_file(disk.ballast()).unwrap();
        nats.stop();
        nats.start_again();
        wait_for_queue_check(&server, "ok").await;
        assert_eq!(server.trigger("{}").await.len(), 1);
        wait_for_readiness(&server, 200).await;
    });
}
