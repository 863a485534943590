use std::io::{Read, Write};
use std::time::Duration;

use http::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::receiver::{Receiver, answer_all, read_request};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_arrives_verbatim_and_its_status_comes_back() {
    let (requests, mut arrived) = mpsc::unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            requests
                .send(read_request(&mut stream).await.unwrap())
                .unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
        }
    })
    .await;
    let mut sent = request(format!(
        "http://{}/a%20b|c?x={{y}}&z=%2F#frag",
        receiver.socket
    ));
    sent.body = Bytes::from_static("{\"name\": \"café\" }".as_bytes());
    sent.headers
        .insert("webhook-id", HeaderValue::from_static("msg_1"));
    assert_eq!(open().head(sent.clone()).await, Ok(status(204)));

    let request = arrived.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /a%20b|c?x={y}&z=%2F HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("\r\nhost: {}", receiver.socket)),
        "{head}"
    );
    assert!(head.contains("\r\nwebhook-id: msg_1"), "{head}");
    assert!(head.contains("\r\ncontent-length: 18"), "{head}");
    assert_eq!(body, "{\"name\": \"café\" }");
}

#[tokio::test]
async fn headers_that_frame_the_message_are_the_transports_own() {
    let (requests, mut arrived) = mpsc::unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            requests
                .send(read_request(&mut stream).await.unwrap())
                .unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut sent = at(receiver.socket);
    for (name, value) in [
        ("host", "internal.example"),
        ("content-length", "999"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
    ] {
        sent.headers.insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(open().head(sent.clone()).await, Ok(status(200)));
    let request = arrived.recv().await.unwrap();
    assert_eq!(
        request,
        format!(
            "POST /hook HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n{{}}",
            receiver.socket
        )
    );
}

#[tokio::test]
async fn an_error_status_is_an_answer() {
    let receiver = Receiver::answering("HTTP/1.1 500 Oh no\r\ncontent-length: 4\r\n\r\noops").await;
    assert_eq!(open().head(at(receiver.socket)).await, Ok(status(500)));
}

#[tokio::test]
async fn retry_after_comes_along() {
    let receiver =
        Receiver::answering("HTTP/1.1 503 Later\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n")
            .await;
    let answer = open().head(at(receiver.socket)).await.unwrap();
    let expected = RetryAfter::Delay(Duration::from_mins(2));
    assert_eq!(
        answer,
        OutboundResponse {
            status: 503,
            retry_after: Some(expected),
            body: Bytes::new(),
        }
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::answering(OK).await;
    for code in ["301", "302", "303", "307", "308"] {
        let location = format!("http://{}/", elsewhere.socket);
        let answer =
            format!("HTTP/1.1 {code} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer.leak()).await;
        assert_eq!(
            open().head(at(receiver.socket)).await,
            Ok(status(code.parse().unwrap()))
        );
    }
    assert_eq!(elsewhere.accepted(), 0);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let receiver = Receiver::answering(OK).await;
    let transport = open();
    for _ in 0..5 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn no_connection_is_kept_when_none_shall_be() {
    let receiver = Receiver::answering(OK).await;
    let settings = TransportSettings {
        idle_per_host_max: 0,
        ..TransportSettings::default()
    };
    let transport = transport(loopback(), &settings, Names::default());
    for _ in 0..3 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
    }
    assert_eq!(receiver.accepted(), 3);
}

#[tokio::test]
async fn an_idle_connection_that_the_endpoint_closed_is_no_failed_attempt() {
    // Answers one request per connection and closes, without having said so.
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let transport = open();
    for _ in 0..20 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
        // The endpoint's close reaches this side before the next attempt begins.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(receiver.accepted(), 20);
}

#[tokio::test]
async fn attempts_at_once_do_not_wait_for_each_other() {
    // None is answered before all have come.
    let all_have_come = Arc::new(tokio::sync::Barrier::new(20));
    let receiver = Receiver::start(move |stream| {
        let all_have_come = Arc::clone(&all_have_come);
        async move {
            all_have_come.wait().await;
            answer_all(stream, OK).await;
        }
    })
    .await;
    let transport = Arc::new(open());
    let attempts = (0..20).map(|_| {
        let (transport, request) = (Arc::clone(&transport), at(receiver.socket));
        tokio::spawn(async move { transport.head(request.clone()).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap(), Ok(status(200)));
    }
}

#[tokio::test]
async fn a_close_that_went_unnoticed_until_the_next_attempt_is_no_failed_attempt() {
    // On a thread of its own, so that its closes arrive while this runtime is held up and the pool
    // still takes the connection for a live one.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = listener.local_addr().unwrap();
    let (tell, closes) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                let mut part = [0; 1024];
                let len = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..len]);
            }
            stream.write_all(OK.as_bytes()).unwrap();
            // The close comes while the other thread waits for it, and not together with the answer.
            std::thread::sleep(Duration::from_millis(5));
            drop(stream);
            tell.send(()).unwrap();
        }
    });
    let transport = open();
    for _ in 0..20 {
        assert_eq!(transport.head(at(socket)).await, Ok(status(200)));
        closes.recv_timeout(Duration::from_mins(1)).unwrap();
    }
}

#[tokio::test]
async fn what_an_endpoint_says_unasked_is_not_taken_for_an_answer() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        // As some servers do before they close what is idle.
        let unasked = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(unasked).await.unwrap();
        super::receiver::closed(&mut stream).await;
    })
    .await;
    let transport = open();
    for _ in 0..3 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(receiver.accepted(), 3);
}

#[tokio::test]
async fn an_answer_together_with_the_next_one_is_one_answer() {
    let twice = format!("{OK}{}", OK.replace("200 OK", "500 No"));
    let receiver = Receiver::answering(twice.leak()).await;
    let transport = open();
    for _ in 0..3 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
    }
    assert_eq!(receiver.accepted(), 3);
}

#[tokio::test]
async fn an_idle_connection_is_used_within_its_time_and_closed_after_it() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Receiver::start(move |stream| {
        let ended = ended.clone();
        async move {
            answer_all(stream, OK).await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let settings = TransportSettings {
        idle_timeout: Duration::from_millis(200),
        ..TransportSettings::default()
    };
    let transport = transport(loopback(), &settings, Names::default());
    for _ in 0..2 {
        assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(receiver.accepted(), 1);
    // Nobody asks for it.
    let closed = tokio::time::timeout(Duration::from_mins(1), end.recv()).await;
    closed.expect("the connection is closed").unwrap();
    // And what is thrown away once is thrown away again.
    assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
    let closed = tokio::time::timeout(Duration::from_mins(1), end.recv()).await;
    closed.expect("the connection is closed").unwrap();
    assert_eq!(receiver.accepted(), 2);
}

#[tokio::test]
async fn a_connection_is_not_used_for_another_host_or_port() {
    let (one, other) = (Receiver::answering(OK).await, Receiver::answering(OK).await);
    let names = ["127.0.0.1"];
    let transport = transport(
        loopback(),
        &TransportSettings::default(),
        Names::of("one.test", &[&names]),
    );
    let port = one.socket.port();
    for _ in 0..2 {
        for url in [
            format!("http://127.0.0.1:{port}/"),
            format!("http://one.test:{port}/"),
            format!("http://{}/", other.socket),
        ] {
            assert_eq!(transport.head(request(url)).await, Ok(status(200)));
        }
    }
    assert_eq!((one.accepted(), other.accepted()), (2, 1));
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_whole_request_counts() {
    let receiver = Receiver::start(|mut stream| async move {
        let mut some = [0; 1024];
        tokio::io::AsyncReadExt::read(&mut stream, &mut some)
            .await
            .unwrap();
        let refusal = b"HTTP/1.1 413 Too much\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal).await.unwrap();
        super::receiver::closed(&mut stream).await;
    })
    .await;
    let transport = open();
    let mut large = at(receiver.socket);
    large.body = Bytes::from(vec![b' '; 32 << 20]);
    for _ in 0..2 {
        assert_eq!(transport.head(large.clone()).await, Ok(status(413)));
    }
    assert_eq!(receiver.accepted(), 2);
}
