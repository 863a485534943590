//! Habits of the published clients beside the requests themselves.

use std::time::Duration;

use serde_json::json;

use super::wire::{Wire, request, request_without_key};
use crate::support::manifest::{endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

const PATH: &str = "/api/ingest/event/order.paid";
const BODY: &str = "{\"payload\":{\"n\":1}}";
/// Headers that Java's client sends with every request over plain HTTP.
const H2C: [&str; 3] = [
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
];

const TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000e2";
const BASE: &str = "/management/v1/workspaces/ws_shop";

/// A request to the Management API.
fn managing(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let authorization = format!("authorization: Bearer {TOKEN}");
    let headers = [&[authorization.as_str()], headers].concat();
    request_without_key(method, &format!("{BASE}{path}"), &headers, body)
}

async fn server() -> Server {
    let mut manifest = shop(vec![endpoint("ep_1", "http://192.0.2.1/")]);
    manifest["workspaces"][0]["management_tokens"] = json!([{ "name": "ops", "token": TOKEN }]);
    Server::with(&manifest).await
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

/// PHP knows one kind of empty array, and writes it as a list.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_map_may_be_an_empty_list() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    let made = managing(
        "POST",
        "/applications",
        &[],
        r#"{"name":"A","metadata":[]}"#,
    );
    let made = wire.exchange(made).await;
    assert_eq!(made.status(), 201, "{made:?}");
    let application = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["metadata"], json!({}));
    let portal = format!("/applications/{application}/portal");
    let of_application = format!("/applications/{application}");
    let endpoint = r#"{"url":"https://a.example/","metadata":[],"config":[]}"#;
    for (method, path, body, status) in [
        ("POST", portal.as_str(), "[]", 201),
        ("POST", &portal, r#"{"metadata":[]}"#, 201),
        ("PATCH", &of_application, "[]", 200),
        ("POST", "/endpoints", endpoint, 201),
        ("PATCH", "/endpoints/ep_1", "[]", 200),
        (
            "PATCH",
            "/endpoints/ep_1",
            r#"{"metadata":[],"config":[]}"#,
            200,
        ),
        ("PATCH", "/event-types/evt_order_paid", "[]", 200),
        ("POST", "/endpoints/ep_1/test", r#"{"payload":[]}"#, 202),
        // What must be there is not there.
        ("POST", "/event-types", "[]", 400),
        ("POST", "/endpoints", "[]", 400),
    ] {
        let answer = wire.exchange(managing(method, path, &[], body)).await;
        assert_eq!(
            answer.status(),
            status,
            "{method} {path} {body}: {answer:?}"
        );
    }
    let trigger = request("POST", PATH, &[], r#"{"payload":[],"metadata":[]}"#);
    wire.exchange(trigger).await.assert_accepted(1);
    let send = request("POST", "/api/ingest/ep_1", &[], r#"{"payload":[]}"#);
    assert_eq!(wire.exchange(send).await.status(), 202);
}

/// Go and Java write every field, also the one that the caller gave nothing for.
#[tokio::test(flavor = "multi_thread")]
async fn a_null_where_nothing_was_given_is_told_and_the_connection_lives_on() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    for path in [PATH, "/api/ingest/ep_1"] {
        let nothing = request("POST", path, &H2C, r#"{"payload":null}"#);
        wire.exchange(nothing)
            .await
            .assert_error(400, "validation_error");
    }
    let nulls = r#"{"payload":{},"metadata":null,"idempotencyKey":null}"#;
    wire.exchange(request("POST", PATH, &[], nulls))
        .await
        .assert_accepted(1);
    let send = request("POST", "/api/ingest/ep_1", &[], nulls);
    assert_eq!(wire.exchange(send).await.status(), 202);
}

/// A GET or a DELETE may say that its nothing is JSON, and how long it is; each is answered with what it asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_management_request_without_a_body_may_say_so() {
    let server = server().await;
    let mut wire = Wire::connect(server.address).await;
    let java = [&H2C[..], &["user-agent: Java-http-client/17"]].concat();
    for headers in [
        &java[..],
        &[
            "content-type: application/json; charset=utf-8",
            "accept: */*",
        ],
        &[
            "accept: application/json",
            "accept-encoding: gzip, deflate, br",
        ],
    ] {
        for path in [
            "/endpoints",
            "/endpoints/ep_1/deliveries?limit=1&status=failed",
            "/applications?limit=20&offset=0",
        ] {
            let answer = wire.exchange(managing("GET", path, headers, "")).await;
            assert_eq!(answer.status(), 200, "{path}: {answer:?}");
            assert_eq!(answer.header("content-encoding"), None);
        }
        let made = managing("POST", "/event-types", headers, r#"{"name":"to.go"}"#);
        let id = wire.exchange(made).await.json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let gone = managing("DELETE", &format!("/event-types/{id}"), headers, "");
        let gone = wire.exchange(gone).await;
        assert_eq!((gone.status(), gone.header("content-type")), (204, None));
    }
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
