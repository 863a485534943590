//! Sockets that the server listens on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures_util::future::OptionFuture;
use nahook_http::{Listener, Operations, ServeSettings};
use nahook_supervision::{Loop, Supervisor};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ServerError;
use crate::settings::{OperationsListen, Settings};
use crate::stop::{stopped, stopped_by};
use crate::tls::Tls;

/// Connections that the system keeps until they are accepted; its own limit may be lower. A wave of them must not make it drop
/// those of others, who would try again a second later.
const BACKLOG: u32 = 4_096;
/// Connections of the listener for health, readiness and metrics.
const OPERATIONS_CONNECTIONS_MAX: usize = 64;

/// The listener of clients, and that of those who ask for health, readiness and metrics.
pub(crate) struct Listeners {
    clients: TcpListener,
    operations: Option<TcpListener>,
    tls: Option<Arc<Tls>>,
    /// Address of the clients' listener.
    pub(crate) address: SocketAddr,
    /// URL that leads there.
    pub(crate) base_url: String,
}

impl Listeners {
    /// Listens, and reads the certificate if there is one.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, ServerError> {
        let clients = bind(settings.listen)?;
        let address = clients.local_addr()?;
        let operations = bind_operations(settings.operations_listen)?;
        let tls = match settings.tls.clone() {
            Some(files) => Some(Tls::read(files).await?),
            None => None,
        };
        warn_of_plain_text(settings, address);
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self {
            clients,
            operations,
            tls,
            address,
            base_url: format!("{scheme}://{address}"),
        })
    }

    /// Serves until `stop` says so.
    pub(crate) fn serve(
        self,
        router: Router,
        operations: Operations,
        settings: &Settings,
        supervisor: &Supervisor,
        stop: &watch::Sender<bool>,
    ) -> JoinHandle<()> {
        let mut clients = Listener::from(self.clients);
        if let Some(tls) = self.tls {
            let stopping = stop.subscribe();
            tls.keep_up(supervisor, move || Box::pin(stopped_by(stopping.clone())));
            clients = clients.secured_by(tls);
        }
        let chosen = ServeSettings {
            connections_max: settings.client_connections,
            trusted_proxies: settings.trusted_proxies.clone(),
            ..ServeSettings::default()
        };
        let serving =
            nahook_http::serve(clients, router, chosen, supervisor.clone(), stopped(stop));
        let operating = self.operations.map(|listener| {
            let router = nahook_http::with_fallbacks(nahook_http::operations_router(operations));
            let (chosen, stop) = (operations_settings(), stopped(stop));
            nahook_http::serve(listener, router, chosen, supervisor.clone(), stop)
        });
        tokio::spawn(async move {
            tokio::join!(serving, OptionFuture::from(operating));
        })
    }
}

/// Listens on `address`.
fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A port that a server has just left can be taken at once.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| ServerError::Listen { address, source })
}

/// Listens for those who ask for health, readiness and metrics. The default address may be taken, as by another server; a
/// chosen one may not.
fn bind_operations(chosen: OperationsListen) -> Result<Option<TcpListener>, ServerError> {
    let listener = match chosen {
        OperationsListen::Off => return Ok(None),
        OperationsListen::At(address) => bind(address)?,
        OperationsListen::IfFree => {
            let Ok(listener) = bind(OperationsListen::DEFAULT) else {
                tracing::warn!(
                    address = %OperationsListen::DEFAULT,
                    "the address for metrics is taken: set --operations-listen to have them"
                );
                return Ok(None);
            };
            listener
        }
    };
    let address = listener.local_addr()?;
    tracing::info!(%address, "health, readiness and metrics are served");
    Ok(Some(listener))
}

/// Bounds of the listener for health, readiness and metrics: nobody else's connections count there.
fn operations_settings() -> ServeSettings {
    ServeSettings {
        connections_max: OPERATIONS_CONNECTIONS_MAX,
        accept_loop: Loop::OperationsAccept,
        ..ServeSettings::default()
    }
}

/// Warns where keys and payloads would cross a network in plain text. A proxy that is named is expected to do better.
fn warn_of_plain_text(settings: &Settings, address: SocketAddr) {
    let is_behind_proxy = !settings.trusted_proxies.is_empty();
    if settings.tls.is_none() && !is_behind_proxy && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "requests are served without TLS beyond this machine: keys and payloads can be read on their way; set --tls-cert \
             and --tls-key, or name the reverse proxy by --trusted-proxy"
        );
    }
}
