//! Looking host names up.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Resolves host names to addresses. What it answers is not trusted: every address is judged by the
/// [`AddressPolicy`](crate::AddressPolicy) before it is dialled.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, a name and never a literal address, in the order to try them.
    /// Dropping the future gives the look-up up.
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// Resolves as the operating system does (`getaddrinfo`): hosts file, search domains and all.
///
/// At most 256 look-ups run at a time. Hosts whose last look-up took longer than a second share 64 of these, so that
/// dead name servers of some leave room for the others.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
    slow_lookups: Arc<Semaphore>,
    slow_hosts: Arc<Mutex<HashSet<String>>>,
}

impl SystemResolver {
    // `getaddrinfo` blocks a thread of the runtime's pool and cannot be cancelled: it runs on after
    // its attempt timed out. Without a bound, tenants with dead name servers would take the whole
    // pool (512 threads by default), and with it whatever else blocks there.
    const LOOKUPS_MAX: usize = 256;
    const SLOW_LOOKUPS_MAX: usize = 64;
    const SLOW_AFTER: Duration = Duration::from_secs(1);
    /// How many slow hosts are remembered; all are forgotten above, and found out again.
    const SLOW_HOSTS_MAX: usize = 10_000;

    /// A resolver with nothing to do yet.
    pub fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(Self::LOOKUPS_MAX)),
            slow_lookups: Arc::new(Semaphore::new(Self::SLOW_LOOKUPS_MAX)),
            slow_hosts: Arc::default(),
        }
    }

    fn slow_hosts(&self) -> MutexGuard<'_, HashSet<String>> {
        self.slow_hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers how long the look-up of `host` took.
    fn took(&self, host: &str, duration: Duration) {
        let mut slow = self.slow_hosts();
        if duration < Self::SLOW_AFTER {
            slow.remove(host);
        } else {
            if slow.len() >= Self::SLOW_HOSTS_MAX {
                slow.clear();
            }
            slow.insert(host.to_owned());
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
        let is_slow = self.slow_hosts().contains(host);
        // The narrow lane first: who waits there must hold no place in the wide one.
        let slow_turn = if is_slow {
            Some(turn(&self.slow_lookups).await?)
        } else {
            None
        };
        let turn = turn(&self.lookups).await?;
        let resolver = self.clone();
        let host = host.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let found = (host.as_str(), 0).to_socket_addrs();
            resolver.took(&host, begun.elapsed());
            // Held by the thread and not by the future: the turn lasts as long as the look-up.
            drop((turn, slow_turn));
            found.map(|sockets| sockets.map(|socket| socket.ip()).collect())
        });
        lookup.await.map_err(io::Error::other)?
    }
}

async fn turn(lookups: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    Arc::clone(lookups)
        .acquire_owned()
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slow_hosts_wait_for_one_another_and_for_nobody_else() {
        let resolver = SystemResolver::new();
        let slow = Duration::from_secs(9);
        resolver.took("localhost", slow);
        let taken = Arc::clone(&resolver.slow_lookups);
        let taken = taken.acquire_many(64).await.unwrap();
        let waiting = resolver.resolve("localhost");
        let waited = tokio::time::timeout(Duration::from_millis(50), waiting).await;
        assert!(waited.is_err(), "the slow hosts' lane is full");
        resolver.took("localhost", Duration::ZERO);
        assert!(
            resolver.resolve("localhost").await.is_ok(),
            "it is slow no more"
        );
        drop(taken);
        resolver.took("localhost", slow);
        assert!(resolver.resolve("localhost").await.is_ok());
        assert!(!resolver.slow_hosts().contains("localhost"));
    }

    #[test]
    fn what_is_remembered_of_slow_hosts_has_a_bound() {
        let resolver = SystemResolver::new();
        for host in 0..25_000 {
            resolver.took(&host.to_string(), Duration::from_secs(2));
        }
        assert!(resolver.slow_hosts().len() <= SystemResolver::SLOW_HOSTS_MAX);
    }

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
