//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::Service as _;

use super::forwarded::{forwarded_for, is_trusted};
use super::host::is_host_valid;
use super::paced::Paced;
use super::refusal::{last_answer, refusal};
use super::stream::{Handshake, Stream};
use super::{Phase, ServeSettings};
use crate::edge::X_REQUEST_ID;
use crate::metric::{self, Route};
use crate::room::{Client, Pace, Place, Room};
use crate::{ApiError, RequestContext};

/// Bytes of bodies and answers that a connection buffers.
const BUFFER_LEN_MAX: usize = 64 * 1024;

/// Largest part of a dropped body that is read at once.
const LINGER_READ_LEN: usize = 16 * 1024;

/// Silence of a client after which it is taken to have read its answer.
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// State that all connections share.
pub(super) struct Connections {
    http: http1::Builder,
    router: Router,
    settings: Arc<ServeSettings>,
    phase: watch::Receiver<Phase>,
}

impl Connections {
    pub(super) fn new(
        router: Router,
        settings: ServeSettings,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let mut http = http1::Builder::new();
        // hyper's own time-out cannot tell a slow head from an idle connection; `Paced` can.
        http.header_read_timeout(None)
            // A client that closes its sending half after the request still gets its answer.
            .half_close(true)
            .max_header_size(settings.head_len_max)
            .max_buf_size(settings.head_len_max.max(BUFFER_LEN_MAX));
        Self {
            http,
            router,
            settings: Arc::new(settings),
            phase,
        }
    }

    pub(super) fn settings(&self) -> &ServeSettings {
        &self.settings
    }

    /// The phase of the server.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Serves the connection until either side is done with it, or the server cuts it.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        handshake: Option<Arc<dyn Handshake>>,
        room: &Arc<Room>,
        place: Place,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase();
        let evicted = Arc::clone(&place.pace);
        let peer = Peer {
            address: peer,
            is_proxy: is_trusted(&self.settings.trusted_proxies, peer),
            pace: Arc::clone(&place.pace),
            room: Arc::clone(room),
            settings: Arc::clone(&self.settings),
        };
        let (http, router, exchange_phase) = (self.http.clone(), self.router.clone(), self.phase());
        let head_timeout = self.settings.head_timeout;
        let exchange = async move {
            // Answers are written whole: there is nothing to gain from waiting for more.
            let _ = stream.set_nodelay(true);
            let stream = match handshake {
                None => Stream::Plain(stream),
                Some(handshake) => match timeout(head_timeout, handshake.secure(stream)).await {
                    Ok(Ok(stream)) => Stream::Secured(stream),
                    Ok(Err(error)) => return tracing::debug!(%error, "handshake failed"),
                    Err(_) => return tracing::debug!("handshake took too long"),
                },
            };
            exchange(http, router, stream, peer, exchange_phase).await;
        };
        async move {
            let _open = Open::new();
            tokio::select! {
                biased;
                // An error: the server is gone.
                _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
                () = evicted.evicted() => {}
                () = exchange => {}
            }
            drop(place);
        }
    }
}

/// Serves requests until the connection ends.
async fn exchange(
    http: http1::Builder,
    router: Router,
    stream: Stream,
    peer: Peer,
    mut phase: watch::Receiver<Phase>,
) {
    let (pace, settings) = (Arc::clone(&peer.pace), Arc::clone(&peer.settings));
    let io = TokioIo::new(Paced::new(stream, Arc::clone(&pace), &settings));
    let service = service_fn(move |request| answer(router.clone(), &peer, request));
    let mut connection = http.serve_connection(io, service);
    let result = tokio::select! {
        biased;
        result = &mut connection => result,
        () = async { let _ = phase.wait_for(|phase| *phase != Phase::Serving).await; } => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let refused = result.as_ref().err().and_then(|error| {
        tracing::debug!(%error, "connection ended");
        let is_slow = timed_out(error) && pace.is_in_head();
        refusal(error).or_else(|| is_slow.then(ApiError::slow_head))
    });
    if refused.is_none() && !pace.is_unread() {
        return;
    }
    pace.begin_linger();
    let mut stream = connection.into_parts().io.into_inner().into_stream();
    if let Some(error) = refused {
        let answer = last_answer(&error);
        let _ = timeout(settings.write_timeout, stream.write_all(&answer)).await;
    }
    linger(stream, settings.linger_timeout).await;
}

/// Returns true if the connection's own stream has given up on the client.
fn timed_out(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    cause
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// The other end of a connection, and what counts for it.
struct Peer {
    address: IpAddr,
    is_proxy: bool,
    pace: Arc<Pace>,
    room: Arc<Room>,
    settings: Arc<ServeSettings>,
}

impl Peer {
    fn client(&self, headers: &HeaderMap) -> Client {
        let trusted = &self.settings.trusted_proxies;
        let forwarded = self.is_proxy.then(|| forwarded_for(trusted, headers));
        Client {
            peer: self.address,
            forwarded: forwarded.flatten(),
            pace: Arc::clone(&self.pace),
            room: Arc::clone(&self.room),
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

fn answer(mut router: Router, peer: &Peer, mut request: Request<Incoming>) -> Answering {
    let pace = Arc::clone(&peer.pace);
    if !pace.begin_request(!request.body().is_end_stream()) {
        // The connection is about to be closed.
        return Box::pin(std::future::pending());
    }
    let end = End(Arc::clone(&pace));
    if !is_host_valid(request.version(), request.headers()) {
        return Box::pin(async { Ok(finish(ambiguous(), end)) });
    }
    let client = peer.client(request.headers());
    request.extensions_mut().insert(client);
    let answering = router.call(request.map(|body| Question { body, pace }));
    Box::pin(async move { Ok(finish(answering.await?, end)) })
}

/// Refuses a request that another server may take for another one, and so whatever follows it on the connection.
fn ambiguous() -> Response<Body> {
    let error = ApiError::validation("The request must have one valid Host header");
    metric::count_request(Route::None, error.status().as_u16(), error.code());
    let mut answer = error.into_response();
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// Gives the answer what every answer has.
fn finish(mut answer: Response<Body>, end: End) -> Response<Answer> {
    // Also where the router has no edge: only refusals of hyper's own have none.
    if !answer.headers().contains_key(X_REQUEST_ID) {
        let RequestContext { id, .. } = RequestContext::of(answer.extensions());
        id.mark(answer.headers_mut());
    }
    answer.map(|body| Answer { body, _end: end })
}

/// Ends the request when dropped: its answer has been written or given up.
struct End(Arc<Pace>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end_answer();
    }
}

/// A request's body that tells when it has been read to its end.
struct Question {
    body: Incoming,
    pace: Arc<Pace>,
}

impl HttpBody for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.pace.end_body();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body.
struct Answer {
    body: Body,
    _end: End,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Drops what the client still sends until it has seen the end of the answer and closes, falls silent, or time is up.
pub(super) async fn linger(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    linger_timeout: Duration,
) {
    let _ = timeout(linger_timeout, async {
        let _ = stream.shutdown().await;
        let mut dropped = vec![0; LINGER_READ_LEN];
        while let Ok(Ok(1..)) = timeout(LINGER_SILENCE, stream.read(&mut dropped)).await {}
    })
    .await;
}

/// Counts itself among the open connections.
struct Open;

impl Open {
    fn new() -> Self {
        metric::connection_opened();
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metric::connection_closed();
    }
}
