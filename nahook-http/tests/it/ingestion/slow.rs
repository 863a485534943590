//! Bodies that dawdle, never end, lie or break off.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ingestion::support::{Bench, KEY, ORDER_PAID, POOR, POOR_LEN_MAX, ask, post};

/// Feeds a body.
pub(crate) struct Sender(mpsc::Sender<Result<Bytes, std::io::Error>>);

impl Sender {
    pub(crate) async fn send(&self, bytes: &'static str) {
        let _ = self.0.send(Ok(Bytes::from_static(bytes.as_bytes()))).await;
    }

    async fn break_off(&self) {
        let _ = self.0.send(Err(std::io::ErrorKind::Other.into())).await;
    }
}

struct Channel(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let chunk = self.0.poll_recv(context);
        chunk.map(|chunk| chunk.map(|bytes| bytes.map(Frame::data)))
    }
}

/// A body that ends when its sender is dropped.
pub(crate) fn channel() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (Sender(sender), Body::new(Channel(receiver)))
}

/// A body without end that counts how much of it was taken.
struct Endless {
    taken: Arc<AtomicUsize>,
    announced: Option<u64>,
}

impl Endless {
    const CHUNK: Bytes = Bytes::from_static(&[b' '; 1024]);
}

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.taken.fetch_add(Self::CHUNK.len(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Self::CHUNK))))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408_at_the_deadline() {
    let bench = Bench::new().await;
    let (sender, body) = channel();
    tokio::spawn(async move {
        loop {
            sender.send(" ").await;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    });
    let begun = Instant::now();
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
    assert_eq!(answer.error(), (408, "request_timeout".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert!(bench.queued().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_in_pieces_is_put_together() {
    let bench = Bench::new().await;
    let (sender, body) = channel();
    tokio::spawn(async move {
        for piece in ["", "{\"pay", "load\":", "", "{\"a\"", ":1}", "}", ""] {
            sender.send(piece).await;
        }
    });
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
    assert_eq!(answer.status.as_u16(), 202);
    for delivery in bench.queued().await {
        assert_eq!(delivery.payload.as_bytes(), "{\"a\":1}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_queues_nothing() {
    let bench = Bench::new().await;
    let (sender, body) = channel();
    tokio::spawn(async move {
        sender.send(r#"{"payload":{}}"#).await;
        sender.break_off().await;
    });
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
    assert_eq!(answer.error(), (400, "validation_error".to_owned()));
    assert!(bench.queued().await.is_empty());
}

#[tokio::test]
async fn an_endless_body_is_refused_once_over_the_limit() {
    let bench = Bench::new().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Body::new(Endless {
        taken: Arc::clone(&taken),
        announced: None,
    });
    let answer = ask(&bench.router(), post(ORDER_PAID, POOR, body)).await;
    assert_eq!(answer.error(), (413, "payload_too_large".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    let (envelope, discarded, chunk) = (128 * 1024, 1024 * 1024, 1024);
    let most = POOR_LEN_MAX + envelope + discarded + 2 * chunk;
    assert!(taken.load(Ordering::SeqCst) <= most);
}

#[tokio::test]
async fn an_announced_excess_is_refused_unread() {
    let bench = Bench::new().await;
    let taken = Arc::new(AtomicUsize::new(0));
    for (key, code) in [
        (KEY, "payload_too_large"),
        ("nhk_no_00000000000000000000000000000", "unauthorized"),
    ] {
        let body = Body::new(Endless {
            taken: Arc::clone(&taken),
            announced: Some(100_000_000),
        });
        let answer = ask(&bench.router(), post(ORDER_PAID, key, body)).await;
        assert_eq!(answer.error().1, code);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_that_waits_for_100_continue_is_not_asked_for_in_vain() {
    let bench = Bench::new().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Body::new(Endless {
        taken: Arc::clone(&taken),
        announced: Some(100),
    });
    let mut request = post(ORDER_PAID, "nhk_no_00000000000000000000000000000", body);
    let headers = request.headers_mut();
    headers.insert("expect", "100-continue".parse().unwrap());
    let answer = ask(&bench.router(), request).await;
    assert_eq!(answer.error(), (401, "unauthorized".to_owned()));
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_small_rest_is_dropped_and_the_connection_lives_on() {
    let bench = Bench::new().await;
    let answer = ask(
        &bench.router(),
        post(
            ORDER_PAID,
            "nhk_no_00000000000000000000000000000",
            " ".repeat(500_000),
        ),
    )
    .await;
    assert_eq!(answer.error(), (401, "unauthorized".to_owned()));
    assert_eq!(answer.header("connection"), None);
}
