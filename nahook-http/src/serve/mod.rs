//! Serving a router to clients that may be slow, silent, hostile or merely unlucky.
//!
//! HTTP/1.1 only: an offer to upgrade (`Upgrade: h2c`) is ignored, as RFC 9110 allows, and answered as HTTP/1.1.

mod connection;
mod paced;
mod settings;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::connection::Connections;
pub use self::settings::ServeSettings;

/// How long to wait before accepting again when the system has no resources for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` to whoever connects to `listener`, until `stop` resolves; then refuses new connections at once, closes
/// idle ones, and lets requests in flight finish within [`stop_timeout`](ServeSettings::stop_timeout).
///
/// # Cancellation
/// Dropping the future closes the listener and cuts every connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServeSettings,
    stop: impl Future<Output = ()> + Send,
) {
    let (stopping, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    {
        let connections = Connections::new(router, settings, stopped);
        tokio::pin!(stop);
        let permits = Arc::new(Semaphore::new(settings.connections_max));
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                (stream, permit) = next(&listener, &permits) => {
                    let serving = connections.serve(stream);
                    tasks.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    let _ = stopping.send(true);
    let finished = timeout(settings.stop_timeout, async {
        while tasks.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections are cut");
        tasks.shutdown().await;
    }
}

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error is about the connection that was being accepted, and says nothing about the next one.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
