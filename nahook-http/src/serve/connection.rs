//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tower::Service as _;

use super::paced::{Pace, Paced};
use super::refusal::{last_answer, refusal};
use super::{Phase, ServeSettings};
use crate::edge::X_REQUEST_ID;
use crate::{ApiError, RequestContext, metric};

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
    settings: ServeSettings,
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
            settings,
            phase,
        }
    }

    /// The phase of the server.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Serves the connection until either side is done with it, or the server cuts it.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase();
        let exchange = self.exchange(stream);
        async move {
            let _open = Open::new();
            tokio::select! {
                biased;
                // An error: the server is gone.
                _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
                () = exchange => {}
            }
            drop(permit);
        }
    }

    fn exchange(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        // Answers are written whole: there is nothing to gain from waiting for more.
        let _ = stream.set_nodelay(true);
        let settings = self.settings;
        let mut phase = self.phase();
        let pace = Arc::new(Pace::new());
        let io = TokioIo::new(Paced::new(stream, Arc::clone(&pace), &settings));
        let service = {
            let (router, pace) = (self.router.clone(), Arc::clone(&pace));
            service_fn(move |request| answer(router.clone(), Arc::clone(&pace), request))
        };
        let mut connection = self.http.serve_connection(io, service);
        async move {
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
            let mut stream = connection.into_parts().io.into_inner().into_stream();
            if let Some(error) = refused {
                let answer = last_answer(&error);
                let _ = timeout(settings.write_timeout, stream.write_all(&answer)).await;
            }
            linger(stream, settings.linger_timeout).await;
        }
    }
}

/// Returns true if the connection's own stream has given up on the client.
fn timed_out(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    cause
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

fn answer(mut router: Router, pace: Arc<Pace>, request: Request<Incoming>) -> Answering {
    pace.request_began(!request.body().is_end_stream());
    let of_request = Arc::clone(&pace);
    let answering = router.call(request.map(|body| Question {
        body,
        pace: of_request,
    }));
    Box::pin(async move {
        let mut answer = answering.await?;
        // Also where the router has no edge: only refusals of hyper's own have none.
        if !answer.headers().contains_key(X_REQUEST_ID) {
            let RequestContext { id, .. } = RequestContext::of(answer.extensions());
            answer.headers_mut().insert(X_REQUEST_ID, id.into_header());
        }
        Ok(answer.map(|body| Answer { body, pace }))
    })
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
            self.pace.body_ended();
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

/// An answer's body that tells when it has been written, or given up.
struct Answer {
    body: Body,
    pace: Arc<Pace>,
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

impl Drop for Answer {
    fn drop(&mut self) {
        self.pace.answer_ended();
    }
}

/// Drops what the client still sends until it has seen the end of the answer and closes, falls silent, or time is up.
async fn linger(mut stream: TcpStream, linger_timeout: Duration) {
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
