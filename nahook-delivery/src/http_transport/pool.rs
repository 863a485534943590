//! The connections that are kept for the next attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use crate::transport::Origin;

/// The connections that are idle.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    idle_timeout: Duration,
    per_origin_max: usize,
}

#[derive(Default)]
struct Idle {
    /// Those that were idle for longest come first.
    connections: HashMap<Origin, Vec<Kept>>,
    /// Somebody throws away what is idle for too long.
    is_swept: bool,
}

struct Kept {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration, per_origin_max: usize) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            idle_timeout,
            per_origin_max,
        })
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
            Some(others) if others.len() < self.per_origin_max => others.push(kept),
            None if self.per_origin_max > 0 => {
                idle.connections.insert(origin.clone(), vec![kept]);
            }
            _ => {
                drop(idle);
                return kept.connection.close();
            }
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
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
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    // Not more often than is of use, and often enough that what endpoints have closed does not pile up.
    let interval = idle_timeout.clamp(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        tokio::time::sleep(interval).await;
        let Some(pool) = pool.upgrade() else { return };
        let (over, is_any_left) = pool.sweep(Instant::now());
        // Outside of the lock.
        for kept in over {
            kept.connection.close();
        }
        if !is_any_left {
            return;
        }
    }
}
