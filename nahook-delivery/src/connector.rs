//! Connecting to an endpoint: resolve, judge, dial.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::address::AddressPolicy;
use crate::resolver::Resolver;
use crate::transport::{TimeoutPhase, TransportError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// A name may have any number of addresses, and each tried is a SYN sent on a tenant's word.
const ADDRESSES_TRIED_MAX: usize = 16;

/// Opens TCP connections to permitted addresses only. The policy judges what is dialled, in the
/// same breath: no name is resolved again between the check and the connection.
pub(crate) struct GuardedConnector<R> {
    pub(crate) resolver: Arc<R>,
    pub(crate) policy: Arc<AddressPolicy>,
    /// To share between the addresses of a host, so that a silent one leaves time for the next.
    pub(crate) connect_timeout: Duration,
}

// By hand: a derived one would ask that the resolver be `Clone`.
impl<R> Clone for GuardedConnector<R> {
    fn clone(&self) -> Self {
        Self {
            resolver: Arc::clone(&self.resolver),
            policy: Arc::clone(&self.policy),
            connect_timeout: self.connect_timeout,
        }
    }
}

impl<R: Resolver> GuardedConnector<R> {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, TransportError> {
        let deadline = Instant::now() + self.connect_timeout;
        let permitted = self.permitted(&uri).await?;
        let mut failure = TransportError::Connect;
        for (tried, socket) in (0u32..).zip(&permitted) {
            let others = u32::try_from(permitted.len()).unwrap_or(u32::MAX) - tried;
            let share = deadline.saturating_duration_since(Instant::now()) / others;
            failure = match timeout(share, TcpStream::connect(socket)).await {
                Ok(Ok(stream)) => {
                    // A request is written at once; waiting to fill a segment only adds delay.
                    stream
                        .set_nodelay(true)
                        .map_err(|_| TransportError::Connect)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(_)) => TransportError::Connect,
                Err(_) => TransportError::Timeout(TimeoutPhase::Connect),
            };
        }
        Err(failure)
    }

    /// The addresses to dial, never none.
    async fn permitted(&self, uri: &Uri) -> Result<Vec<SocketAddr>, TransportError> {
        let host = uri.host().ok_or(TransportError::InvalidUrl)?;
        let https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let found = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.resolver.resolve(host).await.map_err(|error| {
                tracing::debug!(host, %error, "name not resolved");
                TransportError::Resolve
            })?,
        };
        if found.is_empty() {
            return Err(TransportError::Resolve);
        }
        // Canonical, so that what is dialled is what was judged, to the letter.
        let sockets = found
            .iter()
            .map(|ip| SocketAddr::new(ip.to_canonical(), port));
        let permitted = sockets
            .filter(|socket| self.policy.permits(*socket))
            .take(ADDRESSES_TRIED_MAX)
            .collect::<Vec<_>>();
        if permitted.is_empty() {
            tracing::debug!(host, "no permitted address");
            return Err(TransportError::RefusedAddress);
        }
        Ok(permitted)
    }
}

impl<R: Resolver> Service<Uri> for GuardedConnector<R> {
    type Response = TokioIo<TcpStream>;
    type Error = TransportError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Puts one time-out around all of connecting, the TLS handshake included, and tells its errors
/// apart.
#[derive(Clone)]
pub(crate) struct TimedConnector<C> {
    pub(crate) connector: C,
    pub(crate) connect_timeout: Duration,
}

impl<C> Service<Uri> for TimedConnector<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = TransportError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context).map_err(classify)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.connect_timeout, self.connector.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map_err(classify),
                Err(_) => Err(TransportError::Timeout(TimeoutPhase::Connect)),
            }
        })
    }
}

/// What is not the guarded connector's own error arose in the TLS layer above it.
fn classify(error: BoxError) -> TransportError {
    match error.downcast::<TransportError>() {
        Ok(own) => *own,
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            TransportError::Tls
        }
    }
}
