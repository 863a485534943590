//! The rate limiter: the generic cell rate algorithm at two levels.

mod arithmetic;
mod arrivals;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use self::arrivals::{Arrivals, Shard};
use crate::admission::{Allowance, Caller, Grant, Rate, Verdict};
use crate::id::{ApiKeyId, WorkspaceId};
use crate::{Clock, RateLimiter, StoreError, Timestamp};

/// Limits callers in this process's memory, by the rates of their plans.
///
/// * A workspace and its key are charged together or not at all, whatever else runs at the same time.
/// * Rates come with each check, so a changed plan counts from the next one. A caller that owes more than its new rate's
///   whole burst owes exactly that burst.
/// * A clock that is set back costs a caller its burst at worst: a token is there after one interval, and none is
///   gained.
/// * Callers of different workspaces rarely wait for one another. A caller that has recovered takes no memory.
///
/// A clone is a handle to the same state.
#[derive(Clone)]
pub struct GcraLimiter {
    clock: Arc<dyn Clock>,
    levels: Arc<Levels>,
}

/// The times at which callers will have recovered: their *theoretical arrival times*.
#[derive(Default)]
struct Levels {
    // Whoever locks both locks the workspace first.
    workspaces: Arrivals<WorkspaceId>,
    keys: Arrivals<ApiKeyId>,
}

/// The owner of an amount of tokens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LimiterKey {
    /// A key's own.
    Key(ApiKeyId),
    /// The tokens that a workspace's keys share.
    Workspace(WorkspaceId),
}

impl GcraLimiter {
    /// Makes a limiter for which every caller has all of its tokens.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            levels: Arc::default(),
        }
    }

    /// Returns the time at which each caller will have recovered, in no order, without callers that have already.
    ///
    /// Taken piece by piece while checks go on: each time is right for some moment during the call.
    pub fn snapshot(&self) -> Vec<(LimiterKey, Timestamp)> {
        let now = self.clock.now();
        let workspaces = self.levels.workspaces.after(now);
        let keys = self.levels.keys.after(now);
        workspaces
            .into_iter()
            .map(|(id, time)| (LimiterKey::Workspace(id), time))
            .chain(
                keys.into_iter()
                    .map(|(id, time)| (LimiterKey::Key(id), time)),
            )
            .collect()
    }

    /// Restores a [`snapshot`](Self::snapshot). Of two times for one caller the later one holds, so restoring twice, or
    /// while checks go on, gives no caller a token too many.
    pub fn restore(&self, snapshot: impl IntoIterator<Item = (LimiterKey, Timestamp)>) {
        let now = self.clock.now();
        for (key, time) in snapshot {
            match key {
                LimiterKey::Key(id) => self.levels.keys.lock(&id).raise(id, time, now),
                LimiterKey::Workspace(id) => {
                    self.levels.workspaces.lock(&id).raise(id, time, now);
                }
            }
        }
    }

    fn allowance(&self, caller: &Caller) -> Allowance {
        let plan = &caller.plan;
        let of_workspace = plan.workspace_rate.map(|rate| {
            let arrivals = self.levels.workspaces.lock(&caller.workspace);
            (rate, arrivals.get(&caller.workspace))
        });
        let of_key = plan.key_rate.map(|rate| {
            let arrivals = self.levels.keys.lock(&caller.key);
            (rate, arrivals.get(&caller.key))
        });
        let now = self.clock.now();
        [of_workspace, of_key]
            .into_iter()
            .flatten()
            .map(|(rate, arrival)| Allowance::of(rate, arrival.unwrap_or(now), now))
            .fold(Allowance::unlimited(now), Allowance::tighter)
    }

    fn spend(&self, caller: &Caller) -> Verdict {
        let plan = &caller.plan;
        let mut workspace = plan.workspace_rate.map(|rate| {
            let arrivals = self.levels.workspaces.lock(&caller.workspace);
            Level::new(rate, caller.workspace, arrivals)
        });
        let mut key = plan.key_rate.map(|rate| {
            let arrivals = self.levels.keys.lock(&caller.key);
            Level::new(rate, caller.key, arrivals)
        });
        // Read under the locks: whoever is charged later has the later time.
        let now = self.clock.now();
        let of_workspace = workspace.as_mut().map(|level| level.price(now)).transpose();
        let of_key = key.as_mut().map(|level| level.price(now)).transpose();
        match (of_workspace, of_key) {
            (Ok(of_workspace), Ok(of_key)) => {
                if let (Some(level), Some(arrival)) = (workspace, of_workspace) {
                    level.pay(arrival, now);
                }
                if let (Some(level), Some(arrival)) = (key, of_key) {
                    level.pay(arrival, now);
                }
                Verdict::Admit
            }
            (Err(retry_after), Ok(_)) | (Ok(_), Err(retry_after)) => {
                Verdict::Refuse { retry_after }
            }
            (Err(of_workspace), Err(of_key)) => Verdict::Refuse {
                retry_after: of_workspace.max(of_key),
            },
        }
    }
}

/// One of a caller's two levels during a check, locked.
struct Level<'a, K> {
    rate: Rate,
    key: K,
    arrivals: MutexGuard<'a, Shard<K>>,
}

impl<'a, K: Copy + Eq + Hash> Level<'a, K> {
    fn new(rate: Rate, key: K, arrivals: MutexGuard<'a, Shard<K>>) -> Self {
        Self {
            rate,
            key,
            arrivals,
        }
    }

    /// Returns the time at which the caller would have recovered after spending a token, or how long there is none.
    fn price(&mut self, now: Timestamp) -> Result<Timestamp, Duration> {
        // The limit is kept even if this check is refused: after a change of the rate or the clock, waiting must help.
        let latest = arithmetic::latest_arrival(self.rate, now);
        arithmetic::spend(self.rate, self.arrivals.at_most(&self.key, latest), now)
    }

    fn pay(mut self, arrival: Timestamp, now: Timestamp) {
        self.arrivals.set(self.key, arrival, now);
    }
}

impl RateLimiter for GcraLimiter {
    /// Never fails and never waits for anything but a lock that is held for nanoseconds.
    async fn check(&self, caller: &Caller) -> Result<Verdict, StoreError> {
        Ok(self.spend(caller))
    }

    async fn check_many(&self, caller: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        for admitted in 0..wanted {
            if let Verdict::Refuse { retry_after } = self.spend(caller) {
                return Ok(Grant {
                    admitted,
                    refused: Some(retry_after),
                });
            }
        }
        Ok(Grant {
            admitted: wanted,
            refused: None,
        })
    }

    /// Exact.
    async fn peek(&self, caller: &Caller) -> Result<Allowance, StoreError> {
        Ok(self.allowance(caller))
    }
}

impl fmt::Debug for GcraLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcraLimiter").finish_non_exhaustive()
    }
}
