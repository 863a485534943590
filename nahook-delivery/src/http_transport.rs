//! The transport over HTTP/1.1.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use crate::address::AddressPolicy;
use crate::connector::{GuardedConnector, TimedConnector};
use crate::resolver::{Resolver, SystemResolver};
use crate::tls;
use crate::transport::{
    OutboundRequest, OutboundResponse, RetryAfter, TimeoutPhase, Transport, TransportError,
};

/// The bounds of an attempt. The defaults are the contract's (section 3) where it names a number.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// For resolving, connecting and the TLS handshake together. Default 5 s; never more than
    /// `total_timeout`.
    pub connect_timeout: Duration,
    /// For the whole attempt, from the look-up to the end of the answer. Default 15 s.
    pub total_timeout: Duration,
    /// How many bytes of an answer's body are read before the connection is dropped. Default
    /// 16 KiB. The answer's head has the same bound, fixed.
    pub response_len_max: usize,
    /// How long an idle connection is kept for the next attempt to the same host. Default 4 s: many
    /// receivers close theirs after 5 s, and a close that crosses a request fails the attempt.
    pub idle_timeout: Duration,
    /// How many idle connections are kept per scheme, host and port. Default 512, as many as a worker uses at a time: fewer
    /// would be closed and opened again with every batch. 0 keeps none.
    pub idle_per_host_max: usize,
    /// Certificates (DER) trusted besides the system's, as for an operator's own authority.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            response_len_max: 16 * 1024,
            idle_timeout: Duration::from_secs(4),
            idle_per_host_max: 512,
            extra_roots: Vec::new(),
        }
    }
}

/// Why a transport could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportSetupError {
    /// TLS could not be configured, as by an extra root that is no certificate.
    #[error("TLS could not be configured")]
    Tls(#[from] rustls::Error),
}

/// hyper's default is 400 KiB of head; this is also the most it reads at a time of a body.
const RESPONSE_HEAD_LEN_MAX: usize = 16 * 1024;
const RESPONSE_HEADERS_MAX: usize = 100;

/// What the transport alone may say: where the request goes, how long it is, and what becomes of
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

type Connector<R> = TimedConnector<HttpsConnector<GuardedConnector<R>>>;

/// Posts over HTTP/1.1, with TLS for `https`, to addresses that the [`AddressPolicy`] permits.
///
/// Connections are kept and reused per scheme, host and port. One that the endpoint closed while it
/// was idle is replaced by a fresh one; only a close that crosses the request on the wire is
/// [`TransportError::Closed`], because the endpoint may have read it. Redirects are not followed, proxies of the environment are not used. Needs a tokio runtime with I/O and time.
pub struct HttpTransport<R = SystemResolver> {
    client: legacy::Client<Connector<R>, Full<Bytes>>,
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
}

impl<R: Resolver> HttpTransport<R> {
    /// A transport that looks names up through `resolver`; literal addresses never reach it.
    pub fn with_resolver(
        policy: AddressPolicy,
        settings: &TransportSettings,
        resolver: R,
    ) -> Result<Self, TransportSetupError> {
        // Otherwise running out of time while connecting could be taken for a silent endpoint.
        let connect_timeout = settings.connect_timeout.min(settings.total_timeout);
        let guarded = GuardedConnector {
            resolver: Arc::new(resolver),
            policy: Arc::new(policy),
            connect_timeout,
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(&settings.extra_roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(guarded);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.idle_per_host_max)
            .http1_max_buf_size(RESPONSE_HEAD_LEN_MAX)
            .http1_max_headers(RESPONSE_HEADERS_MAX)
            .retry_canceled_requests(true)
            .build(TimedConnector {
                connector,
                connect_timeout,
            });
        Ok(Self {
            client,
            total_timeout: settings.total_timeout,
            response_len_max: settings.response_len_max,
        })
    }
}

impl<R: Resolver> Transport for HttpTransport<R> {
    async fn post(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        let deadline = Instant::now() + self.total_timeout;
        let message = message(request);
        // Lets the runtime look at its sockets once. A close of an idle connection that has arrived
        // but was not yet noticed would else take the request with it: written, and never read.
        tokio::task::yield_now().await;
        let sending = self.client.request(message);
        let response = timeout_at(deadline, sending)
            .await
            .map_err(|_| TransportError::Timeout(TimeoutPhase::Answer))?
            .map_err(|error| classify(&error))?;
        let answer = OutboundResponse {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(RetryAfter::parse),
        };
        // The status has decided. The body is read only so that the connection can be used again,
        // hence neither its failure nor its slowness changes the answer.
        let draining = drain(response.into_body(), self.response_len_max);
        let _ = timeout_at(deadline, draining).await;
        Ok(answer)
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

fn message(request: OutboundRequest) -> Request<Full<Bytes>> {
    let mut headers = request.headers;
    for name in TRANSPORT_HEADERS {
        headers.remove(name);
    }
    let mut message = Request::new(Full::new(request.body));
    *message.method_mut() = Method::POST;
    *message.uri_mut() = request.url.as_uri().clone();
    *message.headers_mut() = headers;
    message
}

/// Reads to the end of the body, or until it proves longer than `len_max`. Dropping a body that is
/// not at its end closes its connection.
async fn drain(mut body: Incoming, len_max: usize) {
    let mut left = len_max;
    // A body that announces its excess is not begun.
    if body.size_hint().lower() > u64::try_from(left).unwrap_or(u64::MAX) {
        return;
    }
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(len) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn classify(error: &legacy::Error) -> TransportError {
    let source = error.source();
    if let Some(connecting) = source.and_then(|source| source.downcast_ref::<TransportError>()) {
        return *connecting;
    }
    tracing::debug!(?error, "no answer");
    match source.and_then(|source| source.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_parse() => TransportError::Protocol,
        _ => TransportError::Closed,
    }
}

#[cfg(test)]
mod tests;
