//! Seen ids in the memory of one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{Begin, SeenIds, SeenIdsError};

/// Remembers the webhooks that were handled in memory, bounded in number and time.
///
/// It is one process's and forgets everything on a restart. Several processes behind a load balancer need a store that
/// they share.
#[derive(Debug)]
pub struct MemorySeenIds {
    limits: Limits,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    capacity: usize,
    keep: Duration,
    claim: Duration,
}

impl MemorySeenIds {
    /// Creates a store of up to 100,000 webhooks for four days, which is longer than nahook's ten attempts take. Claims end
    /// after a minute.
    pub fn new() -> Self {
        Self {
            limits: Limits {
                capacity: 100_000,
                keep: Duration::from_hours(4 * 24),
                claim: Duration::from_mins(1),
            },
            seen: Mutex::default(),
        }
    }

    /// Sets the number of webhooks that are remembered, at least one. When there are more, the one that changed longest
    /// ago is forgotten.
    #[must_use]
    pub fn capacity(mut self, webhooks: usize) -> Self {
        self.limits.capacity = webhooks.max(1);
        self
    }

    /// Sets for how long a handled webhook is remembered. Longer than twice the tolerance, it also keeps out replays.
    #[must_use]
    pub fn keep_for(mut self, time: Duration) -> Self {
        self.limits.keep = time;
        self
    }

    /// Sets the time after which a claim ends by itself. Longer than the handler takes, or it runs twice at once.
    #[must_use]
    pub fn claim_for(mut self, time: Duration) -> Self {
        self.limits.claim = time;
        self
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemorySeenIds {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl SeenIds for MemorySeenIds {
    async fn begin(&self, key: &str) -> Result<Begin, SeenIdsError> {
        Ok(self.seen().begin(key, Instant::now(), self.limits))
    }

    async fn finished(&self, key: &str) {
        self.seen()
            .put(key, State::Finished, Instant::now(), self.limits);
    }

    async fn failed(&self, key: &str) {
        self.seen().release(key);
    }

    fn cancelled(&self, key: &str) {
        self.seen().release(key);
    }
}

#[derive(Debug, Default)]
struct Seen {
    entries: HashMap<Arc<str>, Entry>,
    /// Keys of the entries by their `place`: in the order in which they changed.
    order: BTreeMap<u64, Arc<str>>,
    next_place: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    place: u64,
    state: State,
    since: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Claimed,
    Finished,
}

impl Entry {
    fn has_expired(&self, now: Instant, limits: Limits) -> bool {
        let lifetime = match self.state {
            State::Claimed => limits.claim,
            State::Finished => limits.keep,
        };
        now.saturating_duration_since(self.since) >= lifetime
    }
}

impl Seen {
    fn begin(&mut self, key: &str, now: Instant, limits: Limits) -> Begin {
        match self.entries.get(key) {
            Some(entry) if !entry.has_expired(now, limits) => match entry.state {
                State::Claimed => Begin::InProgress,
                State::Finished => Begin::Finished,
            },
            _ => {
                self.put(key, State::Claimed, now, limits);
                Begin::First
            }
        }
    }

    fn put(&mut self, key: &str, state: State, now: Instant, limits: Limits) {
        self.remove(key);
        let key = Arc::<str>::from(key);
        let place = self.next_place;
        self.next_place += 1;
        self.order.insert(place, Arc::clone(&key));
        let since = now;
        self.entries.insert(
            key,
            Entry {
                place,
                state,
                since,
            },
        );
        self.forget_oldest(now, limits);
    }

    /// Forgets what has expired, from the oldest to the first that has not, and what is beyond the capacity.
    fn forget_oldest(&mut self, now: Instant, limits: Limits) {
        while let Some((_, key)) = self.order.first_key_value() {
            let key = Arc::clone(key);
            let has_expired = self
                .entries
                .get(&key)
                .is_none_or(|entry| entry.has_expired(now, limits));
            if !has_expired && self.entries.len() <= limits.capacity {
                break;
            }
            self.remove(&key);
        }
    }

    fn release(&mut self, key: &str) {
        if self
            .entries
            .get(key)
            .is_some_and(|entry| entry.state == State::Claimed)
        {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        capacity: 3,
        keep: Duration::from_secs(100),
        claim: Duration::from_secs(10),
    };

    /// A store with a clock that is set by hand.
    struct Store {
        seen: Seen,
        now: Instant,
        limits: Limits,
    }

    impl Store {
        fn new() -> Self {
            Self {
                seen: Seen::default(),
                now: Instant::now(),
                limits: LIMITS,
            }
        }

        fn begin(&mut self, key: &str) -> Begin {
            self.seen.begin(key, self.now, self.limits)
        }

        fn finish(&mut self, key: &str) {
            self.seen.put(key, State::Finished, self.now, self.limits);
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    #[test]
    fn claim_ends_by_itself() {
        let mut store = Store::new();
        assert_eq!(store.begin("a"), Begin::First);
        store.wait(9);
        assert_eq!(store.begin("a"), Begin::InProgress);
        store.wait(1);
        assert_eq!(store.begin("a"), Begin::First);
        assert_eq!(store.begin("a"), Begin::InProgress);
    }

    #[test]
    fn finished_webhook_is_remembered_for_its_time_from_the_end() {
        let mut store = Store::new();
        store.begin("a");
        store.wait(5);
        store.finish("a");
        store.wait(99);
        assert_eq!(store.begin("a"), Begin::Finished);
        store.wait(1);
        assert_eq!(store.begin("a"), Begin::First);
    }

    #[test]
    fn late_failure_does_not_forget_what_was_finished() {
        let mut store = Store::new();
        store.begin("a");
        store.wait(10);
        // The second attempt finishes while the first still runs and then fails.
        store.begin("a");
        store.finish("a");
        store.seen.release("a");
        assert_eq!(store.begin("a"), Begin::Finished);
    }

    #[test]
    fn oldest_is_forgotten_beyond_the_capacity() {
        let mut store = Store::new();
        for key in ["a", "b", "c"] {
            store.begin(key);
            store.finish(key);
        }
        // A change makes it the youngest.
        store.finish("a");
        store.begin("d");
        assert_eq!(store.begin("a"), Begin::Finished);
        assert_eq!(store.begin("c"), Begin::Finished);
        assert_eq!(store.begin("b"), Begin::First);
    }

    #[test]
    fn expired_webhooks_take_no_memory() {
        let mut store = Store::new();
        store.limits.capacity = 1000;
        for key in 0..500 {
            store.begin(&key.to_string());
            store.finish(&key.to_string());
        }
        assert_eq!(store.seen.entries.len(), 500);
        store.wait(100);
        store.begin("another");
        assert_eq!(store.seen.entries.len(), 1);
    }

    #[test]
    fn webhooks_may_be_remembered_for_ever() {
        let mut store = Store::new();
        (store.limits.keep, store.limits.claim) = (Duration::MAX, Duration::MAX);
        store.begin("a");
        store.finish("a");
        store.wait(1_000_000);
        assert_eq!(store.begin("a"), Begin::Finished);
    }

    #[test]
    fn settings_are_taken() {
        let store = MemorySeenIds::default()
            .capacity(0)
            .keep_for(Duration::from_secs(2))
            .claim_for(Duration::from_secs(3));
        assert_eq!(store.limits.capacity, 1);
        assert_eq!(store.limits.keep, Duration::from_secs(2));
        assert_eq!(store.limits.claim, Duration::from_secs(3));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin(u8),
        Finish(u8),
        Release(u8),
        Wait(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6_u8).prop_map(Step::Begin),
            (0..6_u8).prop_map(Step::Finish),
            (0..6_u8).prop_map(Step::Release),
            (0..20_u8).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn index_and_capacity_hold_after_any_steps(steps in steps()) {
            let mut store = Store::new();
            for step in steps {
                match step {
                    Step::Begin(key) => {
                        store.begin(&key.to_string());
                    }
                    Step::Finish(key) => store.finish(&key.to_string()),
                    Step::Release(key) => store.seen.release(&key.to_string()),
                    Step::Wait(seconds) => store.wait(seconds.into()),
                }
                let Seen { entries, order, .. } = &store.seen;
                prop_assert!(entries.len() <= LIMITS.capacity);
                prop_assert_eq!(entries.len(), order.len());
                for (place, key) in order {
                    prop_assert_eq!(entries[key].place, *place);
                }
            }
        }
    }
}
