//! Answers that hold as long as their workspace does not change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::counter;
use nahook_control::{EndpointTarget, KeyEntry, KeyHash};
use nahook_core::admission::Caller;
use nahook_core::id::EndpointId;
use nahook_core::{EventTypeName, Scope, Subscribers, Timestamp};

use crate::metric;

/// Answers to look-ups, each of the version of the catalog that it was read from.
#[derive(Debug)]
pub(crate) struct Cache<K, T> {
    name: &'static str,
    entries: Mutex<Entries<K, T>>,
    weight_max: usize,
}

#[derive(Debug)]
struct Entries<K, T> {
    answers: HashMap<K, Known<T>>,
    weight: usize,
    removals: u64,
}

#[derive(Debug)]
struct Known<T> {
    answer: T,
    version: i64,
    weight: usize,
}

/// State of a cache before an answer was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Removals(u64);

impl<K: Eq + Hash, T: Clone> Cache<K, T> {
    /// An empty one that forgets everything when its entries weigh more than `weight_max`. Metrics call it `name`.
    pub(crate) fn new(name: &'static str, weight_max: usize) -> Self {
        Self {
            name,
            entries: Mutex::new(Entries {
                answers: HashMap::new(),
                weight: 0,
                removals: 0,
            }),
            weight_max,
        }
    }

    /// The answer, if it is known and was read from the version that `changed_in` says, or from a later one.
    pub(crate) fn get(&self, key: &K, changed_in: impl FnOnce(&T) -> i64) -> Option<T> {
        let found = {
            let entries = self.lock();
            let known = entries.answers.get(key);
            let known = known.filter(|known| known.version >= changed_in(&known.answer));
            known.map(|known| known.answer.clone())
        };
        let result = if found.is_some() { "hit" } else { metric::MISS };
        counter!(metric::LOOKUPS, metric::CACHE => self.name, metric::RESULT => result)
            .increment(1);
        found
    }

    /// Remembers an answer that was read from that version of the catalog.
    pub(crate) fn insert(&self, version: i64, key: K, answer: T, weight: usize) {
        self.lock()
            .insert(version, key, answer, weight, self.weight_max);
    }

    /// To be taken before what [`insert_unless_removed`](Self::insert_unless_removed) gets is read.
    pub(crate) fn removals(&self) -> Removals {
        Removals(self.lock().removals)
    }

    /// Remembers an answer, unless anything was removed since `read_at`.
    pub(crate) fn insert_unless_removed(&self, read_at: Removals, version: i64, key: K, answer: T) {
        let mut entries = self.lock();
        if entries.removals == read_at.0 {
            entries.insert(version, key, answer, 1, self.weight_max);
        }
    }

    /// Forgets the answers to these keys.
    pub(crate) fn remove<'k>(&self, keys: impl Iterator<Item = &'k K>)
    where
        K: 'k,
    {
        let mut entries = self.lock();
        entries.removals += 1;
        for key in keys {
            if let Some(known) = entries.answers.remove(key) {
                entries.weight -= known.weight;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, T> Entries<K, T> {
    fn insert(&mut self, version: i64, key: K, answer: T, weight: usize, weight_max: usize) {
        let before = self.answers.get(&key);
        if weight > weight_max || before.is_some_and(|before| before.version > version) {
            return;
        }
        self.weight -= before.map_or(0, |before| before.weight);
        if self.weight + weight > weight_max {
            self.answers.clear();
            self.weight = 0;
        }
        self.weight += weight;
        let known = Known {
            answer,
            version,
            weight,
        };
        self.answers.insert(key, known);
    }
}

/// Keys that were presented. Unknown ones are not kept: anybody can make those up.
pub(crate) type KeyCache = Cache<KeyHash, KeyEntry<Caller>>;

/// Answers to look-ups of subscribers.
pub(crate) type SubscriberCache = Cache<(Scope, EventTypeName), Option<Subscribers>>;

/// Endpoints. Those that are reported on are removed.
pub(crate) type TargetCache = Cache<EndpointId, CachedTarget>;

/// An endpoint, and when the last of its former secrets stops signing.
#[derive(Clone, Debug)]
pub(crate) struct CachedTarget {
    pub(crate) target: Arc<EndpointTarget>,
    pub(crate) until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_holds_until_its_workspace_changes() {
        let cache = Cache::new("test", 10);
        cache.insert(1, "a", "one", 1);
        assert_eq!(cache.get(&"a", |_| 1), Some("one"));
        assert_eq!(cache.get(&"a", |_| 2), None);
        cache.insert(2, "a", "two", 1);
        assert_eq!(cache.get(&"a", |_| 2), Some("two"));
        // Read before the change, remembered after it.
        cache.insert(1, "a", "one", 1);
        assert_eq!(cache.get(&"a", |_| 2), Some("two"));
    }

    #[test]
    fn its_weight_is_bounded() {
        let cache = Cache::new("test", 10);
        cache.insert(1, 0, (), 11);
        assert_eq!(cache.get(&0, |()| 1), None);
        for key in 1..=11 {
            cache.insert(1, key, (), 1);
        }
        assert_eq!(cache.get(&1, |()| 1), None);
        assert_eq!(cache.get(&11, |()| 1), Some(()));
    }

    #[test]
    fn answer_that_is_replaced_or_removed_weighs_nothing() {
        let cache = Cache::new("test", 10);
        cache.insert(1, 0, (), 1);
        for version in 1..100 {
            cache.insert(version, 1, (), 9);
        }
        assert_eq!(cache.get(&0, |()| 1), Some(()));
        cache.remove([1].iter());
        cache.insert(1, 2, (), 9);
        assert_eq!(cache.get(&0, |()| 1), Some(()));
    }

    #[test]
    fn answer_that_was_read_before_a_removal_is_not_kept() {
        let cache = Cache::new("test", 10);
        let before = cache.removals();
        cache.remove([7].iter());
        cache.insert_unless_removed(before, 1, 7, ());
        assert_eq!(cache.get(&7, |()| 1), None);
        cache.insert_unless_removed(cache.removals(), 1, 7, ());
        assert_eq!(cache.get(&7, |()| 1), Some(()));
    }
}
