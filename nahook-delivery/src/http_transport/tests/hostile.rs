use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::receiver::{Receiver, closed, read_request};
use super::*;

const PATIENCE: Duration = Duration::from_mins(1);

/// Serves one connection with `serve`, and tells when that ended.
async fn once<F>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (Receiver, oneshot::Receiver<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ended, end) = oneshot::channel();
    let script = Mutex::new(Some((serve, ended)));
    let receiver = Receiver::start(move |mut stream| {
        let (serve, ended) = script.lock().unwrap().take().expect("one connection");
        async move {
            read_request(&mut stream).await.unwrap();
            serve(stream).await;
            ended.send(()).unwrap();
        }
    })
    .await;
    (receiver, end)
}

/// Waits until serving the connection has ended.
async fn ended(end: oneshot::Receiver<()>) {
    let ended = timeout(PATIENCE, end).await;
    ended.expect("the connection is closed").unwrap();
}

/// Fails unless the request ends because no answer comes in time.
async fn assert_too_late(request: OutboundRequest) {
    let transport = transport(loopback(), &hasty(), Names::default());
    let expected = TransportError::Timeout(TimeoutPhase::Answer);
    assert_eq!(transport.head(request).await, Err(expected));
}

#[tokio::test]
async fn an_endless_body_costs_no_more_than_its_bound() {
    let (receiver, end) = once(|mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    assert_eq!(open().head(at(receiver.socket)).await, Ok(status(200)));
    ended(end).await;
}

#[tokio::test]
async fn a_body_of_ten_gigabytes_is_not_begun() {
    let (receiver, end) = once(|mut stream| async move {
        let head = b"HTTP/1.1 201 Created\r\ncontent-length: 10000000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        closed(&mut stream).await;
    })
    .await;
    assert_eq!(open().head(at(receiver.socket)).await, Ok(status(201)));
    ended(end).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_malformed_does_not_change_the_status() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a chunk",
        "HTTP/1.1 200 OK\r\n\r\nup to the end of the connection",
    ] {
        let (receiver, _end) = once(move |mut stream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        assert_eq!(
            open().head(at(receiver.socket)).await,
            Ok(status(200)),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_silent_endpoint_is_a_time_out_and_the_connection_is_closed() {
    let (receiver, end) = once(|mut stream| async move { closed(&mut stream).await }).await;
    assert_too_late(at(receiver.socket)).await;
    ended(end).await;
}

#[tokio::test]
async fn a_trickling_head_is_a_time_out() {
    let (receiver, end) = once(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_too_late(at(receiver.socket)).await;
    ended(end).await;
}

#[tokio::test]
async fn interim_answers_without_end_are_given_up() {
    let (receiver, end) = once(|mut stream| async move {
        while stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    // By their bytes and long before the time-out: what arrives is kept in memory until a head is complete.
    let settings = TransportSettings::default();
    let transport = transport(loopback(), &settings, Names::default());
    let expected = TransportError::Closed;
    assert_eq!(transport.head(at(receiver.socket)).await, Err(expected));
    ended(end).await;
}

#[tokio::test]
async fn an_endpoint_that_never_reads_is_a_time_out() {
    let receiver = Receiver::start(|stream| async move {
        sleep(PATIENCE).await;
        drop(stream);
    })
    .await;
    let mut large = at(receiver.socket);
    large.body = Bytes::from(vec![b' '; 32 << 20]);
    assert_too_late(large).await;
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_closed() {
    let (receiver, _end) = once(|stream| async move { drop(stream) }).await;
    assert_eq!(
        open().head(at(receiver.socket)).await,
        Err(TransportError::Closed)
    );
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    for answer in [
        "SSH-2.0-OpenSSH_9.7\r\n\r\n",
        "<html>",
        "HTTP/1.1 OK\r\n\r\n",
    ] {
        let (receiver, _end) = once(move |mut stream| async move {
            let _ = stream.write_all(answer.as_bytes()).await;
            closed(&mut stream).await;
        })
        .await;
        let result = open().head(at(receiver.socket)).await;
        assert_eq!(result, Err(TransportError::Protocol), "{answer}");
    }
}

#[tokio::test]
async fn endless_head_costs_no_more_than_its_bound_and_its_status_counts() {
    let (receiver, end) = once(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(open().head(at(receiver.socket)).await, Ok(status(200)));
    ended(end).await;
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_connection() {
    let (receiver, end) = once(|mut stream| async move { closed(&mut stream).await }).await;
    let transport = open();
    let request = at(receiver.socket);
    let attempt = transport.head(request.clone());
    timeout(Duration::from_millis(200), attempt)
        .await
        .expect_err("still waiting");
    ended(end).await;
}

#[tokio::test]
async fn a_body_of_the_bound_is_read_to_its_end_and_a_longer_one_is_not() {
    // Only a connection whose answer was read to its end is used again. The longer one is longer
    // by far, since hyper skips a remainder that has already arrived.
    for (len, connections) in [(16 * 1024, 1), (1024 * 1024, 2)] {
        let body = "x".repeat(len);
        let sized = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n{body}");
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{len:x}\r\n{body}\r\n0\r\n\r\n"
        );
        for answer in [sized, chunked] {
            let receiver = Receiver::answering(answer.leak()).await;
            let transport = open();
            for _ in 0..2 {
                assert_eq!(transport.head(at(receiver.socket)).await, Ok(status(200)));
            }
            assert_eq!(receiver.accepted(), connections, "{len}");
        }
    }
}
