//! Receivers of webhooks on this machine: they note everything and answer as they are told.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::{SOON, until};

/// Reaction of a receiver to a request, once it has read it.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with this status and body.
    Body(u16, Vec<u8>),
    /// Closes the connection without a word.
    Close,
    /// Answers 200 and a body of so many bytes.
    Endless(u64),
    /// Says nothing, ever.
    Hang,
    /// Answers with this status and header.
    Header(u16, &'static str, String),
    /// Answers with this status, after a while.
    Late(Duration, u16),
    /// Answers with this status.
    Status(u16),
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

/// A receiver; clones are the same. It serves until the test's runtime ends.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    arrivals: Mutex<Vec<Arrival>>,
    connections: AtomicUsize,
    replies: Mutex<HashMap<String, VecDeque<Reply>>>,
}

impl Receiver {
    /// A receiver that answers 200 to everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state }
    }

    /// Answers requests to `path` with these, one after the other; the last one is for all that follow.
    pub(crate) fn reply(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        lock(&self.state.replies).insert(path.to_owned(), replies);
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that arrived so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.state.arrivals).clone()
    }

    /// Returns the arrivals at `path` so far.
    pub(crate) fn arrivals_at(&self, path: &str) -> Vec<Arrival> {
        let arrivals = lock(&self.state.arrivals);
        arrivals
            .iter()
            .filter(|arrival| arrival.path == path)
            .cloned()
            .collect()
    }

    /// Returns the number of requests so far.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state.arrivals).len()
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Waits until at least `count` requests arrived in all.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Arrival> {
        let what = format!("{count} webhooks arrive");
        until(SOON, &what, || {
            (self.len() >= count).then(|| self.arrivals())
        })
        .await
    }

    /// Waits until at least `count` requests arrived at `path`.
    pub(crate) async fn wait_at(&self, path: &str, count: usize) -> Vec<Arrival> {
        let what = format!("{count} webhooks arrive at {path}");
        let arrived = || Some(self.arrivals_at(path)).filter(|arrivals| arrivals.len() >= count);
        until(SOON, &what, arrived).await
    }

    /// Waits until `count` requests arrived in all, and checks that no more follow for a while.
    pub(crate) async fn exactly(&self, count: usize) -> Vec<Arrival> {
        self.wait_for(count).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let arrivals = self.arrivals();
        assert_eq!(arrivals.len(), count, "{arrivals:#?}");
        arrivals
    }
}

impl Arrival {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }

    /// Checks the signature with the reference library.
    pub(crate) fn assert_signed(&self, secret: &str) {
        let webhook = Webhook::new(secret).unwrap();
        let checked = webhook.verify(&self.body, &self.headers);
        checked.unwrap_or_else(|error| panic!("{error}: {self:?}"));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&state)));
            // A connection that ends in an error is what some replies are for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Closes the connection: hyper does so where a service fails.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Closed> {
    let (head, body) = request.into_parts();
    // What does not arrive whole has not arrived.
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let path = head.uri.path().to_owned();
    let reply = next_reply(&state, &path);
    let (method, headers, at) = (head.method, head.headers, Instant::now());
    lock(&state.arrivals).push(Arrival {
        method,
        path,
        headers,
        body,
        at,
    });
    let response = Response::builder();
    let empty = Empty::new().boxed();
    Ok(match reply {
        Reply::Body(status, body) => {
            let body = Full::new(Bytes::from(body)).boxed();
            response.status(status).body(body).unwrap()
        }
        Reply::Close => return Err(Closed),
        Reply::Endless(len) => response.body(Endless { left: len }.boxed()).unwrap(),
        Reply::Hang => std::future::pending().await,
        Reply::Header(status, name, value) => response
            .status(status)
            .header(name, value)
            .body(empty)
            .unwrap(),
        Reply::Late(wait, status) => {
            tokio::time::sleep(wait).await;
            response.status(status).body(empty).unwrap()
        }
        Reply::Status(status) => response.status(status).body(empty).unwrap(),
    })
}

fn next_reply(state: &State, path: &str) -> Reply {
    let mut replies = lock(&state.replies);
    let Some(replies) = replies.get_mut(path) else {
        return Reply::Status(200);
    };
    let last = if replies.len() > 1 {
        replies.pop_front()
    } else {
        replies.front().cloned()
    };
    last.unwrap_or(Reply::Status(200))
}

/// A body that is sent for as long as somebody reads it.
struct Endless {
    left: u64,
}

const CHUNK: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.left.min(CHUNK.len() as u64);
        self.left -= len;
        let chunk = CHUNK.slice(..usize::try_from(len).unwrap());
        Poll::Ready((len > 0).then(|| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
