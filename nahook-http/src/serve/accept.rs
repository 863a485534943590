//! The loop that accepts connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Phase;
use super::connection::Connections;
use crate::metric;

/// Pause before the next accept when the system has no resources for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and has them served, each by a task of its own.
pub(super) struct Acceptor {
    listener: TcpListener,
    connections: Connections,
    permits: Arc<Semaphore>,
}

/// The running loop, which ends when this is dropped.
pub(super) struct Accepting(JoinHandle<()>);

impl Accepting {
    /// Waits until the loop has ended, which it does when the server stops.
    pub(super) async fn ended(mut self) {
        let _ = (&mut self.0).await;
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Acceptor {
    pub(super) fn new(
        listener: TcpListener,
        connections: Connections,
        connections_max: usize,
    ) -> Self {
        Self {
            listener,
            connections,
            permits: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Runs the loop. Listener and connections outlive it, so it can be started again.
    pub(super) fn run(self: Arc<Self>, supervisor: &Supervisor) -> Accepting {
        let accept = move || {
            let acceptor = Arc::clone(&self);
            async move { acceptor.accept().await }
        };
        Accepting(supervisor.spawn(Loop::HttpAccept, accept))
    }

    async fn accept(&self) -> Exit {
        let mut phase = self.connections.phase();
        loop {
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => return Exit::Stopped,
                next = self.next() => match next {
                    Some((stream, permit)) => {
                        tokio::spawn(self.connections.serve(stream, permit));
                    }
                    None => return Exit::failed("the permits of connections are gone"),
                },
            }
        }
    }

    /// The next connection, once there is room for it.
    async fn next(&self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let mut has_failed = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    metric::accept_failed();
                    // Once, and not twenty times a second for as long as it lasts.
                    if !has_failed {
                        tracing::error!(%error, "no connection can be accepted; trying on");
                    }
                    has_failed = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Returns true if the error is about the connection that was being accepted, and says nothing about the next one.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
