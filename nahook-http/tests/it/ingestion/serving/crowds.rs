//! More clients than there is room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use nahook_http::{ServeSettings, with_fallbacks};
use tokio::time::timeout;

use super::{Client, Server, trigger};
use crate::ingestion::support::{Bench, KEY, SOME};

const SOON: Duration = Duration::from_mins(1);
const ANY: &str = "GET /none HTTP/1.1\r\nhost: h\r\n\r\n";

async fn start(connections_max: usize, settings: ServeSettings) -> Server {
    let settings = ServeSettings {
        connections_max,
        // All of these tests' clients have one address.
        connections_per_address_max: settings
            .connections_per_address_max
            .or(Some(connections_max)),
        head_timeout: SOON,
        ..settings
    };
    Server::start(Bench::new().await.router(), settings).await
}

async fn ask(client: &mut Client, request: &str) -> Option<u16> {
    client.send(request).await;
    timeout(SOON, client.status()).await.unwrap()
}

/// Returns true once the server has closed the connection.
async fn is_closed(client: &mut Client) -> bool {
    timeout(SOON, client.more()).await.unwrap().is_none()
}

#[tokio::test]
async fn newcomer_takes_the_place_of_the_stranger_that_waits_longest() {
    let server = start(4, ServeSettings::default()).await;
    let mut known = server.connect().await;
    assert_eq!(ask(&mut known, &trigger("")).await, Some(202));
    let mut silent = server.connect().await;
    // Accepted in order: what it asks is answered after the silent one was taken in.
    let mut stranger = server.connect().await;
    assert_eq!(ask(&mut stranger, ANY).await, Some(404));
    let mut halfway = server.connect().await;
    halfway.send("GET / HTTP").await;

    let mut newcomer = server.connect().await;
    assert_eq!(ask(&mut newcomer, &trigger("")).await, Some(202));
    assert!(is_closed(&mut silent).await);
    let mut another = server.connect().await;
    assert_eq!(ask(&mut another, &trigger("")).await, Some(202));
    assert!(
        is_closed(&mut stranger).await,
        "idle for longer than the other one is there"
    );
    assert_eq!(
        ask(&mut halfway, "/1.1\r\nhost: h\r\n\r\n").await,
        Some(404)
    );
    assert_eq!(ask(&mut known, &trigger("")).await, Some(202));
    assert_eq!(ask(&mut newcomer, &trigger("")).await, Some(202));
}

#[tokio::test]
async fn crowd_of_silent_strangers_keeps_nobody_out() {
    let server = start(16, ServeSettings::default()).await;
    let mut known = server.connect().await;
    assert_eq!(ask(&mut known, &trigger("")).await, Some(202));
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(server.connect().await);
    }
    for _ in 0..20 {
        let mut newcomer = server.connect().await;
        assert_eq!(ask(&mut newcomer, ANY).await, Some(404));
        crowd.push(newcomer);
    }
    assert_eq!(ask(&mut known, &trigger("")).await, Some(202));
}

#[tokio::test]
async fn idle_clients_with_keys_leave_room_for_strangers() {
    let server = start(8, ServeSettings::default()).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect().await;
        assert_eq!(ask(&mut client, &trigger("")).await, Some(202));
        idle.push(client);
    }
    let mut newcomer = server.connect().await;
    assert_eq!(ask(&mut newcomer, ANY).await, Some(404));
    assert!(
        is_closed(&mut idle[0]).await,
        "the one that was idle for longest"
    );
    assert_eq!(ask(&mut idle[7], &trigger("")).await, Some(202));
}

#[tokio::test]
async fn requests_without_a_key_make_room_for_those_with_one() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let hanging = get(move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    });
    let router = Router::new().route("/hang", hanging);
    let router = with_fallbacks(router.merge(Bench::new().await.router()));
    let settings = ServeSettings {
        connections_max: 16,
        connections_per_address_max: Some(16),
        ..ServeSettings::default()
    };
    let server = Server::start(router, settings).await;
    let mut crowd = Vec::new();
    for number in 0..40 {
        let mut client = server.connect().await;
        client.send("GET /hang HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let arrived = async {
            while reached.load(Ordering::SeqCst) <= number {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, arrived).await.unwrap();
        crowd.push(client);
    }
    for _ in 0..40 {
        let mut client = server.connect().await;
        assert_eq!(ask(&mut client, &trigger("")).await, Some(202));
    }
}

#[tokio::test]
async fn too_many_requests_of_known_callers_are_503_with_retry_after() {
    let bench = Bench::new().await;
    let settings = ServeSettings {
        connections_max: 8,
        connections_per_address_max: Some(8),
        ..ServeSettings::default()
    };
    let server = Server::start(bench.router(), settings).await;
    let body = "{\"payload\":{}}";
    let head = |key: &str| {
        format!(
            "POST /api/ingest/event/order.paid HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
    };
    let mut busy = Vec::new();
    // Six of eight connections may have a request under way, and three of them one of the same workspace.
    for key in [KEY, KEY, KEY, SOME, SOME, SOME] {
        let mut client = server.connect().await;
        client.send(head(key)).await;
        // The key was accepted: the body is asked for.
        assert_eq!(timeout(SOON, client.status()).await, Ok(Some(100)));
        busy.push(client);
    }
    let mut client = server.connect().await;
    client.send(trigger("")).await;
    let (head, text) = timeout(SOON, client.answer()).await.unwrap().unwrap();
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert!(head.contains("retry-after: 1\r\n"), "{head}");
    assert!(text.contains("\"unavailable\""), "{text}");
    drop(busy.pop());
    let freed = async { while ask(&mut client, &trigger("")).await == Some(503) {} };
    timeout(SOON, freed).await.unwrap();
    client.send(trigger("")).await;
    let (head, text) = timeout(SOON, client.answer()).await.unwrap().unwrap();
    assert!(head.starts_with("http/1.1 429 "), "{head}");
    assert!(head.contains("retry-after: 1\r\n"), "{head}");
    assert!(text.contains("\"rate_limited\""), "{text}");
    for mut client in busy.drain(..3) {
        assert_eq!(ask(&mut client, body).await, Some(202));
    }
    assert_eq!(ask(&mut client, &trigger("")).await, Some(202));
}

#[tokio::test]
async fn one_address_has_its_share_and_no_more() {
    let settings = ServeSettings {
        connections_per_address_max: Some(2),
        ..ServeSettings::default()
    };
    let server = start(16, settings).await;
    let mut other = server.connect_from([127, 0, 0, 2]).await;
    assert_eq!(ask(&mut other, ANY).await, Some(404));
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        assert_eq!(ask(&mut client, ANY).await, Some(404));
        crowd.push(client);
    }
    assert!(is_closed(&mut crowd[0]).await);
    assert_eq!(ask(&mut crowd[1], ANY).await, Some(404));
    assert_eq!(ask(&mut crowd[2], ANY).await, Some(404));
    assert_eq!(ask(&mut other, ANY).await, Some(404));
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_share_by_their_own_addresses() {
    let settings = ServeSettings {
        connections_per_address_max: Some(1),
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..ServeSettings::default()
    };
    let server = start(16, settings).await;
    let asking = |client: &str| {
        format!(
            "POST /api/ingest/event/order.paid HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n\
             x-forwarded-for: {client}\r\nexpect: 100-continue\r\ncontent-length: 14\r\n\r\n"
        )
    };
    let mut first = server.connect().await;
    first.send(asking("192.0.2.1")).await;
    assert_eq!(timeout(SOON, first.status()).await, Ok(Some(100)));
    let mut second = server.connect().await;
    assert_eq!(ask(&mut second, &asking("192.0.2.1")).await, Some(429));
    let mut third = server.connect().await;
    assert_eq!(ask(&mut third, &asking("192.0.2.2")).await, Some(100));
    // An IPv6 address stands for its network.
    let mut fourth = server.connect().await;
    assert_eq!(ask(&mut fourth, &asking("2001:db8::1")).await, Some(100));
    let mut fifth = server.connect().await;
    assert_eq!(ask(&mut fifth, &asking("2001:db8::2")).await, Some(429));
    assert_eq!(ask(&mut first, "{\"payload\":{}}").await, Some(202));
    let mut sixth = server.connect().await;
    assert_eq!(ask(&mut sixth, &asking("192.0.2.1")).await, Some(100));
}
