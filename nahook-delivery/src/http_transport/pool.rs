//! The connections that are kept alive for the next attempt.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::TransportSettings;
use super::connection::{Connection, Place};
use crate::transport::{LocalCause, Origin, TransportError};

/// The connections that are idle, and how many there may be at all.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    idle_timeout: Duration,
    per_origin_max: usize,
    places: Arc<Semaphore>,
    /// Number of attempts that wait for a place.
    waiting: AtomicUsize,
    supervisor: Supervisor,
}

#[derive(Default)]
struct Idle {
    /// Those that were idle for longest come first.
    connections: HashMap<Origin, Vec<Kept>>,
    /// A sweep throws away what is idle for too long …
    is_swept: bool,
    /// … unless its runtime has ended.
    sweep: Option<JoinHandle<()>>,
}

struct Kept {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(settings: &TransportSettings) -> Arc<Self> {
        let places = settings.connections_max.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            idle: Mutex::default(),
            idle_timeout: settings.idle_timeout,
            per_origin_max: settings.idle_per_host_max,
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            supervisor: settings.supervisor.clone(),
        })
    }

    /// A place for a new connection: a free one, an idle connection's, or the next one that becomes free within `patience`.
    pub(super) async fn place(&self, patience: Duration) -> Result<Place, TransportError> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Ok(place);
            }
            match self.take_oldest() {
                Some(connection) => connection.close(),
                None => break,
            }
        }
        let _waiting = Waiting::begin(&self.waiting);
        let place = timeout(patience, Arc::clone(&self.places).acquire_owned()).await;
        let none = TransportError::Local(LocalCause::Connections);
        place.map_err(|_| none)?.map_err(|_| none)
    }

    /// Returns true if attempts wait for a place, so that none is to be spent on what is idle.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The connection that has been idle for longest.
    fn take_oldest(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle();
        let kept = idle.connections.values_mut();
        let oldest = kept
            .filter(|kept| !kept.is_empty())
            .min_by_key(|kept| kept.first().map(|kept| kept.since))?;
        Some(oldest.remove(0).connection)
    }

    /// Nothing panics while holding it, so a poisoned lock is as good as any.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `origin` that was used last, unless that is too long ago.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Connection>> {
        let kept = {
            let mut idle = self.idle();
            idle.connections.get_mut(origin)?.pop()?
        };
        if Instant::now() < kept.since + self.idle_timeout {
            return Some(kept.connection);
        }
        kept.connection.close();
        None
    }

    /// Keeps a connection on which another message can be sent, if there is room.
    pub(super) fn put(self: &Arc<Self>, origin: &Origin, connection: Box<Connection>) {
        let since = Instant::now();
        let kept = Kept { connection, since };
        let mut idle = self.idle();
        match idle.connections.get_mut(origin) {
            _ if self.is_full() => {
                drop(idle);
                return kept.connection.close();
            }
            Some(others) if others.len() < self.per_origin_max => others.push(kept),
            None if self.per_origin_max > 0 => {
                idle.connections.insert(origin.clone(), vec![kept]);
            }
            _ => {
                drop(idle);
                return kept.connection.close();
            }
        }
        let is_swept = idle.is_swept
            && idle
                .sweep
                .as_ref()
                .is_some_and(|sweep| !sweep.is_finished());
        if !is_swept {
            idle.is_swept = true;
            let (pool, idle_timeout) = (Arc::downgrade(self), self.idle_timeout);
            let sweeping = move || sweep(Weak::clone(&pool), idle_timeout);
            idle.sweep = Some(self.supervisor.spawn(Loop::ConnectionSweep, sweeping));
        }
    }

    /// Returns true if a connection to `origin` is idle.
    #[cfg(test)]
    pub(super) fn has_idle(&self, origin: &Origin) -> bool {
        let idle = self.idle();
        let kept = idle.connections.get(origin);
        kept.is_some_and(|kept| !kept.is_empty())
    }

    /// Takes out what is idle for too long. Answers whether anything is left.
    fn sweep(&self, now: Instant) -> (Vec<Kept>, bool) {
        let mut over = Vec::new();
        let mut idle = self.idle();
        idle.connections.retain(|_, kept| {
            let count = kept.partition_point(|kept| now >= kept.since + self.idle_timeout);
            over.extend(kept.drain(..count));
            !kept.is_empty()
        });
        idle.is_swept = !idle.connections.is_empty();
        (over, idle.is_swept)
    }
}

/// Throws away what is idle for too long, until nothing is idle.
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) -> Exit {
    // Not more often than is of use, and often enough that what endpoints have closed does not pile up.
    let interval = idle_timeout.clamp(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        tokio::time::sleep(interval).await;
        let Some(pool) = pool.upgrade() else {
            return Exit::Stopped;
        };
        let (over, is_any_left) = pool.sweep(Instant::now());
        // Outside of the lock.
        for kept in over {
            kept.connection.close();
        }
        if !is_any_left {
            return Exit::Stopped;
        }
    }
}

/// Counts as waiting until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
