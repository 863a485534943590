//! The loop that accepts connections.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nahook_supervision::{Exit, Supervisor};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::Phase;
use super::connection::{Connections, linger};
use super::forwarded::is_trusted;
use super::refusal::last_answer;
use super::stream::Listener;
use crate::ApiError;
use crate::metric::{self, Crowding};
use crate::room::Room;

/// Pause before the next accept when the system has no resources for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Refused connections that are told so at a time; further ones are closed at once.
const REFUSALS_MAX: usize = 32;
/// Upper bound on telling one.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Accepts connections and has them served, each by a task of its own.
pub(super) struct Acceptor {
    listener: Listener,
    connections: Connections,
    room: Arc<Room>,
    /// Held until a connection is closed: the table forgets one as soon as it has to close.
    permits: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
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
        listener: Listener,
        connections: Connections,
        connections_max: usize,
    ) -> Self {
        let share = connections.settings().connections_per_address_max;
        let closing = connections_max / 8 + 1;
        let permits = connections_max.saturating_add(closing);
        Self {
            listener,
            connections,
            room: Arc::new(Room::new(connections_max, share)),
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(closing.min(REFUSALS_MAX))),
        }
    }

    /// Runs the loop. Listener and connections outlive it, so it can be started again.
    pub(super) fn run(self: Arc<Self>, supervisor: &Supervisor) -> Accepting {
        let accept_loop = self.connections.settings().accept_loop;
        let accept = move || {
            let acceptor = Arc::clone(&self);
            async move { acceptor.accept().await }
        };
        Accepting(supervisor.spawn(accept_loop, accept))
    }

    async fn accept(&self) -> Exit {
        let mut phase = self.connections.phase();
        loop {
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => return Exit::Stopped,
                taken = self.take_in() => if taken.is_none() {
                    return Exit::failed("the permits of connections are gone");
                },
            }
        }
    }

    /// Accepts a connection and has it served.
    async fn take_in(&self) -> Option<()> {
        let (stream, peer, permit) = self.next().await?;
        if self.begin(stream, peer, permit) {
            // Those that were accepted before get to show what they ask before they make room for others.
            yield_now().await;
        }
        Some(())
    }

    /// Serves the connection, or tells it that there is no room. Returns true if there was little.
    fn begin(&self, stream: TcpStream, peer: IpAddr, permit: OwnedSemaphorePermit) -> bool {
        let settings = self.connections.settings();
        let shares = !is_trusted(&settings.trusted_proxies, peer);
        let handshake = self.listener.handshake.clone();
        if let Some(place) = self.room.table.admit(shares.then_some(peer)) {
            let has_displaced = place.has_displaced;
            let serving = self
                .connections
                .serve(stream, peer, handshake, &self.room, place);
            tokio::spawn(async move {
                serving.await;
                drop(permit);
            });
            return has_displaced;
        }
        metric::connection_refused();
        if let (None, Ok(turn)) = (handshake, Arc::clone(&self.refusals).try_acquire_owned()) {
            tokio::spawn(async move {
                let _ = timeout(REFUSAL_TIMEOUT, refuse(stream)).await;
                drop((permit, turn));
            });
        }
        true
    }

    /// The next connection, and its client's address.
    async fn next(&self) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let mut has_failed = false;
        loop {
            match self.listener.socket.accept().await {
                Ok((stream, peer)) => return Some((stream, peer.ip(), permit)),
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

async fn refuse(mut stream: TcpStream) {
    let answer = last_answer(&ApiError::crowded(Crowding::Connections));
    let _ = stream.write_all(&answer).await;
    linger(stream, REFUSAL_TIMEOUT).await;
}

/// Returns true if the error is about the connection that was being accepted, and says nothing about the next one.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
