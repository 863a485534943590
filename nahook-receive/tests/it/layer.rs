//! The tower layer: what reaches the service, and the answers to what does not.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;

use crate::support::{SENT, Sent, at, layer, verifier};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, StreamBody};
use nahook_receive::{RawWebhook, Refusal, VerifyError, VerifyLayer};
use tower::{Layer as _, ServiceExt as _, service_fn};

type Answer = Response<Full<Bytes>>;

/// Answers with the id and the body that reach it.
async fn echo(request: Request<Full<Bytes>>) -> Result<Answer, Infallible> {
    let id = request.extensions().get::<RawWebhook>().unwrap().id.clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{id} {}", String::from_utf8_lossy(&body));
    Ok(Response::new(Full::from(text)))
}

async fn answer<B>(layer: &VerifyLayer, request: Request<B>) -> Answer
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = layer.layer(service_fn(echo));
    service.oneshot(request).await.unwrap()
}

async fn text(answer: Answer) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn verified_webhook_reaches_the_service_with_its_body() {
    let answer = answer(&layer(), Sent::new("msg_1", b"{ }").to("/")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(text(answer).await, "msg_1 { }");
}

#[tokio::test]
async fn every_refusal_has_a_status_a_code_and_a_message() {
    let sent = Sent::new("msg_1", b"{}");
    let with = |name: &'static str, value: &str| {
        let mut request = sent.to("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut unsigned = sent.to("/");
    unsigned.headers_mut().remove("webhook-signature");
    let not_text = Sent::new("msg_1", b"\xff").to("/");
    let too_large = Sent::new("msg_1", &[b' '; 17]).to("/");
    let (old, new) = ((SENT - 301).to_string(), (SENT + 301).to_string());
    for (request, status, body) in [
        (
            unsigned,
            401,
            r#"{"error":{"code":"missing_header","message":"the header `webhook-signature` is missing"}}"#,
        ),
        (
            with("webhook-timestamp", "soon"),
            400,
            r#"{"error":{"code":"malformed_header","message":"the header `webhook-timestamp` is malformed"}}"#,
        ),
        (
            with("webhook-signature", "v1a,AAAA"),
            401,
            r#"{"error":{"code":"unsupported_signature","message":"there is no signature of version `v1`"}}"#,
        ),
        (
            with("webhook-id", "msg_2"),
            401,
            r#"{"error":{"code":"signature_mismatch","message":"no signature matches"}}"#,
        ),
        (
            with("webhook-timestamp", &old),
            401,
            r#"{"error":{"code":"too_old","message":"the timestamp is too old"}}"#,
        ),
        (
            with("webhook-timestamp", &new),
            401,
            r#"{"error":{"code":"too_new","message":"the timestamp is too far in the future"}}"#,
        ),
        (
            not_text,
            400,
            r#"{"error":{"code":"body_not_text","message":"the body is not UTF-8"}}"#,
        ),
        (
            too_large,
            413,
            r#"{"error":{"code":"body_too_large","message":"the body is larger than 16 bytes"}}"#,
        ),
    ] {
        let answer = answer(&layer().body_limit(16), request).await;
        assert_eq!(answer.status(), status, "{body}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(answer.extensions().get::<Refusal>().is_some());
        assert_eq!(text(answer).await, body);
    }
}

#[tokio::test]
async fn body_may_be_as_large_as_the_limit() {
    for (size, status) in [(15, 200), (16, 200), (17, 413)] {
        let sent = Sent::new("msg_1", &vec![b' '; size]);
        let answer = answer(&layer().body_limit(16), sent.to("/")).await;
        assert_eq!(answer.status(), status, "{size}");
    }
    for (size, status) in [(1024 * 1024, 200), (1024 * 1024 + 1, 413)] {
        let sent = Sent::new("msg_1", &vec![b' '; size]);
        assert_eq!(answer(&layer(), sent.to("/")).await.status(), status);
    }
}

/// A body that declares its length and must not be read.
struct Unread(u64);

impl Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        unreachable!("the body is read")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn body_that_declares_more_than_the_limit_is_not_read() {
    for length in [17, u64::MAX] {
        let mut request = Request::post("/").body(Unread(length)).unwrap();
        *request.headers_mut() = Sent::new("msg_1", b"").headers();
        let answer = answer(&layer().body_limit(16), request).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}

/// A signed request whose body comes in frames of 10 bytes without a declared length, and the number that were read.
fn streamed(
    frames: usize,
) -> (
    Request<impl Body<Data = Bytes, Error = Infallible>>,
    Arc<AtomicUsize>,
) {
    let sent = Sent::new("msg_1", &vec![b'x'; frames * 10]);
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let frames = stream::iter(0..frames).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(Frame::data(Bytes::from_static(b"xxxxxxxxxx")))
    });
    let mut request = Request::post("/").body(StreamBody::new(frames)).unwrap();
    *request.headers_mut() = sent.headers();
    (request, read)
}

#[tokio::test]
async fn streamed_body_is_read_up_to_the_limit() {
    let (request, _) = streamed(10);
    assert_eq!(
        answer(&layer().body_limit(100), request).await.status(),
        200
    );
    let (request, read) = streamed(1000);
    assert_eq!(
        answer(&layer().body_limit(100), request).await.status(),
        413
    );
    assert_eq!(read.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn body_is_not_read_if_the_headers_are_refused() {
    let (mut request, read) = streamed(10);
    request.headers_mut().remove("webhook-id");
    assert_eq!(answer(&layer(), request).await.status(), 401);
    let late = VerifyLayer::new(verifier()).clock(|| at(SENT + 301));
    let (request, also_read) = streamed(10);
    assert_eq!(answer(&late, request).await.status(), 401);
    assert_eq!(read.load(Ordering::SeqCst), 0);
    assert_eq!(also_read.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn body_that_breaks_off_is_refused() {
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"{"))),
        Err(std::io::Error::other("connection reset")),
    ];
    let mut request = Request::post("/")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    *request.headers_mut() = Sent::new("msg_1", b"{}").headers();
    let answer = answer(&layer(), request).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let refusal = answer.extensions().get::<Refusal>().unwrap();
    assert!(matches!(
        refusal,
        Refusal::Verify(VerifyError::BodyUnreadable)
    ));
}

#[tokio::test]
async fn system_clock_is_the_default() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    for (timestamp, status) in [(now, 200), (now - 400, 401), (now + 400, 401)] {
        let sent = Sent::at(timestamp, "msg_1", b"{}");
        let layer = VerifyLayer::new(verifier());
        assert_eq!(answer(&layer, sent.to("/")).await.status(), status);
    }
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", layer());
    assert!(shown.contains("keys: 1"), "{shown}");
    assert!(!shown.contains("dGVzd"), "{shown}");
}
