//! Errors below the routes: they look like all others.

use std::time::Duration;

use nahook_http::ServeSettings;
use serde_json::Value;
use tokio::time::timeout;

use super::{Server, trigger};
use crate::ingestion::support::{Bench, KEY};

const SOON: Duration = Duration::from_mins(1);

async fn server() -> Server {
    let settings = ServeSettings {
        head_timeout: Duration::from_millis(200),
        ..ServeSettings::default()
    };
    Server::start(Bench::new().await.router(), settings).await
}

/// Whatever the server answers to `request`, after `before` on the same connection: the status, and the error's code.
async fn refused(server: &Server, before: &str, request: impl AsRef<[u8]>) -> (u16, String) {
    let mut client = server.connect().await;
    let request = request.as_ref();
    let said: String = String::from_utf8_lossy(request).chars().take(60).collect();
    client.send(before).await;
    if !before.is_empty() {
        assert_eq!(client.status().await, Some(202), "{said}");
    }
    client.send(request).await;
    let answer = timeout(SOON, client.answer()).await.unwrap();
    let (head, body) = answer.unwrap_or_else(|| panic!("no answer: {said}"));
    for line in [
        "content-type: application/json\r\n",
        "connection: close\r\n",
        "x-request-id: req_",
    ] {
        assert!(head.contains(line), "{said}: {head}");
    }
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    let code = body["error"]["code"].as_str().unwrap().to_owned();
    // Nothing follows, and the connection ends.
    assert_eq!(timeout(SOON, client.status()).await, Ok(None), "{said}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, code)
}

#[tokio::test]
async fn heads_that_are_not_http_are_answered_with_the_error_object() {
    let server = server().await;
    let good = trigger("");
    for before in ["", &good] {
        for head in [
            "GET\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "G@T / HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nx y: z\r\n\r\n",
            "GET / HTTP/1.1\r\n x: z\r\n\r\n",
            "GET / HTTP/1.1\r\nx: \u{1}\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
            "\0\0\0\0\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
        ] {
            let expected = (400, "validation_error".to_owned());
            assert_eq!(refused(&server, before, head).await, expected, "{head:?}");
        }
    }
    // Both in one segment.
    let mut client = server.connect().await;
    client.send(good + "G@T / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.status().await, Some(202));
    let (head, body) = client.answer().await.unwrap();
    assert!(head.starts_with("http/1.1 400 "), "{head}");
    assert!(body.contains("\"validation_error\""), "{body}");
}

#[tokio::test]
async fn heads_without_one_valid_host_are_400_with_the_error_object() {
    let server = server().await;
    let good = trigger("");
    for before in ["", &good] {
        for host in [
            "",
            "host: a\r\nhost: a\r\n",
            "host: a@b\r\n",
            "host: a b\r\n",
            "host: a:x\r\n",
        ] {
            let head = format!("GET /healthz HTTP/1.1\r\n{host}\r\n");
            let expected = (400, "validation_error".to_owned());
            assert_eq!(refused(&server, before, head).await, expected, "{host:?}");
        }
    }
}

#[tokio::test]
async fn long_heads_are_431_with_the_error_object() {
    let server = server().await;
    let good = trigger("");
    for before in ["", &good] {
        for more in [
            format!("x: {}\r\n", "y".repeat(40_000)),
            "x: y\r\n".repeat(200),
        ] {
            let expected = (431, "headers_too_large".to_owned());
            assert_eq!(refused(&server, before, trigger(&more)).await, expected);
        }
    }
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    assert_eq!(refused(&server, "", path).await.0, 431);
}

#[tokio::test]
async fn http_2_is_505_with_the_error_object() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let expected = (505, "http_version_not_supported".to_owned());
    assert_eq!(refused(&server().await, "", preface).await, expected);
}

#[tokio::test]
async fn slow_heads_are_408_with_the_error_object() {
    let server = server().await;
    let expected = (408, "request_timeout".to_owned());
    assert_eq!(refused(&server, "", "GET / HTTP/1.1\r\nx:").await, expected);
    let good = trigger("");
    assert_eq!(refused(&server, &good, "GET / HT").await, expected);
}

#[tokio::test]
async fn broken_bodies_are_400_with_the_error_object() {
    let server = server().await;
    let head = format!(
        "POST /api/ingest/event/order.paid HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    for body in [
        "x\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
        "2\r\n{}xx",
        "2;a\n{}",
    ] {
        let mut client = server.connect().await;
        client.send(format!("{head}{body}")).await;
        let (head, text) = timeout(SOON, client.answer()).await.unwrap().unwrap();
        assert!(head.starts_with("http/1.1 400 "), "{body:?}: {head}");
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
        assert!(text.contains("\"validation_error\""), "{body:?}: {text}");
    }
}
