//! Serving a router to clients that may be slow, silent, hostile or merely unlucky.
//!
//! HTTP/1.1 only: an offer to upgrade (`Upgrade: h2c`) is ignored, as RFC 9110 allows, and answered as HTTP/1.1.

mod accept;
mod connection;
mod forwarded;
mod host;
mod paced;
mod refusal;
mod settings;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::Extensions;
use nahook_supervision::Supervisor;
use tokio::sync::watch;
use tokio::time::timeout;

use self::accept::Acceptor;
use self::connection::Connections;
pub use self::settings::ServeSettings;
pub use self::stream::{Handshake, Listener, Secured, Securing};
use crate::room::Client;

/// Phase of the server's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Taking connections and requests.
    Serving,
    /// Closing idle connections and finishing requests.
    Stopping,
    /// Dropping connections, whatever is in flight.
    Cut,
}

/// Returns the address of the client that made the request, where [`serve`] has taken it: behind a trusted proxy the one that the proxy
/// names.
pub fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Client>().map(Client::address)
}

/// Serves `router` to whoever connects to `listener`, until `stop` resolves; then refuses new connections, closes idle ones,
/// and lets requests in flight finish within [`stop_timeout`](ServeSettings::stop_timeout).
///
/// `supervisor` runs the loop that accepts connections and starts it again should it end, on the same listener; the connections
/// that are open live on. Where room runs out, a new connection takes the place of another, see
/// [`connections_max`](ServeSettings::connections_max).
///
/// # Cancellation
/// Dropping the future closes the listener and cuts every connection.
///
/// # Panics
/// Panics outside of a tokio runtime, which needs I/O and time enabled.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    settings: ServeSettings,
    supervisor: Supervisor,
    stop: impl Future<Output = ()> + Send,
) {
    let connections_max = settings.connections_within(settings::files_max());
    if connections_max < settings.connections_max {
        tracing::info!(
            connections_max,
            "the limit of open files bounds the connections"
        );
    }
    let (phases, phase) = watch::channel(Phase::Serving);
    let stop_timeout = settings.stop_timeout;
    let connections = Connections::new(router, settings, phase);
    let acceptor = Acceptor::new(listener.into(), connections, connections_max);
    let acceptor = Arc::new(acceptor);
    let accepting = acceptor.run(&supervisor);
    stop.await;
    phases.send_replace(Phase::Stopping);
    accepting.ended().await;
    // Closed once nobody listens to the phases: the acceptor and all connections have ended.
    if timeout(stop_timeout, phases.closed()).await.is_err() {
        tracing::warn!("connections are cut");
        phases.send_replace(Phase::Cut);
        phases.closed().await;
    }
}
