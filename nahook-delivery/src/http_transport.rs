//! The transport over HTTP/1.1.

mod answer;
mod connection;
mod pool;
mod recording;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use nahook_supervision::Supervisor;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service as _;

use self::connection::{Answer, Connection, Draining, Message, SendError};
use self::pool::Pool;
use crate::address::AddressPolicy;
use crate::connector::{GuardedConnector, TimedConnector};
use crate::resolver::{Resolver, SystemResolver};
use crate::tls::{self, TransportSetupError};
use crate::transport::{
    OutboundRequest, OutboundResponse, OutboundUrl, TimeoutPhase, Transport, TransportError,
};

/// The bounds of an attempt. The defaults are the contract's (section 3) where it names a number.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// For resolving, connecting and the TLS handshake together. Default 5 s; never more than
    /// `total_timeout`.
    pub connect_timeout: Duration,
    /// For the whole attempt, from the look-up to the end of the answer's head. Default 15 s.
    pub total_timeout: Duration,
    /// Bytes of an answer's body that are read, for a second at most, so that the connection can be used again;
    /// with more to come it is closed. Default 16 KiB. The head alone is the answer: the attempt does not wait for this.
    pub response_len_max: usize,
    /// Time for which an idle connection is kept for the next attempt to the same host. Default 4 s: many
    /// receivers close theirs after 5 s, and a close that crosses a request fails the attempt.
    pub idle_timeout: Duration,
    /// Number of idle connections kept per scheme, host and port. Default 768, as many as a worker uses at a time: fewer
    /// would be closed and opened again with every batch. 0 keeps none.
    pub idle_per_host_max: usize,
    /// Upper bound on open connections, idle ones included; those make room for new ones. Default 896: more than a
    /// worker uses, and less than the 1,024 files that a process may often have open. An attempt that finds no room is not
    /// made, which is no failure of its endpoint.
    pub connections_max: usize,
    /// Certificates (DER) trusted besides the system's, as for an operator's own authority.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Runs the loop that closes idle connections. Default: one of its own.
    pub supervisor: Supervisor,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            response_len_max: 16 * 1024,
            idle_timeout: Duration::from_secs(4),
            idle_per_host_max: 768,
            connections_max: 896,
            extra_roots: Vec::new(),
            supervisor: Supervisor::new(),
        }
    }
}

/// Headers that only the transport may set: where the request goes, how long it is, and what becomes of
/// the connection. From a tenant's own headers these would smuggle a second request.
const TRANSPORT_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// Time for which the attempt waits for the start of the body that explains a refusal and comes behind the head.
const BODY_PATIENCE: Duration = Duration::from_millis(10);

/// Time for a body to end, after which its connection is closed instead of used again.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

type Connector<R> = TimedConnector<HttpsConnector<GuardedConnector<R>>>;

/// Posts over HTTP/1.1, with TLS for `https`, to addresses that the [`AddressPolicy`] permits.
///
/// Connections are kept and reused per scheme, host and port. One that the endpoint closed while it
/// was idle is replaced by a fresh one; only a close that crosses the request on the wire is
/// [`TransportError::Closed`], because the endpoint may have read it. Redirects are not followed, proxies of the environment are not used. Needs a tokio runtime with I/O and time.
pub struct HttpTransport<R = SystemResolver> {
    connector: Connector<R>,
    pool: Arc<Pool>,
    #[cfg(test)]
    reach: Arc<crate::reach::Reach>,
    connect_timeout: Duration,
    total_timeout: Duration,
    response_len_max: usize,
}

impl HttpTransport {
    /// A transport that resolves as the operating system does. Reads the system's certificates,
    /// from files and blocking, once.
    pub fn new(
        policy: AddressPolicy,
        settings: &TransportSettings,
    ) -> Result<Self, TransportSetupError> {
        Self::with_resolver(policy, settings, SystemResolver::new())
    }

    /// [`new`](Self::new) where the system's certificates have been read before, by
    /// [`client_config`](crate::tls::client_config): that takes some ten milliseconds, which a server that starts can spend on
    /// something else meanwhile. The settings' `extra_roots` are not looked at.
    pub fn with_tls(
        policy: AddressPolicy,
        settings: &TransportSettings,
        tls: ClientConfig,
    ) -> Self {
        Self::build(policy, settings, SystemResolver::new(), tls)
    }
}

impl<R: Resolver> HttpTransport<R> {
    /// A transport that looks names up through `resolver`; literal addresses never reach it.
    pub fn with_resolver(
        policy: AddressPolicy,
        settings: &TransportSettings,
        resolver: R,
    ) -> Result<Self, TransportSetupError> {
        let tls = tls::client_config(&settings.extra_roots)?;
        Ok(Self::build(policy, settings, resolver, tls))
    }

    fn build(
        policy: AddressPolicy,
        settings: &TransportSettings,
        resolver: R,
        tls: ClientConfig,
    ) -> Self {
        // Otherwise running out of time while connecting could be taken for a silent endpoint.
        let connect_timeout = settings.connect_timeout.min(settings.total_timeout);
        let reach = Arc::default();
        let guarded = GuardedConnector {
            resolver: Arc::new(resolver),
            policy: Arc::new(policy),
            reach: Arc::clone(&reach),
            connect_timeout,
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(guarded);
        let connector = TimedConnector {
            connector,
            connect_timeout,
        };
        Self {
            connector,
            pool: Pool::new(settings),
            #[cfg(test)]
            reach,
            connect_timeout,
            total_timeout: settings.total_timeout,
            response_len_max: settings.response_len_max,
        }
    }
}

impl<R: Resolver> Transport for HttpTransport<R> {
    async fn post(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        let deadline = Instant::now() + self.total_timeout;
        let url = request.url.clone();
        let asking = self.ask(&url, message(request));
        let (connection, answer) = timeout_at(deadline, asking)
            .await
            .unwrap_or(Err(TransportError::Timeout(TimeoutPhase::Answer)))?;
        let mut response = answer.response;
        match answer.body {
            Some(body) => {
                let wait = if (200..300).contains(&response.status) {
                    Duration::ZERO
                } else {
                    BODY_PATIENCE
                };
                response.body = self.set_aside(&url, connection, body, wait).await;
            }
            None => connection.close(),
        }
        Ok(response)
    }
}

impl<R: Resolver> HttpTransport<R> {
    /// Sends the message, on a connection that is there or on a new one, and waits for the answer's head.
    async fn ask(
        &self,
        url: &OutboundUrl,
        mut message: Message,
    ) -> Result<(Box<Connection>, Answer), TransportError> {
        let mut tried = 0_u32;
        while let Some(mut connection) = self.pool.take(url.origin()) {
            // Lets the runtime look at its sockets. A close that has arrived but was not yet noticed
            // would else take the message with it: written, and never read. Once is enough for many,
            // as where an endpoint was started anew; but a task may only look so often in one go.
            if tried.is_multiple_of(16) {
                tokio::task::yield_now().await;
            }
            tried += 1;
            if !connection.is_ready().await {
                continue;
            }
            match connection.send(message).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(SendError::Unsent(unsent, _)) => message = unsent,
                Err(SendError::Failed(error)) => return Err(error),
            }
        }
        // Rare, and large: out of line.
        let mut connection = Box::pin(self.connect(url)).await?;
        match connection.send(message).await {
            Ok(answer) => Ok((connection, answer)),
            Err(SendError::Unsent(_, error) | SendError::Failed(error)) => Err(error),
        }
    }

    /// Reads the body to its end, within bounds, so that the connection can be used again. The head has decided: whatever comes
    /// of this changes nothing. Returns the start of the body, as far as it comes within `wait`.
    async fn set_aside(
        &self,
        url: &OutboundUrl,
        connection: Box<Connection>,
        body: Incoming,
        wait: Duration,
    ) -> Bytes {
        let mut draining = Draining {
            connection,
            body,
            len_left: self.response_len_max,
            kept: Vec::new(),
        };
        // Mostly it has come with the head.
        let mut drained = draining.poll(&mut Context::from_waker(Waker::noop()));
        if drained.is_pending() && !draining.has_start() && !wait.is_zero() {
            let start = poll_fn(|cx| match draining.poll(cx) {
                Poll::Pending if draining.has_start() => Poll::Ready(Poll::Pending),
                drained => drained.map(Poll::Ready),
            });
            drained = timeout(wait, start).await.unwrap_or(Poll::Pending);
        }
        let start = Bytes::from(std::mem::take(&mut draining.kept));
        match drained {
            Poll::Ready(true) => self.pool.put(url.origin(), draining.connection),
            Poll::Ready(false) => draining.connection.close(),
            Poll::Pending if self.pool.is_full() => draining.connection.close(),
            Poll::Pending => {
                let (pool, url) = (Arc::clone(&self.pool), url.clone());
                tokio::spawn(async move {
                    let drained = timeout(DRAIN_TIMEOUT, poll_fn(|cx| draining.poll(cx))).await;
                    if drained == Ok(true) {
                        pool.put(url.origin(), draining.connection);
                    } else {
                        draining.connection.close();
                    }
                });
            }
        }
        start
    }

    async fn connect(&self, url: &OutboundUrl) -> Result<Box<Connection>, TransportError> {
        let place = self.pool.place(self.connect_timeout).await?;
        let stream = self.connector.clone().call(url.as_uri().clone()).await?;
        let connecting = Connection::start(stream, place).await;
        connecting.map_err(|_| TransportError::Closed)
    }
}

impl<R> fmt::Debug for HttpTransport<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("total_timeout", &self.total_timeout)
            .field("response_len_max", &self.response_len_max)
            .finish_non_exhaustive()
    }
}

fn message(request: OutboundRequest) -> Message {
    let mut headers = request.headers;
    for name in TRANSPORT_HEADERS {
        headers.remove(name);
    }
    headers.insert(header::HOST, request.url.host().clone());
    let mut message = Request::new(Full::new(request.body));
    *message.method_mut() = Method::POST;
    *message.uri_mut() = request.url.path().clone();
    *message.headers_mut() = headers;
    message
}

#[cfg(test)]
mod tests;
