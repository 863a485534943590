//! The start of an answer's body, which is kept and decides nothing.

use nahook_queue::Attempt;
use tokio::io::AsyncWriteExt;

use super::receiver::{Receiver, closed, read_request};
use super::*;

async fn body_of(receiver: &Receiver) -> Bytes {
    open().post(at(receiver.socket)).await.unwrap().body
}

#[tokio::test]
async fn body_that_comes_with_the_head_is_kept() {
    for code in [200, 500] {
        let answer = format!("HTTP/1.1 {code} Well\r\ncontent-length: 4\r\n\r\noops");
        let receiver = Receiver::answering(answer.leak()).await;
        assert_eq!(body_of(&receiver).await, "oops", "{code}");
    }
}

#[tokio::test]
async fn chunks_are_put_together() {
    let answer =
        "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\noop\r\n1\r\ns\r\n0\r\n\r\n";
    let receiver = Receiver::answering(answer).await;
    assert_eq!(body_of(&receiver).await, "oops");
}

#[tokio::test]
async fn only_the_start_of_a_long_body_is_kept() {
    for framing in ["content-length: 1000000", "connection: close"] {
        let head = format!("HTTP/1.1 500 No\r\n{framing}\r\n\r\n");
        let answer = format!("{head}{}", "x".repeat(1_000_000));
        let receiver = Receiver::answering(answer.leak()).await;
        let body = body_of(&receiver).await;
        assert_eq!(
            body,
            vec![b'x'; Attempt::RESPONSE_BODY_LEN_MAX],
            "{framing}"
        );
    }
}

#[tokio::test]
async fn body_that_never_comes_is_not_waited_for() {
    for code in [200, 500] {
        let receiver = Receiver::start(move |mut stream| async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 {code} Well\r\ncontent-length: 4\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            closed(&mut stream).await;
        })
        .await;
        assert_eq!(body_of(&receiver).await, "", "{code}");
    }
}

#[tokio::test]
async fn connection_of_a_kept_body_is_used_again() {
    let receiver = Receiver::answering("HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\noops").await;
    let transport = open();
    for _ in 0..3 {
        assert_eq!(
            transport.post(at(receiver.socket)).await.unwrap().body,
            "oops"
        );
    }
    assert_eq!(receiver.accepted(), 1);
}
