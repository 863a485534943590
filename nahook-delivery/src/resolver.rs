//! Looking host names up.

mod look_up;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use self::look_up::{Found, look_up};

/// Resolves host names to addresses. What it answers is not trusted: every address is judged by the
/// [`AddressPolicy`](crate::AddressPolicy) before it is dialled.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, a name and never a literal address, in the order to try them.
    /// Dropping the future gives the look-up up.
    ///
    /// # Errors
    /// One of the kind [`NetworkDown`](io::ErrorKind::NetworkDown) says that no name server could be asked, which may be this
    /// machine's fault; one of the kind [`WouldBlock`](io::ErrorKind::WouldBlock) that no thread could be started.
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// Resolves as the operating system does (`getaddrinfo`): hosts file, search domains and all.
///
/// A look-up blocks a thread of its own and cannot be cancelled, so it runs on after its attempt has timed out; no runtime
/// waits for it. At most 256 look-ups run at a time, one for each host. Hosts whose last look-up took longer than a second
/// share 64 of these, so that dead name servers of some leave room for the others.
#[derive(Clone)]
pub struct SystemResolver {
    shared: Arc<Shared>,
}

struct Shared {
    look_up: fn(&str) -> Found,
    lookups: Arc<Semaphore>,
    slow_lookups: Arc<Semaphore>,
    slow_hosts: Mutex<HashSet<String>>,
    under_way: Mutex<HashMap<String, watch::Receiver<Option<Found>>>>,
}

impl SystemResolver {
    const LOOKUPS_MAX: usize = 256;
    const SLOW_LOOKUPS_MAX: usize = 64;
    const SLOW_AFTER: Duration = Duration::from_secs(1);
    /// Number of slow hosts remembered; above it all are forgotten and found out again.
    const SLOW_HOSTS_MAX: usize = 10_000;

    /// A resolver with nothing to do yet.
    pub fn new() -> Self {
        Self::over(look_up)
    }

    fn over(look_up: fn(&str) -> Found) -> Self {
        Self {
            shared: Arc::new(Shared {
                look_up,
                lookups: Arc::new(Semaphore::new(Self::LOOKUPS_MAX)),
                slow_lookups: Arc::new(Semaphore::new(Self::SLOW_LOOKUPS_MAX)),
                slow_hosts: Mutex::default(),
                under_way: Mutex::default(),
            }),
        }
    }

    /// Joins the look-up of `host` that is under way, or begins one.
    async fn join(&self, host: &str) -> io::Result<watch::Receiver<Option<Found>>> {
        let (lookup, receiver) = {
            let mut under_way = lock(&self.shared.under_way);
            if let Some(receiver) = under_way.get(host) {
                return Ok(receiver.clone());
            }
            let (sender, receiver) = watch::channel(None);
            under_way.insert(host.to_owned(), receiver.clone());
            let shared = Arc::clone(&self.shared);
            let host = host.to_owned();
            (
                Lookup {
                    shared,
                    host,
                    sender,
                },
                receiver,
            )
        };
        // The narrow lane first: who waits there must hold no place in the wide one.
        let slow_turn = if lock(&self.shared.slow_hosts).contains(host) {
            Some(turn(&self.shared.slow_lookups).await?)
        } else {
            None
        };
        let turn = turn(&self.shared.lookups).await?;
        thread::Builder::new()
            .name("nahook-resolver".to_owned())
            .spawn(move || {
                let begun = Instant::now();
                let found = (lookup.shared.look_up)(&lookup.host);
                lookup.shared.took(&lookup.host, begun.elapsed());
                // Held by the thread and not by the future: the turns last as long as the look-up.
                drop((turn, slow_turn));
                lookup.end(found);
            })?;
        Ok(receiver)
    }
}

impl Shared {
    /// Remembers how long the look-up of `host` took, or has taken so far.
    fn took(&self, host: &str, duration: Duration) {
        let mut slow = lock(&self.slow_hosts);
        if duration < SystemResolver::SLOW_AFTER {
            slow.remove(host);
        } else {
            if slow.len() >= SystemResolver::SLOW_HOSTS_MAX {
                slow.clear();
            }
            slow.insert(host.to_owned());
        }
    }
}

/// A look-up that others may join. Dropped without an answer, it makes them begin another.
struct Lookup {
    shared: Arc<Shared>,
    host: String,
    sender: watch::Sender<Option<Found>>,
}

impl Lookup {
    /// Answers those who have joined; who comes now begins another.
    fn end(self, found: Found) {
        let sender = self.sender.clone();
        drop(self);
        sender.send_replace(Some(found));
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        lock(&self.shared.under_way).remove(&self.host);
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        loop {
            let mut receiver = self.join(host).await?;
            let mut answer = pin!(answer_of(&mut receiver));
            let answered = if let Ok(answered) = timeout(Self::SLOW_AFTER, &mut answer).await {
                answered
            } else {
                self.shared.took(host, Self::SLOW_AFTER);
                answer.await
            };
            if let Some(found) = answered {
                return found.map_err(io::Error::from);
            }
        }
    }
}

/// `None` if whoever had begun the look-up gave up before it had its turn.
async fn answer_of(receiver: &mut watch::Receiver<Option<Found>>) -> Option<Found> {
    let answer = receiver.wait_for(Option::is_some).await.ok()?;
    (*answer).clone()
}

async fn turn(lookups: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    let turn = Arc::clone(lookups).acquire_owned().await;
    turn.map_err(io::Error::other)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
