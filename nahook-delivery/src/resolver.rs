//! Looking host names up.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Resolves host names to addresses. What it answers is not trusted: every address is judged by the
/// [`AddressPolicy`](crate::AddressPolicy) before it is dialled.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, a name and never a literal address, in the order to try them.
    /// Dropping the future gives the look-up up.
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// Resolves as the operating system does (`getaddrinfo`): hosts file, search domains and all.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    // `getaddrinfo` blocks a thread of the runtime's pool and cannot be cancelled: it runs on after
    // its attempt timed out. Without a bound, tenants with dead name servers would take the whole
    // pool (512 threads by default), and with it whatever else blocks there.
    const LOOKUPS_MAX: usize = 64;

    /// A resolver that makes at most 64 look-ups at a time; further ones wait their turn.
    pub fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(Self::LOOKUPS_MAX)),
        }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let turn = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let host = host.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            // Held by the thread and not by the future: the turn lasts as long as the look-up.
            drop(turn);
            found.map(|sockets| sockets.map(|socket| socket.ip()).collect())
        });
        lookup.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_resolves_to_loopback() {
        let found = SystemResolver::new().resolve("localhost").await.unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(IpAddr::is_loopback));
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_is_an_error() {
        assert!(
            SystemResolver::new()
                .resolve("no such name.invalid")
                .await
                .is_err()
        );
    }
}
