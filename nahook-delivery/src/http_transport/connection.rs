//! One connection to an endpoint, driven by the attempt that uses it.
//!
//! A connection has no task of its own. What arrives on it wakes the attempt that waits for it and nobody else, which spares
//! each attempt two changes of task. The price: nobody watches a connection while it is idle, so that a close by the endpoint
//! is noticed when the connection is taken up again, or thrown away with others that were idle for too long.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use nahook_queue::Attempt;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{HeadReader, Progress};
use super::recording::{Recorded, Recording};
use crate::tls;
use crate::transport::{OutboundResponse, RetryAfter, TransportError};

/// hyper's default is 400 KiB of head; this is also the most it reads at a time of a body. A longer head is read by the
/// [`HeadReader`].
const RESPONSE_HEAD_LEN_MAX: usize = 16 * 1024;
const RESPONSE_HEADERS_MAX: usize = 100;

/// A connection's share of all that may be open.
pub(super) type Place = OwnedSemaphorePermit;

/// The request as it is sent.
pub(super) type Message = Request<Full<Bytes>>;

pub(super) type Dialled = MaybeHttpsStream<TokioIo<TcpStream>>;
type Stream = Recorded<TokioIo<Dialled>>;

/// An answer, as far as it counts.
pub(super) struct Answer {
    pub(super) response: OutboundResponse,
    /// Absent where the head was not one that hyper takes: the connection is over then.
    pub(super) body: Option<Incoming>,
}

/// Why there is no answer.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart as soon as it is made, once in an attempt at most"
)]
pub(super) enum SendError {
    /// None of the message was sent, so it can be sent on another connection. The error is that of this one.
    Unsent(Message, TransportError),
    Failed(TransportError),
}

/// One connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    recording: Recording,
    _place: Place,
}

struct Driver {
    /// `None` once it has ended.
    connection: Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
    /// The stream that is left then.
    ended: Option<Stream>,
}

impl Driver {
    /// Writes and reads what can be. What comes of it, errors too, is told through the sender and the answer's body.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(context).is_ready()
        {
            let ended = self.connection.take();
            self.ended = ended.map(|connection| connection.into_parts().io.into_inner());
        }
    }
}

impl Connection {
    pub(super) async fn start(stream: Dialled, place: Place) -> hyper::Result<Box<Self>> {
        let recording = Recording::default();
        let recorded = Recorded {
            stream: TokioIo::new(stream),
            recording: recording.clone(),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(RESPONSE_HEAD_LEN_MAX)
            .max_headers(RESPONSE_HEADERS_MAX)
            .handshake(TokioIo::new(recorded))
            .await?;
        Ok(Box::new(Self {
            sender,
            driver: Driver {
                connection: Some(connection),
                ended: None,
            },
            recording,
            _place: place,
        }))
    }

    /// Ends it as TLS wants it ended, as far as that needs no waiting: dropped, it would look cut off to the endpoint.
    pub(super) fn close(self) {
        let Self {
            sender,
            mut driver,
            _place,
            ..
        } = self;
        drop(sender);
        driver.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Returns true if another message can be sent, as far as is known here.
    pub(super) async fn is_ready(&mut self) -> bool {
        std::future::poll_fn(|context| Poll::Ready(self.check_ready(context))).await
    }

    fn check_ready(&mut self, context: &mut Context<'_>) -> bool {
        self.driver.drive(context);
        self.driver.connection.is_some() && self.sender.is_ready()
    }

    /// Sends a message and waits for the head of the answer.
    pub(super) async fn send(&mut self, message: Message) -> Result<Answer, SendError> {
        self.recording.start();
        let answer = {
            let mut answer = pin!(self.sender.try_send_request(message));
            std::future::poll_fn(|context| {
                self.driver.drive(context);
                answer.as_mut().poll(context)
            })
            .await
        };
        match answer {
            Ok(response) => {
                self.recording.discard();
                Ok(Answer::of(response))
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let error = error.into_error();
                match unsent {
                    Some(unsent) => Err(SendError::Unsent(unsent, closed_by(&error))),
                    None => self.read_refused(&error).await,
                }
            }
        }
    }

    /// Reads the head that hyper has refused with `error`, or that broke off.
    async fn read_refused(&mut self, error: &hyper::Error) -> Result<Answer, SendError> {
        tracing::debug!(?error, "no regular answer");
        let failure = if error.is_parse() {
            TransportError::Protocol
        } else {
            closed_by(error)
        };
        let Some(stream) = &mut self.driver.ended else {
            return Err(SendError::Failed(failure));
        };
        if !error.is_parse() && !error.is_incomplete_message() {
            return Err(SendError::Failed(failure));
        }
        let mut reader = HeadReader::default();
        let mut progress = reader.push(&self.recording.take());
        let mut piece = Vec::with_capacity(RESPONSE_HEAD_LEN_MAX);
        while progress == Progress::Partial {
            piece.clear();
            match stream.read_buf(&mut piece).await {
                Ok(1..) => progress = reader.push(&piece),
                Ok(0) => {
                    let response = reader.end();
                    let response = response.ok_or(SendError::Failed(TransportError::Closed))?;
                    progress = Progress::Complete(response);
                }
                Err(_) => return Err(SendError::Failed(TransportError::Closed)),
            }
        }
        match progress {
            Progress::Complete(response) => Ok(Answer {
                response,
                body: None,
            }),
            Progress::Partial | Progress::NotHttp => {
                Err(SendError::Failed(TransportError::Protocol))
            }
        }
    }
}

/// The failure of a connection that ended without an answer.
fn closed_by(error: &hyper::Error) -> TransportError {
    match tls::refusal(error) {
        Some(fault) => TransportError::Tls(fault),
        None => TransportError::Closed,
    }
}

impl Answer {
    fn of(response: Response<Incoming>) -> Self {
        let retry_after = response.headers().get(header::RETRY_AFTER);
        Self {
            response: OutboundResponse {
                status: response.status().as_u16(),
                retry_after: retry_after.and_then(RetryAfter::parse),
                body: Bytes::new(),
            },
            body: Some(response.into_body()),
        }
    }
}

/// Reads an answer's body to its end, so that its connection can be used again.
pub(super) struct Draining {
    pub(super) connection: Box<Connection>,
    pub(super) body: Incoming,
    /// Number of bytes that may still come.
    pub(super) len_left: usize,
    /// Start of the body.
    pub(super) kept: Vec<u8>,
}

impl Draining {
    /// Returns true if no more of the body is kept than is there.
    pub(super) fn has_start(&self) -> bool {
        self.kept.len() == Attempt::RESPONSE_BODY_LEN_MAX
    }

    fn keep(&mut self, data: &Bytes) -> usize {
        let room = Attempt::RESPONSE_BODY_LEN_MAX - self.kept.len();
        let some = data.get(..room.min(data.len())).unwrap_or_default();
        self.kept.extend_from_slice(some);
        data.len()
    }

    /// Reads what is there. Resolves to true once another message can be sent on the connection, to false if that will never
    /// be: the body proves too long, or breaks off.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        while !self.body.is_end_stream() {
            // Of a body that announces its excess only the start is read.
            if self.has_start() && self.body.size_hint().lower() > self.len_left as u64 {
                return Poll::Ready(false);
            }
            let mut frame = Pin::new(&mut self.body).poll_frame(context);
            if frame.is_pending() {
                self.connection.driver.drive(context);
                frame = Pin::new(&mut self.body).poll_frame(context);
            }
            let len = match frame {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| self.keep(data)),
            };
            match self.len_left.checked_sub(len) {
                Some(left) => self.len_left = left,
                None => return Poll::Ready(false),
            }
        }
        Poll::Ready(self.connection.check_ready(context))
    }
}
