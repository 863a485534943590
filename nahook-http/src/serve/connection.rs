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
use tokio::sync::watch;
use tokio::time::timeout;
use tower::Service as _;

use super::ServeSettings;
use super::paced::{Pace, Paced};
use crate::metric;

/// What a connection buffers of bodies and answers, in bytes.
const BUFFER_LEN_MAX: usize = 64 * 1024;

/// Largest part of a dropped body that is read at once.
const LINGER_READ_LEN: usize = 16 * 1024;

/// How long a client may send nothing before it is taken to have read its answer.
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// What all connections share.
pub(super) struct Connections {
    http: http1::Builder,
    router: Router,
    settings: ServeSettings,
    stopped: watch::Receiver<bool>,
}

impl Connections {
    pub(super) fn new(
        router: Router,
        settings: ServeSettings,
        stopped: watch::Receiver<bool>,
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
            stopped,
        }
    }

    /// Serves the connection until either side is done with it.
    pub(super) fn serve(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        // Answers are written whole: there is nothing to gain from waiting for more.
        let _ = stream.set_nodelay(true);
        let settings = self.settings;
        let mut stopped = self.stopped.clone();
        let pace = Arc::new(Pace::new());
        let io = TokioIo::new(Paced::new(stream, Arc::clone(&pace), &settings));
        let service = {
            let (router, pace) = (self.router.clone(), Arc::clone(&pace));
            service_fn(move |request| answer(router.clone(), Arc::clone(&pace), request))
        };
        let mut connection = self.http.serve_connection(io, service);
        async move {
            let _open = Open::new();
            let result = tokio::select! {
                biased;
                result = &mut connection => result,
                () = async { let _ = stopped.wait_for(|stopped| *stopped).await; } => {
                    Pin::new(&mut connection).graceful_shutdown();
                    (&mut connection).await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "connection ended");
            }
            if pace.is_unread() {
                let stream = connection.into_parts().io.into_inner().into_stream();
                linger(stream, settings.linger_timeout).await;
            }
        }
    }
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
        let answer = answering.await?;
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
