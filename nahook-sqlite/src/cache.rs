//! Answers that hold as long as a version does not change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_control::{EndpointTarget, KeyEntry, KeyHash};
use nahook_core::admission::Caller;
use nahook_core::id::EndpointId;
use nahook_core::{EventTypeName, Scope, Subscribers, Timestamp};

/// Answers to look-ups, all of one version. Versions only rise.
#[derive(Debug)]
pub(crate) struct Cache<V, K, T> {
    entries: Mutex<Entries<V, K, T>>,
    weight_max: usize,
}

#[derive(Debug)]
struct Entries<V, K, T> {
    version: V,
    answers: HashMap<K, T>,
    weight: usize,
}

impl<V: Ord + Default, K: Eq + Hash, T: Clone> Cache<V, K, T> {
    /// An empty one that forgets everything when its entries weigh more than `weight_max`.
    pub(crate) fn new(weight_max: usize) -> Self {
        Self {
            entries: Mutex::new(Entries {
                version: V::default(),
                answers: HashMap::new(),
                weight: 0,
            }),
            weight_max,
        }
    }

    /// The answer, if it is known for that version.
    pub(crate) fn get(&self, version: &V, key: &K) -> Option<T> {
        let entries = self.lock();
        if entries.version == *version {
            entries.answers.get(key).cloned()
        } else {
            None
        }
    }

    /// Remembers an answer that was read at that version.
    pub(crate) fn insert(&self, version: V, key: K, answer: T, weight: usize) {
        let mut entries = self.lock();
        if version < entries.version || weight > self.weight_max {
            return;
        }
        if version > entries.version || entries.weight + weight > self.weight_max {
            entries.answers.clear();
            entries.weight = 0;
            entries.version = version;
        }
        if entries.answers.insert(key, answer).is_none() {
            entries.weight += weight;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<V, K, T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that were presented, by the catalog's version. Unknown ones are not kept: anybody can make those up.
pub(crate) type KeyCache = Cache<i64, KeyHash, KeyEntry<Caller>>;

/// Answers to look-ups of subscribers, by the catalog's version.
pub(crate) type SubscriberCache = Cache<i64, (Scope, EventTypeName), Option<Subscribers>>;

/// Endpoints by the catalog's version and by how often this process has reported.
#[derive(Debug)]
pub(crate) struct TargetCache {
    pub(crate) known: Cache<(i64, u64), EndpointId, CachedTarget>,
    pub(crate) reports: AtomicU64,
}

/// An endpoint, and when the last of its former secrets stops signing.
#[derive(Clone, Debug)]
pub(crate) struct CachedTarget {
    pub(crate) target: Arc<EndpointTarget>,
    pub(crate) until: Option<Timestamp>,
}

impl TargetCache {
    pub(crate) fn new(len_max: usize) -> Self {
        Self {
            known: Cache::new(len_max),
            reports: AtomicU64::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_version_only() {
        let cache = Cache::new(10);
        cache.insert(1, "a", "one", 1);
        assert_eq!(cache.get(&1, &"a"), Some("one"));
        assert_eq!(cache.get(&2, &"a"), None);
        cache.insert(2, "b", "two", 1);
        assert_eq!(cache.get(&2, &"a"), None);
        assert_eq!(cache.get(&2, &"b"), Some("two"));
        // Read before the change, remembered after it.
        cache.insert(1, "a", "one", 1);
        assert_eq!(cache.get(&2, &"a"), None);
    }

    #[test]
    fn its_weight_is_bounded() {
        let cache = Cache::new(10);
        cache.insert(1, 0, (), 11);
        assert_eq!(cache.get(&1, &0), None);
        for key in 1..=11 {
            cache.insert(1, key, (), 1);
        }
        assert_eq!(cache.get(&1, &1), None);
        assert_eq!(cache.get(&1, &11), Some(()));
    }
}
