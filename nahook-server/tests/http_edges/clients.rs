//! What the published clients do beside what they are asked to.

use std::time::Duration;

use super::wire::{Wire, request, request_without_key};
use crate::support::manifest::{endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

const PATH: &str = "/api/ingest/event/order.paid";
const BODY: &str = "{\"payload\":{\"n\":1}}";
/// What Java's client sends with every request over plain HTTP.
const H2C: [&str; 3] = [
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
];

async fn server() -> Server {
    Server::with(&shop(vec![endpoint("ep_1", "http://192.0.2.1/")])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_http_2_is_answered_in_http_1() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    // Twice on one connection: it is neither upgraded nor closed.
    for _ in 0..2 {
        let answer = wire.exchange(request("POST", PATH, &H2C, BODY)).await;
        answer.assert_accepted(1);
        assert_eq!(answer.header("upgrade"), None, "{answer:?}");
    }
    let answer = wire
        .exchange(request_without_key("GET", "/healthz", &H2C, ""))
        .await;
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_with_content_length_zero_is_a_get() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    for _ in 0..2 {
        let answer = wire
            .exchange("GET /readyz HTTP/1.1\r\nhost: nahook\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_idles_is_there_when_it_is_needed_again() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    wire.exchange(request("POST", PATH, &[], BODY))
        .await
        .assert_accepted(1);
    // Longer than any usual header or keep-alive time-out that would show within a test.
    tokio::time::sleep(Duration::from_millis(7_500)).await;
    wire.exchange(request("POST", PATH, &[], BODY))
        .await
        .assert_accepted(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_idles_before_its_first_request_is_kept_too() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    wire.exchange(request("POST", PATH, &[], BODY))
        .await
        .assert_accepted(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_content_type_or_none_will_do() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    for headers in [
        &[][..],
        &["content-type: application/json"],
        &["content-type: application/json; charset=utf-8"],
        &["Content-Type: APPLICATION/JSON;charset=\"UTF-8\""],
        &["content-type: text/plain"],
    ] {
        wire.exchange(request("POST", PATH, headers, BODY))
            .await
            .assert_accepted(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_in_chunks_and_the_head_in_pieces() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let mut wire = Wire::connect(server.address).await;
    let whole = request("POST", PATH, &["transfer-encoding: chunked"], "");
    let head = whole.replace("content-length: 0\r\n", "");
    for piece in head.as_bytes().chunks(40) {
        wire.send(piece).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for piece in ["{\"pay", "load\":", "{\"n\" :", " 1.50}}"] {
        wire.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wire.exchange("0\r\n\r\n").await.assert_accepted(1);
    assert_eq!(receiver.exactly(1).await[0].body, "{\"n\" : 1.50}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_follow_each_other_without_waiting() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    let one = request("POST", PATH, &["x-request-id: one"], BODY);
    let two = request("POST", PATH, &["x-request-id: two"], "{}");
    wire.send(one + &two).await;
    let (first, second) = (wire.answer().await, wire.answer().await);
    first.assert_accepted(1);
    assert_eq!(first.header("x-request-id"), Some("one"));
    second.assert_error(400, "validation_error");
    assert_eq!(second.header("x-request-id"), Some("two"));
}
