//! A table of the times at which callers will have recovered, in shards with a lock each.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Timestamp;

/// Number of shards: enough that threads that ask for different keys seldom meet.
const SHARDS: usize = 64;

/// A piece with fewer entries is not swept.
const SWEEP_MIN: usize = 64;

/// Arrival times by key. A key that is absent has recovered.
pub(super) struct Arrivals<K> {
    shards: Box<[Mutex<Shard<K>>]>,
    hasher: RandomState,
}

/// One piece of the table.
pub(super) struct Shard<K> {
    times: HashMap<K, Timestamp>,
    /// Number of entries that triggers the next sweep: twice what the last one left, so that sweeping costs each insertion
    /// a constant and at most half of the entries are stale.
    sweep_at: usize,
}

impl<K: Copy + Eq + Hash> Arrivals<K> {
    /// The piece that holds `key`, for as long as the guard lives.
    pub(super) fn lock(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let hash = self.hasher.hash_one(key);
        // The lowest bits alone: far fewer shards than an integer of any width can count.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the lowest bits count"
        )]
        let shard = hash as usize % SHARDS;
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Every entry later than `now`.
    pub(super) fn after(&self, now: Timestamp) -> Vec<(K, Timestamp)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(
                shard
                    .times
                    .iter()
                    .filter(|(_, time)| **time > now)
                    .map(|(key, time)| (*key, *time)),
            );
        }
        found
    }

    /// Returns the number of entries and the capacity.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(len, room), shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (len + shard.times.len(), room + shard.times.capacity())
        })
    }
}

impl<K> Default for Arrivals<K> {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                times: HashMap::new(),
                sweep_at: SWEEP_MIN,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Shard<K> {
    /// Returns the time at which `key` will have recovered.
    pub(super) fn get(&self, key: &K) -> Option<Timestamp> {
        self.times.get(key).copied()
    }

    /// Returns the time at which `key` will have recovered; brings it forward to `latest`, for good, if that is earlier.
    pub(super) fn at_most(&mut self, key: &K, latest: Timestamp) -> Option<Timestamp> {
        let time = self.times.get_mut(key)?;
        *time = latest.min(*time);
        Some(*time)
    }

    /// Records when `key` will have recovered.
    pub(super) fn set(&mut self, key: K, time: Timestamp, now: Timestamp) {
        self.times.insert(key, time);
        self.sweep(now);
    }

    /// Records when `key` will have recovered, unless a later time is known.
    pub(super) fn raise(&mut self, key: K, time: Timestamp, now: Timestamp) {
        if self.times.get(&key).is_none_or(|known| *known < time) {
            self.set(key, time, now);
        }
    }

    /// Removes the callers that have recovered, once there are enough entries for that to pay.
    fn sweep(&mut self, now: Timestamp) {
        if self.times.len() < self.sweep_at {
            return;
        }
        self.times.retain(|_, time| *time > now);
        self.sweep_at = (self.times.len() * 2).max(SWEEP_MIN);
        self.times.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn shard() -> Shard<u64> {
        Shard {
            times: HashMap::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    #[test]
    fn a_piece_full_of_debtors_is_swept_seldom() {
        let mut shard = shard();
        let mut thresholds = vec![shard.sweep_at];
        for key in 0..10_000 {
            shard.set(key, at(1), at(0));
            if thresholds.last() != Some(&shard.sweep_at) {
                thresholds.push(shard.sweep_at);
            }
        }
        assert_eq!(shard.times.len(), 10_000);
        assert!(thresholds.len() <= 10, "swept at {thresholds:?}");
    }

    #[test]
    fn a_crowd_that_has_recovered_is_forgotten() {
        let mut shard = shard();
        for key in 0..10_000 {
            shard.set(key, at(1), at(0));
        }
        // At the very instant at which all of them have recovered; each newcomer owes.
        for key in 10_000..30_000 {
            shard.set(key, at(2), at(1));
        }
        assert_eq!(shard.times.len(), 20_000);
        assert!((10_000..30_000).all(|key| shard.get(&key) == Some(at(2))));
    }
}
