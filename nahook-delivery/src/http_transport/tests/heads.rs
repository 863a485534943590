//! The head is the answer, however odd the rest of it is, and whatever becomes of the body.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};

use super::receiver::{Receiver, answer_all, closed, read_request};
use super::*;

const PATIENCE: Duration = Duration::from_mins(1);

/// Posts to a receiver that sends `pieces` and keeps the connection open.
async fn answer_of(pieces: &[&str]) -> Result<OutboundResponse, TransportError> {
    let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let receiver = Receiver::start(move |mut stream| {
        let pieces = pieces.clone();
        async move {
            read_request(&mut stream).await;
            for piece in pieces {
                if stream.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
            closed(&mut stream).await;
        }
    })
    .await;
    timeout(PATIENCE, open().head(at(receiver.socket)))
        .await
        .expect("the head is the answer")
}

#[tokio::test]
async fn open_body_does_not_delay_the_answer() {
    let mut quickest = Duration::MAX;
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ncontent-length: 4, 4\r\nx: \u{1}\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntrailer: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
    ] {
        let started = Instant::now();
        assert_eq!(answer_of(&[answer]).await, Ok(status(200)), "{answer}");
        quickest = quickest.min(started.elapsed());
    }
    // Only the quickest of them: any one may be held up by a busy machine.
    assert!(quickest < DRAIN_TIMEOUT, "{quickest:?}");
    let failed = "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(answer_of(&[failed]).await, Ok(status(500)));
}

#[tokio::test]
async fn body_that_stays_open_is_dropped_soon() {
    let (tell, mut ended) = unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
            tell.send(()).unwrap();
        }
    })
    .await;
    let transport = open();
    assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
    timeout(PATIENCE, ended.recv())
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn connection_whose_body_ends_a_little_later_is_used_again() {
    let receiver = Receiver::start(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
            stream.write_all(head).await.unwrap();
            sleep(Duration::from_millis(20)).await;
            stream.write_all(b"ok").await.unwrap();
        }
    })
    .await;
    let transport = open();
    let origin = at(receiver.socket).url.origin().clone();
    for _ in 0..3 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
        while !transport.pool.has_idle(&origin) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn connection_reset_behind_the_head_does_not_change_the_answer() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // So that the head is read before the reset discards it.
        sleep(Duration::from_millis(50)).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(open().head(at(receiver.socket)).await, Ok(status(200)));
}

#[tokio::test]
async fn odd_heads_are_answers() {
    let many = "x: y\r\n".repeat(1000);
    let long = format!("set-cookie: {}\r\n", "a".repeat(100_000));
    for odd in [
        "content-security-policy: default-src 'self';\r\n  script-src 'self'\r\n",
        "set-cookie: a=b\u{1}c\r\n",
        "set-cookie: a=b\u{0}c\r\n",
        "x-a : b\r\n",
        "x a: b\r\n",
        ": no name\r\n",
        "no colon\r\n",
        "x\u{e9}: \u{e9}\r\n",
        "x: a\rb\r\n",
        "content-length: -1\r\n",
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 99999999999999999999999999\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "transfer-encoding: gzip\r\n",
        &many,
        &long,
    ] {
        for (line, code) in [("HTTP/1.1 200 OK", 200), ("HTTP/1.0 503", 503)] {
            let head = format!("{line}\r\nretry-after: 7\r\n{odd}content-length: 0\r\n\r\n");
            let expected = OutboundResponse {
                status: code,
                retry_after: Some(RetryAfter::Delay(Duration::from_secs(7))),
                body: Bytes::new(),
            };
            let shown = &head[..head.len().min(80)];
            assert_eq!(answer_of(&[&head]).await, Ok(expected.clone()), "{shown:?}");
            let bare = head.replace("\r\n", "\n");
            assert_eq!(answer_of(&[&bare]).await, Ok(expected.clone()), "{shown:?}");
            // What hyper refuses need not have come at once.
            let (start, end) = head.split_at(head.len() - 6);
            assert_eq!(
                answer_of(&[start, end]).await,
                Ok(expected.clone()),
                "{shown:?}"
            );
        }
    }
    for line in [
        "HTTP/1.1  204  None",
        "HTTP/1.1 204\u{1}",
        "HTTP/2 204",
        "http/1.1 204",
    ] {
        let answer = answer_of(&[&line[..5], &line[5..], "\r\n\r\n"]).await;
        assert_eq!(answer, Ok(status(204)), "{line:?}");
    }
}

#[tokio::test]
async fn connection_with_an_odd_head_is_not_used_again() {
    let odd = "HTTP/1.1 200 OK\r\nx a: b\r\ncontent-length: 0\r\n\r\n";
    let receiver = Receiver::start(move |stream| answer_all(stream, odd)).await;
    let transport = open();
    for _ in 0..3 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
    }
    assert_eq!(receiver.accepted(), 3);
}

#[tokio::test]
async fn odd_head_on_a_connection_used_before_is_an_answer_of_its_own() {
    let receiver = Receiver::start(|mut stream| async move {
        let regular = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let odd = "HTTP/1.1 500 No\r\nx a: b\r\ncontent-length: 0\r\n\r\n";
        for answer in [regular, odd] {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        closed(&mut stream).await;
    })
    .await;
    let transport = open();
    for expected in [200, 500] {
        let answer = transport.head(at(receiver.socket)).await;
        assert_eq!(answer, Ok(status(expected)));
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn head_that_breaks_off_is_an_answer_once_its_status_line_has_ended() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nx: y\r\n", Ok(status(200))),
        ("HTTP/1.1 200 OK\r\nx y: z\r\n", Ok(status(200))),
        ("HTTP/1.1 500 No\r\ncontent-le", Ok(status(500))),
        ("HTTP/1.1 200 OK\n", Ok(status(200))),
        ("HTTP/1.1 200 OK", Err(TransportError::Closed)),
        ("HTTP/1.1 100 Continue\r\n", Err(TransportError::Closed)),
        ("HTTP/1.1 100 Continue\r\n\r\n", Err(TransportError::Closed)),
        ("", Err(TransportError::Closed)),
    ] {
        let receiver = Receiver::start(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let answer = open().head(at(receiver.socket)).await;
        assert_eq!(answer, expected, "{head}");
    }
}
