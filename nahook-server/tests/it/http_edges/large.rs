//! Bodies that are too large or too slow cost the server next to nothing, and the others nothing at all.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::wire::{Wire, request};
use crate::support::SOON;
use crate::support::manifest::{endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;
use crate::support::shell::shell;

const PATH: &str = "/api/ingest/event/order.paid";
const HUNDRED_MB: usize = 100_000_000;
/// By how much the server's memory may grow while it is sent 100 MB several times, in KiB.
const GROWTH_MAX_KIB: u64 = 16 * 1024;

async fn server(receiver: &Receiver) -> Server {
    Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await
}

/// Sends the head and then as much of the body as the server takes; stops at its answer.
async fn pour(server: &Server, head: String, chunked: bool) {
    let mut wire = Wire::connect(server.address).await;
    wire.send(head).await;
    let chunk = if chunked {
        format!("10000\r\n{}\r\n", "x".repeat(0x10000))
    } else {
        "x".repeat(0x10000)
    };
    let (reader, mut writer) = wire.stream.split();
    let pouring = async {
        for _ in 0..HUNDRED_MB / 0x10000 {
            if writer.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        // All of it was taken: the answer is still to come.
        std::future::pending::<()>().await;
    };
    let answered = async {
        tokio::select! {
            () = pouring => {}
            readable = reader.readable() => readable.unwrap(),
        }
    };
    timeout(SOON, answered)
        .await
        .expect("an answer before the body's end");
    let answer = wire.answer().await;
    answer.assert_error(413, "payload_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_are_refused_without_being_held() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    server.trigger("{}").await;
    let before = server.process.memory_kib();

    let announced = request("POST", PATH, &[], "").replace(
        "content-length: 0",
        &format!("content-length: {HUNDRED_MB}"),
    );
    let chunked =
        request("POST", PATH, &[], "").replace("content-length: 0", "transfer-encoding: chunked");
    pour(&server, announced, false).await;
    pour(&server, chunked, true).await;

    let growth = server.process.memory_peak_kib().saturating_sub(before);
    assert!(
        growth <= GROWTH_MAX_KIB,
        "the server's memory grew by {growth} KiB"
    );
    receiver.exactly(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_the_refusal_of_a_file_that_is_too_large() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    for len in [400_000, 3_000_000, HUNDRED_MB] {
        let body = format!("{{\"payload\":{{\"x\":\"{}\"}}}}", "x".repeat(len));
        std::fs::write(server.dir().join("body.json"), body).unwrap();
        let line = format!(
            "curl -X POST http://{}{PATH} -H 'Authorization: Bearer {}' --data-binary @body.json",
            server.address,
            crate::support::manifest::KEY,
        );
        let (status, body) = shell(server.dir(), &line).await;
        assert_eq!(status, 413, "{body}");
        assert!(body.contains("payload_too_large"), "{body}");
    }
    receiver.exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    let head = request("POST", PATH, &["expect: 100-continue"], "")
        .replace("content-length: 0", "content-length: 3000000");
    wire.exchange(head)
        .await
        .assert_error(413, "payload_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_given_up_after_five_seconds_while_others_are_served() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let body = format!("{{\"payload\":{{\"slow\":\"{}\"}}}}", "x".repeat(1_000));
    let whole = request("POST", PATH, &[], &body);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::connect(server.address).await;
        wire.send(&whole.as_bytes()[..whole.len() - body.len()])
            .await;
        slow.push(wire);
    }
    let began = Instant::now();
    let mut rest = body.as_bytes().chunks(10);
    let mut accepted = 0;
    while began.elapsed() < Duration::from_secs(4) {
        let piece = rest.next().unwrap();
        for wire in &mut slow {
            wire.send(piece).await;
        }
        server.trigger("{}").await;
        accepted += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for wire in &mut slow {
        let answer = wire.answer().await;
        assert!(matches!(answer.status(), 408 | 504), "{answer:?}");
        assert!(answer.body.contains("timeout"), "{answer:?}");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4_500), "{took:?}");
    // Nothing of a request that was given up is delivered.
    receiver.exactly(accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing_behind() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    for keep in [1, 50, 120] {
        let whole = request("POST", PATH, &[], "{\"payload\":{\"half\":true}}");
        let mut wire = Wire::connect(server.address).await;
        wire.send(&whole.as_bytes()[..whole.len() - 1 - keep.min(20)])
            .await;
        drop(wire);
    }
    let mut wire = Wire::connect(server.address).await;
    wire.send("this is not HTTP\r\n\r\n").await;
    assert!(wire.answer().await.status_line.contains(" 400 "));
    assert!(wire.is_closed_within(Duration::from_mins(1)).await);
    server.trigger("{}").await;
    receiver.exactly(1).await;
}
