//! Connections to endpoints: driven by the attempt that uses them, and kept for the next one.
//!
//! A connection has no task of its own. What arrives on it wakes the attempt that waits for it and nobody else, which spares
//! each attempt two changes of task. The price: nobody watches a connection while it is idle, so that a close by the endpoint
//! is noticed when the connection is taken up again, or thrown away with others that were idle for too long.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::transport::Origin;

/// hyper's default is 400 KiB of head; this is also the most it reads at a time of a body.
const RESPONSE_HEAD_LEN_MAX: usize = 16 * 1024;
const RESPONSE_HEADERS_MAX: usize = 100;

/// What is sent.
pub(super) type Message = Request<Full<Bytes>>;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// One connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

struct Driver {
    /// `None` once it has ended.
    connection: Option<http1::Connection<Stream, Full<Bytes>>>,
}

impl Driver {
    /// Writes and reads what can be. What comes of it, errors too, is told through the sender and the answer's body.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(context).is_ready()
        {
            self.connection = None;
        }
    }
}

impl Connection {
    pub(super) async fn start(stream: Stream) -> hyper::Result<Box<Self>> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(RESPONSE_HEAD_LEN_MAX)
            .max_headers(RESPONSE_HEADERS_MAX)
            .handshake(stream)
            .await?;
        let driver = Driver {
            connection: Some(connection),
        };
        Ok(Box::new(Self { sender, driver }))
    }

    /// Ends it as TLS wants it ended, as far as that needs no waiting: dropped, it would look cut off to the endpoint.
    pub(super) fn close(self) {
        let Self { sender, mut driver } = self;
        drop(sender);
        driver.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether another message can be sent, as far as is known here.
    pub(super) async fn is_ready(&mut self) -> bool {
        std::future::poll_fn(|context| {
            self.driver.drive(context);
            Poll::Ready(self.driver.connection.is_some() && self.sender.is_ready())
        })
        .await
    }

    /// Sends a message and waits for the head of the answer. An error has the message if none of it was sent.
    pub(super) async fn send(
        &mut self,
        message: Message,
    ) -> Result<Response<Incoming>, TrySendError<Message>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(message));
        std::future::poll_fn(|context| {
            self.driver.drive(context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Reads to the end of the body, unless it proves longer than `len_max`. Answers whether the end was reached.
    pub(super) async fn drain(&mut self, mut body: Incoming, len_max: usize) -> bool {
        let mut left = len_max;
        // A body that announces its excess is not begun.
        if body.size_hint().lower() > u64::try_from(left).unwrap_or(u64::MAX) {
            return false;
        }
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|context| {
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(context) {
                    return Poll::Ready(frame);
                }
                self.driver.drive(context);
                Pin::new(&mut body).poll_frame(context)
            });
            let frame = match frame.await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => frame,
            };
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    }
}

/// The connections that are idle.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    idle_timeout: Duration,
    per_origin_max: usize,
}

#[derive(Default)]
struct Idle {
    /// Those that were idle for longest come first.
    connections: HashMap<Origin, Vec<Kept>>,
    /// Somebody throws away what is idle for too long.
    is_swept: bool,
}

struct Kept {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration, per_origin_max: usize) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            idle_timeout,
            per_origin_max,
        })
    }

    /// Nothing panics while holding it, so a poisoned lock is as good as any.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `origin` that was used last, unless that is too long ago.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Connection>> {
        let kept = {
            let mut idle = self.idle();
            idle.connections.get_mut(origin)?.pop()?
        };
        if Instant::now() < kept.since + self.idle_timeout {
            return Some(kept.connection);
        }
        kept.connection.close();
        None
    }

    /// Keeps a connection on which another message can be sent, if there is room.
    pub(super) fn put(self: &Arc<Self>, origin: &Origin, connection: Box<Connection>) {
        let since = Instant::now();
        let kept = Kept { connection, since };
        let mut idle = self.idle();
        match idle.connections.get_mut(origin) {
            Some(others) if others.len() < self.per_origin_max => others.push(kept),
            None if self.per_origin_max > 0 => {
                idle.connections.insert(origin.clone(), vec![kept]);
            }
            _ => {
                drop(idle);
                return kept.connection.close();
            }
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }

    /// Takes out what is idle for too long. Answers whether anything is left.
    fn sweep(&self, now: Instant) -> (Vec<Kept>, bool) {
        let mut over = Vec::new();
        let mut idle = self.idle();
        idle.connections.retain(|_, kept| {
            let count = kept.partition_point(|kept| now >= kept.since + self.idle_timeout);
            over.extend(kept.drain(..count));
            !kept.is_empty()
        });
        idle.is_swept = !idle.connections.is_empty();
        (over, idle.is_swept)
    }
}

/// Throws away what is idle for too long, until nothing is idle.
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    // Not more often than is of use, and often enough that what endpoints have closed does not pile up.
    let interval = idle_timeout.clamp(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        tokio::time::sleep(interval).await;
        let Some(pool) = pool.upgrade() else { return };
        let (over, is_any_left) = pool.sweep(Instant::now());
        // Outside of the lock.
        for kept in over {
            kept.connection.close();
        }
        if !is_any_left {
            return;
        }
    }
}
