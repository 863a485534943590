//! De-duplication: a webhook is handled once, and again only if its handler failed.

use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{OTHER, Sent, layer};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use nahook_receive::{
    Begin, MemorySeenIds, Refusal, SeenIds, SeenIdsError, VerifyLayer, VerifyService,
};
use tokio::sync::oneshot;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

type Answer = Response<Full<Bytes>>;

fn deduplicating() -> VerifyLayer {
    layer().deduplicate(MemorySeenIds::new())
}

/// A handler that answers with the statuses in turn, the last one for ever, and the number of its calls.
fn answering(
    layer: &VerifyLayer,
    statuses: &'static [u16],
) -> (
    impl Fn(Request<Full<Bytes>>) -> u16 + use<>,
    Arc<AtomicUsize>,
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let service = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
        let call = counter.fetch_add(1, Ordering::SeqCst);
        let mut answer = Answer::default();
        *answer.status_mut() =
            StatusCode::from_u16(statuses[call.min(statuses.len() - 1)]).unwrap();
        async { Ok::<_, Infallible>(answer) }
    }));
    let ask = move |request| {
        let answer = service.clone().oneshot(request).now_or_never().unwrap();
        answer.unwrap().status().as_u16()
    };
    (ask, calls)
}

#[test]
fn repeat_is_answered_204_without_the_handler() {
    let (ask, calls) = answering(&deduplicating(), &[200]);
    let sent = Sent::new("msg_1", b"{}");
    assert_eq!(ask(sent.to("/")), 200);
    assert_eq!(ask(sent.to("/")), 204);
    assert_eq!(ask(sent.to("/")), 204);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(ask(Sent::new("msg_2", b"{}").to("/")), 200);
}

#[test]
fn nothing_is_remembered_unless_asked_for() {
    let (ask, calls) = answering(&layer(), &[200]);
    let sent = Sent::new("msg_1", b"{}");
    assert_eq!((ask(sent.to("/")), ask(sent.to("/"))), (200, 200));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn failed_handler_lets_the_retry_in() {
    let (ask, calls) = answering(&deduplicating(), &[500, 422, 302, 202]);
    let sent = Sent::new("msg_1", b"{}");
    let answers = [(); 6].map(|()| ask(sent.to("/")));
    assert_eq!(answers, [500, 422, 302, 202, 204, 204]);
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[test]
fn same_id_at_another_path_is_another_webhook() {
    let (ask, _) = answering(&deduplicating(), &[200]);
    let sent = Sent::new("msg_1", b"{}");
    assert_eq!(ask(sent.to("/a")), 200);
    assert_eq!(ask(sent.to("/b")), 200);
    assert_eq!(ask(sent.to("/a?again=1")), 204);
}

#[test]
fn forged_webhook_claims_no_id() {
    let (ask, _) = answering(&deduplicating(), &[200]);
    assert_eq!(ask(Sent::by(&[OTHER], "msg_1", b"{}").to("/")), 401);
    assert_eq!(ask(Sent::new("msg_1", b"{}").to("/")), 200);
    // And a forged repeat is not told that there was one.
    assert_eq!(ask(Sent::by(&[OTHER], "msg_1", b"{}").to("/")), 401);
}

#[test]
fn layers_may_share_a_store() {
    let store = Arc::new(MemorySeenIds::new());
    let (one, _) = answering(&layer().deduplicate(Arc::clone(&store)), &[200]);
    let (two, _) = answering(&layer().deduplicate(store), &[200]);
    let sent = Sent::new("msg_1", b"{}");
    assert_eq!((one(sent.to("/")), two(sent.to("/"))), (200, 204));
}

/// A handler that answers when told to, or panics.
async fn gated(request: Request<Full<Bytes>>) -> Result<Answer, Infallible> {
    let gate = request.extensions().get::<Gate>().cloned().unwrap();
    match gate {
        Gate::Open => Ok(Answer::default()),
        Gate::Fail => {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(answer)
        }
        Gate::Panic => panic!("handler"),
        Gate::Wait(receiver) => {
            let receiver = receiver.lock().unwrap().take();
            match receiver {
                Some(receiver) => receiver.await.unwrap(),
                None => pending().await,
            }
            Ok(Answer::default())
        }
    }
}

#[derive(Clone)]
enum Gate {
    Open,
    Fail,
    Panic,
    Wait(Arc<Mutex<Option<oneshot::Receiver<()>>>>),
}

fn at_gate(gate: Gate) -> Request<Full<Bytes>> {
    let mut request = Sent::new("msg_1", b"{}").to("/");
    request.extensions_mut().insert(gate);
    request
}

#[tokio::test]
async fn attempt_during_another_is_answered_409() {
    let service = deduplicating().layer(service_fn(gated));
    let (open, wait) = oneshot::channel();
    let wait = Gate::Wait(Arc::new(Mutex::new(Some(wait))));
    let mut first = service.clone().oneshot(at_gate(wait));
    assert!((&mut first).now_or_never().is_none());
    let refused = service.clone().oneshot(at_gate(Gate::Panic)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    open.send(()).unwrap();
    assert_eq!(first.await.unwrap().status(), StatusCode::OK);
    let repeat = service.oneshot(at_gate(Gate::Open)).await.unwrap();
    assert_eq!(repeat.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn handler_that_panics_or_is_dropped_lets_the_retry_in() {
    let service = deduplicating().layer(service_fn(gated));
    let panicked = tokio::spawn(service.clone().oneshot(at_gate(Gate::Panic))).await;
    assert!(panicked.unwrap_err().is_panic());
    let waiting = Gate::Wait(Arc::default());
    let dropped = service.clone().oneshot(at_gate(waiting)).now_or_never();
    assert!(dropped.is_none());
    let retry = service.oneshot(at_gate(Gate::Open)).await.unwrap();
    assert_eq!(retry.status(), StatusCode::OK);
}

#[tokio::test]
async fn service_that_fails_lets_the_retry_in() {
    let store = Arc::new(MemorySeenIds::new());
    let failing = service_fn(|_| async { Err::<Answer, _>("broken") });
    let mut failing = layer().deduplicate(Arc::clone(&store)).layer(failing);
    let sent = Sent::new("msg_1", b"{}");
    let error = failing.call(sent.to("/")).await.unwrap_err();
    assert_eq!(error, "broken");
    let (ask, _) = answering(&layer().deduplicate(store), &[200]);
    assert_eq!(ask(sent.to("/")), 200);
}

/// A store that writes down its calls. With `hangs`, a call of `finished` never ends.
#[derive(Default)]
struct Recording {
    calls: Mutex<Vec<String>>,
    hangs: bool,
}

impl Recording {
    fn record(&self, call: &str, key: &str) {
        self.calls.lock().unwrap().push(format!("{call} {key}"));
    }

    /// The calls to a store while a webhook is handled, which may be given up.
    fn calls(self, gate: Gate) -> Vec<String> {
        let store = Arc::new(self);
        let service = layer()
            .deduplicate(Arc::clone(&store))
            .layer(service_fn(gated));
        let answer = AssertUnwindSafe(service.oneshot(at_gate(gate))).catch_unwind();
        let _ = answer.now_or_never();
        store.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl SeenIds for Recording {
    async fn begin(&self, key: &str) -> Result<Begin, SeenIdsError> {
        self.record("begin", key);
        Ok(Begin::First)
    }

    async fn finished(&self, key: &str) {
        self.record("finished", key);
        if self.hangs {
            pending::<()>().await;
        }
    }

    async fn failed(&self, key: &str) {
        self.record("failed", key);
    }

    fn cancelled(&self, key: &str) {
        self.record("cancelled", key);
    }
}

#[test]
fn store_is_called_once_before_and_once_after_the_handler() {
    let hanging = Recording {
        hangs: true,
        ..Recording::default()
    };
    for (store, gate, after) in [
        (Recording::default(), Gate::Open, "finished"),
        (hanging, Gate::Open, "finished"),
        (Recording::default(), Gate::Fail, "failed"),
        (Recording::default(), Gate::Panic, "cancelled"),
        (
            Recording::default(),
            Gate::Wait(Arc::default()),
            "cancelled",
        ),
    ] {
        let calls = store.calls(gate);
        assert_eq!(
            calls,
            ["begin / msg_1".to_owned(), format!("{after} / msg_1")]
        );
    }
}

/// A store that is down.
struct Down;

#[async_trait]
impl SeenIds for Down {
    async fn begin(&self, _: &str) -> Result<Begin, SeenIdsError> {
        Err(SeenIdsError::new("postgres://user:hunter2@db refused"))
    }

    async fn finished(&self, _: &str) {
        unreachable!("nothing was begun");
    }

    async fn failed(&self, _: &str) {
        unreachable!("nothing was begun");
    }

    fn cancelled(&self, _: &str) {
        unreachable!("nothing was begun");
    }
}

#[tokio::test]
async fn store_that_is_down_is_answered_503_without_its_reason() {
    let handler = service_fn(|_| async { Ok::<Answer, Infallible>(Answer::default()) });
    let service: VerifyService<_> = layer().deduplicate(Down).layer(handler);
    let answer = service
        .oneshot(Sent::new("msg_1", b"{}").to("/"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let refusal = answer.extensions().get::<Refusal>().unwrap();
    let Refusal::SeenIds(error) = refusal else {
        panic!("{refusal:?}")
    };
    let source = std::error::Error::source(error).unwrap().to_string();
    assert!(source.contains("refused"), "{source}");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let expected =
        r#"{"error":{"code":"unavailable","message":"the store of seen ids is unavailable"}}"#;
    assert_eq!(body, expected);
}
