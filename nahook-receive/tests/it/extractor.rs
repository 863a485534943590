//! The axum extractors, over a socket.

use crate::support::{Sent, layer};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use nahook_receive::{MemorySeenIds, RawWebhook, Webhook};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Deserialize)]
struct Order {
    id: String,
    amount: u64,
}

async fn typed(webhook: Webhook<Order>) -> String {
    let Order { id, amount } = webhook.body;
    let event_type = webhook.event_type.unwrap_or_default();
    format!(
        "{} {event_type} {id} {amount} {}",
        webhook.id,
        webhook.raw.len()
    )
}

async fn raw(webhook: RawWebhook) -> String {
    format!("{} {}", webhook.id, webhook.body.len())
}

/// Serves the routes and returns the address.
async fn receiver() -> std::net::SocketAddr {
    let verified = Router::new()
        .route("/typed", post(typed))
        .route("/raw", post(raw))
        .route("/body", post(|body: String| async { body }))
        .layer(layer().body_limit(100).deduplicate(MemorySeenIds::new()));
    let app = verified.route("/open", post(raw));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Sends the webhook with these headers and this body besides; answers the status and the body.
async fn post_to(path: &str, sent: &Sent, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(receiver().await).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nwebhook-id: {}\r\nwebhook-timestamp: {}\r\n\
         webhook-signature: {}\r\n{headers}\r\n{body}",
        sent.id, sent.timestamp, sent.signature
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

async fn post_json(path: &str, body: &str) -> (u16, String) {
    let sent = Sent::new("msg_1", body.as_bytes());
    let headers = format!(
        "content-length: {}\r\nnahook-event-type: order.placed\r\n",
        body.len()
    );
    post_to(path, &sent, &headers, body).await
}

#[tokio::test]
async fn typed_body_comes_with_id_event_type_and_bytes() {
    let answer = post_json("/typed", r#"{"id":"ord_1","amount":7}"#).await;
    assert_eq!(answer, (200, "msg_1 order.placed ord_1 7 25".to_owned()));
}

#[tokio::test]
async fn raw_body_may_be_anything() {
    assert_eq!(
        post_json("/raw", "no json").await,
        (200, "msg_1 7".to_owned())
    );
    assert_eq!(
        post_json("/body", "no json").await,
        (200, "no json".to_owned())
    );
}

#[tokio::test]
async fn body_that_is_not_json_is_400_and_of_another_shape_422() {
    let (status, body) = post_json("/typed", "hunter2").await;
    assert_eq!(status, 400);
    let expected =
        r#"{"error":{"code":"body_not_json","message":"the body is not JSON (line 1, column 1)"}}"#;
    assert_eq!(body, expected);
    let (status, body) = post_json("/typed", r#"{"id":"ord_1","amount":"hunter2"}"#).await;
    assert_eq!(status, 422);
    assert!(
        body.starts_with(r#"{"error":{"code":"unexpected_shape","message":"#),
        "{body}"
    );
    assert!(!body.contains("hunter2"), "{body}");
}

#[tokio::test]
async fn route_without_the_layer_rejects_everything() {
    let (status, body) = post_json("/open", "{}").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.contains("not_verified"), "{body}");
}

#[tokio::test]
async fn chunked_body_beyond_the_limit_is_413() {
    for (chunks, expected) in [(1, 200), (2, 200), (3, 413)] {
        let data = "x".repeat(50 * chunks);
        let sent = Sent::new("msg_1", data.as_bytes());
        let chunk = format!("32\r\n{}\r\n", "x".repeat(50));
        let body = format!("{}0\r\n\r\n", chunk.repeat(chunks));
        let (status, _) = post_to("/raw", &sent, "transfer-encoding: chunked\r\n", &body).await;
        assert_eq!(status, expected, "{chunks}");
    }
}
