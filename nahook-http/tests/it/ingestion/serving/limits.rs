//! Clients that take too long or send too much.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use nahook_http::{ServeSettings, with_fallbacks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::{Server, trigger};
use crate::ingestion::support::{Bench, KEY};

/// Long enough for anything that is going to happen, on a busy machine too.
const SOON: Duration = Duration::from_mins(1);

async fn start(settings: ServeSettings) -> Server {
    Server::start(Bench::new().await.router(), settings).await
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_others_are_not_held_up() {
    let settings = ServeSettings {
        head_timeout: Duration::from_millis(300),
        ..ServeSettings::default()
    };
    let server = start(settings.clone()).await;
    let mut slow = server.connect().await;
    let begun = Instant::now();
    // One byte now and then: it is the whole head that counts.
    let dawdling = async {
        for byte in trigger("x: y\r\n").bytes() {
            if slow.stream.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        slow.status().await
    };
    let prompt = async {
        let mut client = server.connect().await;
        for _ in 0..20 {
            client.send(trigger("")).await;
            assert_eq!(client.status().await, Some(202));
        }
        begun.elapsed()
    };
    let (slow, prompt) = tokio::join!(timeout(SOON, dawdling), prompt);
    // The 408 is lost if the client has sent more by the time the connection closes.
    assert!(matches!(slow, Ok(None | Some(408))), "{slow:?}");
    assert!(begun.elapsed() >= settings.head_timeout);
    assert!(prompt < SOON);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout_and_not_its_own() {
    let settings = ServeSettings {
        head_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(4),
        ..ServeSettings::default()
    };
    let server = start(settings).await;
    let mut used = server.connect().await;
    used.send(trigger("")).await;
    assert_eq!(used.status().await, Some(202));
    sleep(Duration::from_millis(1_500)).await;
    let idle_from = Instant::now();
    used.send(trigger("")).await;
    assert_eq!(used.status().await, Some(202));
    assert_eq!(timeout(SOON, used.status()).await, Ok(None));
    assert!(idle_from.elapsed() >= Duration::from_millis(3_900));
}

#[tokio::test]
async fn a_first_head_has_to_arrive_within_its_time_of_connecting() {
    let settings = ServeSettings {
        head_timeout: Duration::from_millis(500),
        ..ServeSettings::default()
    };
    let server = start(settings).await;
    let connected = Instant::now();
    let (mut silent, mut late) = (server.connect().await, server.connect().await);
    // The first byte does not start the time again.
    sleep(Duration::from_millis(400)).await;
    late.send("GET / HTTP").await;
    assert_eq!(timeout(SOON, late.status()).await, Ok(Some(408)));
    // Nobody answers what was not asked.
    assert_eq!(timeout(SOON, silent.status()).await, Ok(None));
    assert!(connected.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn the_default_idle_timeout_is_longer_than_clients_keep_connections() {
    assert!(ServeSettings::default().idle_timeout > Duration::from_mins(2));
}

#[tokio::test]
async fn a_long_head_is_431() {
    let server = start(ServeSettings::default()).await;
    let mut client = server.connect().await;
    let long = format!("x: {}\r\n", "y".repeat(40_000));
    client.send(trigger(&long)).await;
    assert_eq!(client.status().await, Some(431));
    let mut client = server.connect().await;
    let fair = format!("x: {}\r\n", "y".repeat(20_000));
    client.send(trigger(&fair)).await;
    assert_eq!(client.status().await, Some(202));
}

#[tokio::test]
async fn a_client_that_sends_everything_first_still_reads_its_refusal() {
    let server = start(ServeSettings::default()).await;
    for framing in ["chunked", "announced"] {
        let mut client = server.connect().await;
        let head = format!(
            "POST /api/ingest/event/order.paid HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n"
        );
        let (megabyte, times) = (vec![b' '; 1_000_000], 100);
        if framing == "chunked" {
            client
                .send(format!("{head}transfer-encoding: chunked\r\n\r\n"))
                .await;
        } else {
            let len = megabyte.len() * times;
            client
                .send(format!("{head}content-length: {len}\r\n\r\n"))
                .await;
        }
        for _ in 0..times {
            if framing == "chunked" {
                client.send(format!("{:x}\r\n", megabyte.len())).await;
            }
            client.send(&megabyte).await;
            if framing == "chunked" {
                client.send("\r\n").await;
            }
        }
        let (head, body) = timeout(SOON, client.answer()).await.unwrap().unwrap();
        assert!(head.starts_with("http/1.1 413 "), "{framing}: {head}");
        assert!(head.contains("connection: close"), "{framing}: {head}");
        assert!(body.contains("\"payload_too_large\""), "{framing}: {body}");
    }
}

#[tokio::test]
async fn a_slow_body_is_408_and_others_are_not_held_up() {
    let mut bench = Bench::new().await;
    bench.timeout = Duration::from_millis(500);
    let server = Server::start(bench.router(), ServeSettings::default()).await;
    let whole = trigger("");
    let mut slow = server.connect().await;
    slow.send(&whole[..whole.len() - 1]).await;
    let mut client = server.connect().await;
    for _ in 0..20 {
        client.send(trigger("")).await;
        assert_eq!(client.status().await, Some(202));
    }
    assert_eq!(timeout(SOON, slow.status()).await, Ok(Some(408)));
    assert_eq!(timeout(SOON, slow.status()).await, Ok(None));
}

/// A server of a long answer that has little patience with its reader, and much when it stops.
async fn of_long_answers() -> Server {
    let settings = ServeSettings {
        write_timeout: Duration::from_millis(300),
        stop_timeout: SOON,
        ..ServeSettings::default()
    };
    let long = "x".repeat(30_000_000);
    let router = Router::new().route("/", get(move || async move { long }));
    Server::start(with_fallbacks(router), settings).await
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut server = of_long_answers().await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.more().await.unwrap();
    // It stops once the connection is cut.
    server.begin_to_stop();
    timeout(SOON / 2, &mut server.serving)
        .await
        .unwrap()
        .unwrap();
    // What fitted into the buffers comes, and then the end.
    while client.more().await.is_some() {}
    assert!(client.unread.len() < 30_000_000);
}

#[tokio::test]
async fn a_client_that_reads_a_byte_now_and_then_is_cut_off() {
    let mut server = of_long_answers().await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.more().await.unwrap();
    server.begin_to_stop();
    let mut byte = [0];
    let trickling = async {
        while client.stream.read(&mut byte).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        stopped = timeout(SOON / 2, &mut server.serving) => stopped.unwrap().unwrap(),
        () = trickling => {}
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let settings = ServeSettings {
        write_timeout: Duration::from_secs(2),
        ..ServeSettings::default()
    };
    let long = "x".repeat(30_000_000);
    let router = Router::new().route("/", get(move || async move { long }));
    let server = Server::start(with_fallbacks(router), settings).await;
    let mut client = server.connect().await;
    client
        .send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    let reading = async {
        for _ in 0..12 {
            sleep(Duration::from_millis(250)).await;
            for _ in 0..200 {
                if client.more().await.is_none() {
                    return;
                }
            }
        }
        while client.more().await.is_some() {}
    };
    timeout(SOON, reading).await.unwrap();
    assert!(client.unread.len() >= 30_000_000);
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_only() {
    let server = start(ServeSettings::default()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(bytes).await;
        let ended = timeout(SOON, async { while client.more().await.is_some() {} });
        assert!(ended.await.is_ok());
    }
    let mut client = server.connect().await;
    client.send(trigger("")).await;
    assert_eq!(client.status().await, Some(202));
}

#[tokio::test]
async fn refused_client_that_never_stops_sending_is_cut_off() {
    let settings = ServeSettings {
        linger_timeout: Duration::from_millis(300),
        ..ServeSettings::default()
    };
    let server = start(settings).await;
    let mut client = server.connect().await;
    let head = "POST /api/ingest/event/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head).await;
    let chunk = format!("{:x}\r\n{}\r\n", 10_000, "x".repeat(10_000));
    let sending = async { while client.stream.write_all(chunk.as_bytes()).await.is_ok() {} };
    timeout(SOON, sending).await.unwrap();
}
