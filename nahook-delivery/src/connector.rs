//! Connecting to an endpoint: resolve, judge, dial.

use std::io;
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
use crate::reach::Reach;
use crate::resolver::Resolver;
use crate::tls;
use crate::transport::{LocalCause, TimeoutPhase, TransportError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// A name may have any number of addresses, and each tried is a SYN sent on a tenant's word.
const ADDRESSES_TRIED_MAX: usize = 16;

/// Opens TCP connections to permitted addresses only. The policy judges what is dialled, in the
/// same breath: no name is resolved again between the check and the connection.
pub(crate) struct GuardedConnector<R> {
    pub(crate) resolver: Arc<R>,
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) reach: Arc<Reach>,
    /// To share between the addresses of a host, so that a silent one leaves time for the next.
    pub(crate) connect_timeout: Duration,
}

// By hand: a derived one would ask that the resolver be `Clone`.
impl<R> Clone for GuardedConnector<R> {
    fn clone(&self) -> Self {
        Self {
            resolver: Arc::clone(&self.resolver),
            policy: Arc::clone(&self.policy),
            reach: Arc::clone(&self.reach),
            connect_timeout: self.connect_timeout,
        }
    }
}

impl<R: Resolver> GuardedConnector<R> {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, TransportError> {
        let deadline = Instant::now() + self.connect_timeout;
        let permitted = self.permitted(&uri).await?;
        let mut failure = None;
        for (tried, socket) in (0u32..).zip(&permitted) {
            let others = u32::try_from(permitted.len()).unwrap_or(u32::MAX) - tried;
            let share = deadline.saturating_duration_since(Instant::now()) / others;
            let error = match timeout(share, TcpStream::connect(socket)).await {
                Ok(Ok(stream)) => {
                    self.reach.connected(socket.ip());
                    // A request is written at once; waiting to fill a segment only adds delay.
                    stream
                        .set_nodelay(true)
                        .map_err(|_| TransportError::Connect)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => self.judge(*socket, &error),
                Err(_) => TransportError::Timeout(TimeoutPhase::Connect),
            };
            match error {
                TransportError::Local(cause) if cause.is_certain() => return Err(error),
                // Another address may tell more.
                TransportError::Local(_) => failure = failure.or(Some(error)),
                error => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(TransportError::Connect))
    }

    /// Classifies the failure of connecting to `socket`.
    fn judge(&self, socket: SocketAddr, error: &io::Error) -> TransportError {
        tracing::debug!(?error, "not connected");
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.reach.connected(socket.ip());
        }
        let Some(cause) = LocalCause::of(error) else {
            return TransportError::Connect;
        };
        // Without a route for its family an address is out of reach for good, while others are not.
        let may_be_its_own =
            cause == LocalCause::Network || (cause == LocalCause::Ports && socket.is_ipv6());
        if may_be_its_own && self.reach.has_connected() {
            return TransportError::Connect;
        }
        TransportError::Local(cause)
    }

    /// Looks `host` up, and leaves a fifth of the time for connecting.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, TransportError> {
        let answer = timeout(self.connect_timeout * 4 / 5, self.resolver.resolve(host));
        let (error, failure) = match answer.await {
            Ok(Ok(found)) => {
                self.reach.resolved(&found);
                return Ok(found);
            }
            Ok(Err(error)) => (error, TransportError::Resolve),
            Err(elapsed) => (
                io::Error::new(io::ErrorKind::NetworkDown, elapsed),
                TransportError::Timeout(TimeoutPhase::Resolve),
            ),
        };
        tracing::debug!(host, %error, "name not resolved");
        match error.kind() {
            io::ErrorKind::NetworkDown if self.reach.has_resolved() => Err(failure),
            io::ErrorKind::NetworkDown => Err(TransportError::Local(LocalCause::Resolver)),
            io::ErrorKind::WouldBlock => Err(TransportError::Local(LocalCause::Threads)),
            _ => {
                if let Some(cause) = LocalCause::of(&error) {
                    return Err(TransportError::Local(cause));
                }
                self.reach.resolved(&[]);
                Err(failure)
            }
        }
    }

    /// The addresses to dial, never none.
    async fn permitted(&self, uri: &Uri) -> Result<Vec<SocketAddr>, TransportError> {
        let host = uri.host().ok_or(TransportError::InvalidUrl)?;
        let https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let found = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.resolve(host).await?,
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

/// Classifies an error: one that is not the guarded connector's own comes from the TLS layer above it.
fn classify(error: BoxError) -> TransportError {
    match error.downcast::<TransportError>() {
        Ok(own) => *own,
        Err(error) => {
            let fault = tls::fault(&*error);
            tracing::debug!(%error, ?fault, "TLS handshake failed");
            TransportError::Tls(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::resolver::SystemResolver;

    #[tokio::test]
    async fn address_out_of_reach_is_the_endpoints_fault_while_others_are_reached() {
        let connector = GuardedConnector {
            resolver: Arc::new(SystemResolver::new()),
            policy: Arc::default(),
            reach: Arc::default(),
            connect_timeout: Duration::from_secs(1),
        };
        let v4 = SocketAddr::from(([203, 0, 113, 1], 80));
        let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        let local = TransportError::Local;
        let judge = |socket, errno: Errno| connector.judge(socket, &errno.into());
        for socket in [v4, v6] {
            assert_eq!(judge(socket, Errno::NETUNREACH), local(LocalCause::Network));
            assert_eq!(judge(socket, Errno::ADDRNOTAVAIL), local(LocalCause::Ports));
        }
        // To be refused is to reach somebody.
        assert_eq!(judge(v4, Errno::CONNREFUSED), TransportError::Connect);
        for socket in [v4, v6] {
            assert_eq!(judge(socket, Errno::NETUNREACH), TransportError::Connect);
            assert_eq!(judge(socket, Errno::MFILE), local(LocalCause::Descriptors));
        }
        // Ports run out for one address while others are reached.
        assert_eq!(judge(v4, Errno::ADDRNOTAVAIL), local(LocalCause::Ports));
        assert_eq!(judge(v6, Errno::ADDRNOTAVAIL), TransportError::Connect);
    }
}
