//! Caches of look-ups, invalidated when the catalog changes.
//!
//! A change of the catalog tells every process in its own transaction. An answer is kept only while the connection that
//! would tell is known to work: it is asked every second, and what was kept counts for at most [`STALENESS_MAX`] from
//! the last time that it was asked and answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use metrics::{counter, histogram};
use nahook_control::{KeyEntry, KeyHash};
use nahook_core::admission::Caller;
use nahook_core::id::WorkspaceId;
use nahook_core::{EventTypeName, Scope, Subscribers};
use tokio::time::Instant;

use crate::metric;

/// For how long at most a change made by another process may go unnoticed, when the connection that tells of changes is
/// lost without a sign. Otherwise it is seen as soon as the notification arrives.
pub(crate) const STALENESS_MAX: Duration = Duration::from_secs(3);

/// The caches.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Raised by every change: an answer that was asked for before one is not kept after it.
    epoch: AtomicU64,
    kept: RwLock<Kept>,
    len_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// Until when all of it counts; absent while changes are not heard of.
    fresh_until: Option<Instant>,
    subscribers: HashMap<WorkspaceId, HashMap<(Scope, EventTypeName), Option<Subscribers>>>,
    callers: HashMap<KeyHash, KeyEntry<Caller>>,
    len: usize,
}

/// The database's answer: subscribers, or that there is no such event type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer(pub(crate) Option<Subscribers>);

/// The moment at which a question was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Epoch(u64);

impl Cache {
    pub(crate) fn new(len_max: usize) -> Self {
        Self {
            epoch: AtomicU64::new(0),
            kept: RwLock::default(),
            len_max,
        }
    }

    /// To be taken before the database is asked, and shown when the answer is to be kept.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Returns the subscribers, on a cache hit.
    pub(crate) fn subscribers(&self, event_type: &EventTypeName, scope: &Scope) -> Option<Answer> {
        let key = (*scope, event_type.clone());
        self.find("subscribers", |kept| {
            kept.subscribers.get(&scope.workspace)?.get(&key).cloned()
        })
        .map(Answer)
    }

    pub(crate) fn keep_subscribers(
        &self,
        asked: Epoch,
        event_type: &EventTypeName,
        scope: &Scope,
        found: Option<Subscribers>,
    ) {
        let weight = 1 + found.as_ref().map_or(0, |found| found.endpoints.len());
        self.keep(asked, weight, |kept| {
            let of_workspace = kept.subscribers.entry(scope.workspace).or_default();
            of_workspace.insert((*scope, event_type.clone()), found);
        });
    }

    /// Returns the caller of the key, on a cache hit.
    pub(crate) fn caller(&self, hash: &KeyHash) -> Option<KeyEntry<Caller>> {
        self.find("callers", |kept| kept.callers.get(hash).copied())
    }

    /// Only keys that exist are kept: whoever guesses fills no memory.
    pub(crate) fn keep_caller(&self, asked: Epoch, hash: &KeyHash, found: &KeyEntry<Caller>) {
        self.keep(asked, 1, |kept| {
            kept.callers.insert(*hash, *found);
        });
    }

    /// Something in the workspace has changed.
    pub(crate) fn forget(&self, workspace: &WorkspaceId) {
        counter!(metric::INVALIDATIONS).increment(1);
        let mut kept = self.write();
        // Raised under the lock: whoever keeps an answer looks at it under the lock.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        kept.subscribers.remove(workspace);
        kept.callers
            .retain(|_, entry| entry.identity.workspace != *workspace);
        kept.len = kept.counted();
    }

    /// Anything may have changed.
    pub(crate) fn forget_all(&self) {
        counter!(metric::INVALIDATIONS).increment(1);
        let mut kept = self.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        kept.clear();
    }

    /// Changes are heard of: the connection was asked at that moment and has answered.
    pub(crate) fn confirm(&self, asked_at: Instant) {
        self.write().fresh_until = Some(asked_at + STALENESS_MAX);
    }

    /// Changes are not heard of any more.
    pub(crate) fn distrust(&self) {
        let mut kept = self.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        kept.fresh_until = None;
        kept.clear();
    }

    /// Looks into the cache, if it is valid, and counts the hit or miss and the age of the answer.
    fn find<T>(&self, cache: &'static str, get: impl FnOnce(&Kept) -> Option<T>) -> Option<T> {
        let found = {
            let kept = self.read();
            kept.fresh()
                .and_then(|(kept, age)| get(kept).map(|found| (found, age)))
        };
        let result = if found.is_some() { "hit" } else { "miss" };
        counter!(metric::LOOKUPS, metric::CACHE => cache, metric::RESULT => result).increment(1);
        let (found, age) = found?;
        histogram!(metric::HIT_AGE, metric::CACHE => cache).record(age);
        Some(found)
    }

    fn keep(&self, asked: Epoch, weight: usize, put: impl FnOnce(&mut Kept)) {
        if weight > self.len_max {
            return;
        }
        let mut kept = self.write();
        if self.epoch() != asked || kept.fresh().is_none() {
            return;
        }
        if kept.len + weight > self.len_max {
            kept.clear();
        }
        kept.len += weight;
        put(&mut kept);
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Returns the cache and the time since it was confirmed, if it is valid.
    fn fresh(&self) -> Option<(&Self, Duration)> {
        let left = self
            .fresh_until?
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())?;
        Some((self, STALENESS_MAX.saturating_sub(left)))
    }

    fn clear(&mut self) {
        self.subscribers = HashMap::new();
        self.callers = HashMap::new();
        self.len = 0;
    }

    fn counted(&self) -> usize {
        let answers = self.subscribers.values().flat_map(HashMap::values);
        let endpoints =
            answers.map(|found| 1 + found.as_ref().map_or(0, |found| found.endpoints.len()));
        endpoints.sum::<usize>() + self.callers.len()
    }
}

#[cfg(test)]
mod tests {
    use nahook_testkit::declare::{caller, endpoint_id, event_type_id, event_type_name, scope};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_before_a_change_is_not_kept() {
        let (cache, name, scope) = (trusted(), event_type_name("a"), scope("ws_1", None));
        let asked = cache.epoch();
        cache.forget(&scope.workspace);
        cache.keep_subscribers(asked, &name, &scope, None);
        assert_eq!(cache.subscribers(&name, &scope), None);
        cache.keep_subscribers(cache.epoch(), &name, &scope, None);
        assert_eq!(cache.subscribers(&name, &scope), Some(Answer(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_counts_only_while_changes_are_heard_of() {
        let (cache, name, scope) = (trusted(), event_type_name("a"), scope("ws_1", None));
        cache.keep_subscribers(cache.epoch(), &name, &scope, None);
        tokio::time::advance(STALENESS_MAX).await;
        assert_eq!(cache.subscribers(&name, &scope), None);
        cache.confirm(Instant::now());
        assert_eq!(cache.subscribers(&name, &scope), Some(Answer(None)));
        cache.distrust();
        cache.keep_subscribers(cache.epoch(), &name, &scope, None);
        cache.confirm(Instant::now());
        assert_eq!(cache.subscribers(&name, &scope), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_begins_anew() {
        let cache = Cache::new(2);
        cache.confirm(Instant::now());
        let entry = KeyEntry {
            identity: caller("ws_1", "key"),
            disabled: false,
        };
        let hash = |n: u8| KeyHash::from_bytes([n; 32]);
        for n in 0..3 {
            cache.keep_caller(cache.epoch(), &hash(n), &entry);
        }
        assert_eq!(cache.caller(&hash(0)), None);
        assert_eq!(cache.caller(&hash(2)), Some(entry));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_takes_the_room_of_its_endpoints() {
        let cache = Cache::new(3);
        cache.confirm(Instant::now());
        let (one, other, scope) = (
            event_type_name("a"),
            event_type_name("b"),
            scope("ws_1", None),
        );
        let found = Subscribers {
            event_type: event_type_id("ws_1", "a"),
            endpoints: [endpoint_id("ep_1"), endpoint_id("ep_2")].into(),
        };
        cache.keep_subscribers(cache.epoch(), &one, &scope, Some(found));
        cache.keep_subscribers(cache.epoch(), &other, &scope, None);
        assert_eq!(cache.subscribers(&one, &scope), None);
        assert_eq!(cache.subscribers(&other, &scope), Some(Answer(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_leaves_its_room() {
        let cache = Cache::new(2);
        cache.confirm(Instant::now());
        let name = event_type_name("a");
        let scopes = ["ws_1", "ws_2"].map(|id| scope(id, None));
        let keep = |scope| cache.keep_subscribers(cache.epoch(), &name, scope, None);
        scopes.iter().for_each(keep);
        cache.forget(&scopes[0].workspace);
        keep(&scopes[0]);
        for scope in &scopes {
            assert_eq!(cache.subscribers(&name, scope), Some(Answer(None)));
        }
    }

    fn trusted() -> Cache {
        let cache = Cache::new(100);
        cache.confirm(Instant::now());
        cache
    }
}
