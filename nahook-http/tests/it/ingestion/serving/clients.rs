//! Behaviour of clients that a server must bear (contract, section 5).

use std::sync::Arc;
use std::time::Duration;

use nahook_http::{Operations, ServeSettings, ingestion_router, operations_router, with_fallbacks};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Server, held_back, trigger};
use crate::ingestion::support::{Bench, KEY};

async fn start() -> Server {
    let bench = Bench::new().await;
    let operations = operations_router(Operations::new());
    let router = with_fallbacks(ingestion_router(bench.ingestion()).merge(operations));
    Server::start(router, ServeSettings::default()).await
}

#[tokio::test]
async fn an_offer_to_upgrade_is_answered_as_http_1_1() {
    let server = start().await;
    let mut client = server.connect().await;
    let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n";
    for _ in 0..2 {
        client.send(trigger(offer)).await;
        let (head, body) = client.answer().await.unwrap();
        assert!(head.starts_with("http/1.1 202 "), "{head}");
        assert!(!head.contains("upgrade"), "{head}");
        assert!(body.contains("\"accepted\""), "{body}");
    }
    let get = format!("GET /healthz HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n{offer}\r\n");
    client.send(get).await;
    assert_eq!(client.status().await, Some(200));
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order() {
    let server = start().await;
    let mut client = server.connect().await;
    let requests: String = (0..50)
        .map(|n| trigger(&format!("x-request-id: {n}\r\n")))
        .collect();
    client.send(requests).await;
    for n in 0..50 {
        let (head, body) = client.answer().await.unwrap();
        assert!(head.starts_with("http/1.1 202 "), "{head}");
        assert!(head.contains(&format!("x-request-id: {n}\r\n")), "{head}");
        assert!(body.ends_with("\"failures\":[]}"), "{body}");
    }
}

#[tokio::test]
async fn an_error_does_not_end_the_connection() {
    let server = start().await;
    let mut client = server.connect().await;
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(), 404),
        (
            trigger("").replace(KEY, "nhk_no_00000000000000000000000000000"),
            401,
        ),
        (trigger("").replace("POST", "PATCH"), 405),
        (trigger("").replace("{}", "[1"), 400),
        (trigger(""), 202),
    ] {
        client.send(&request).await;
        assert_eq!(client.status().await, Some(status), "{request}");
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_still_gets_its_answer() {
    let (reached, released) = <(Arc<Notify>, Arc<Notify>)>::default();
    let router = held_back(&reached, &released);
    let server = Server::start(router, ServeSettings::default()).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    reached.notified().await;
    client.stream.shutdown().await.unwrap();
    // Time for the server to notice.
    sleep(Duration::from_millis(50)).await;
    released.notify_one();
    assert_eq!(client.status().await, Some(200));
    assert_eq!(client.status().await, None);
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_is_wanted() {
    let server = start().await;
    let whole = trigger("expect: 100-continue\r\n");
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    let mut client = server.connect().await;
    client.send(format!("{head}\r\n\r\n")).await;
    assert_eq!(client.status().await, Some(100));
    client.send(body).await;
    assert_eq!(client.status().await, Some(202));

    let mut client = server.connect().await;
    let refused = head.replace(KEY, "nhk_no_00000000000000000000000000000");
    client.send(format!("{refused}\r\n\r\n")).await;
    assert_eq!(client.status().await, Some(401));
}

#[tokio::test]
async fn an_old_client_is_answered() {
    let server = start().await;
    let mut client = server.connect().await;
    client
        .send(trigger("").replace("HTTP/1.1", "HTTP/1.0"))
        .await;
    assert_eq!(client.status().await, Some(202));
    assert_eq!(client.status().await, None);
}

#[tokio::test]
async fn a_head_answer_has_no_body() {
    let server = start().await;
    let mut client = server.connect().await;
    let head = "HEAD /healthz HTTP/1.1\r\nhost: h\r\n\r\n";
    let get = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    client.send(format!("{head}{get}")).await;
    while client.more().await.is_some() {}
    let all = String::from_utf8(client.unread).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200").count(), 2);
    assert_eq!(all.matches(r#"{"status":"alive"}"#).count(), 1);
}

#[tokio::test]
async fn answers_of_any_router_have_an_id() {
    let router = axum::Router::new().route("/", axum::routing::get(|| async {}));
    let server = Server::start(router, ServeSettings::default()).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let (head, _) = client.answer().await.unwrap();
    assert!(head.contains("x-request-id: req_"), "{head}");
}
