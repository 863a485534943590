//! The leases that a process has granted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use foldhash::HashMap;
use nahook_core::Timestamp;

use crate::queue::{Lease, WorkerId};

/// Leases of one process: who holds which delivery, and until when.
///
/// The queue knows endpoints by `E`, and keeps a `T` with each lease.
#[derive(Clone, Debug)]
pub struct Leases<E, T = ()> {
    held: HashMap<Lease, Held<E, T>>,
    /// Without those that are being settled: they do not expire.
    expiries: BTreeSet<(Timestamp, Lease)>,
    counts: BTreeMap<(E, WorkerId), usize>,
}

/// A lease that has neither ended nor expired.
#[derive(Clone, Copy, Debug)]
pub struct Held<E, T = ()> {
    /// The worker that holds it.
    pub worker: WorkerId,
    /// The delivery's endpoint.
    pub endpoint: E,
    /// Time at which it expires, unless it is being settled then.
    pub expires_at: Timestamp,
    /// True while it is being settled.
    pub is_settling: bool,
    /// The queue's own.
    pub kept: T,
}

impl<E, T> Held<E, T> {
    /// A lease that begins.
    pub const fn new(worker: WorkerId, endpoint: E, expires_at: Timestamp, kept: T) -> Self {
        Self {
            worker,
            endpoint,
            expires_at,
            is_settling: false,
            kept,
        }
    }

    /// Returns true if its worker may still settle it.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.is_settling || self.expires_at > now
    }
}

impl<E, T> Default for Leases<E, T> {
    fn default() -> Self {
        Self {
            held: HashMap::default(),
            expiries: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl<E: Copy + Ord, T> Leases<E, T> {
    /// Grants a lease.
    pub fn grant(&mut self, lease: Lease, held: Held<E, T>) {
        self.end(lease);
        self.expiries.insert((held.expires_at, lease));
        let count = self.counts.entry((held.endpoint, held.worker));
        *count.or_default() += 1;
        self.held.insert(lease, held);
    }

    /// Returns a lease that is held.
    pub fn get(&self, lease: Lease) -> Option<&Held<E, T>> {
        self.held.get(&lease)
    }

    /// Returns what is kept with a lease that is held.
    pub fn kept_mut(&mut self, lease: Lease) -> Option<&mut T> {
        self.held.get_mut(&lease).map(|held| &mut held.kept)
    }

    /// All that are held, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Held<E, T>> {
        self.held.values()
    }

    /// Returns the number of leases.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns true if nothing is leased.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the number of leases that a worker holds for an endpoint.
    pub fn held_by(&self, worker: WorkerId, endpoint: E) -> usize {
        let count = self.counts.get(&(endpoint, worker));
        count.copied().unwrap_or(0)
    }

    /// The endpoints for which a worker holds leases, and how many.
    pub fn endpoints_of(&self, worker: WorkerId) -> impl Iterator<Item = (E, usize)> {
        let counts = self.counts.iter();
        counts
            .filter(move |((_, holder), _)| *holder == worker)
            .map(|((endpoint, _), count)| (*endpoint, *count))
    }

    /// Returns the number of leases for an endpoint, of all workers together.
    pub fn of_endpoint(&self, endpoint: E) -> usize {
        let workers = (endpoint, WorkerId(0))..=(endpoint, WorkerId(u64::MAX));
        self.counts.range(workers).map(|(_, count)| count).sum()
    }

    /// Lets a lease expire at that time instead. Returns false if it is not held.
    pub fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        let Some(held) = self.held.get_mut(&lease) else {
            return false;
        };
        if !held.is_settling {
            self.expiries.remove(&(held.expires_at, lease));
            self.expiries.insert((expires_at, lease));
        }
        held.expires_at = expires_at;
        true
    }

    /// Begins to settle a lease, which then does not expire. `None` if it is not held, or is being settled already.
    pub fn begin_settling(&mut self, lease: Lease) -> Option<&Held<E, T>> {
        let held = self.held.get_mut(&lease);
        let held = held.filter(|held| !held.is_settling)?;
        held.is_settling = true;
        self.expiries.remove(&(held.expires_at, lease));
        Some(held)
    }

    /// The lease is as if nobody had tried to settle it.
    pub fn stop_settling(&mut self, lease: Lease) {
        let held = self.held.get_mut(&lease);
        if let Some(held) = held.filter(|held| held.is_settling) {
            held.is_settling = false;
            self.expiries.insert((held.expires_at, lease));
        }
    }

    /// Ends a lease, and returns it if it was held.
    pub fn end(&mut self, lease: Lease) -> Option<Held<E, T>> {
        let held = self.held.remove(&lease)?;
        self.expiries.remove(&(held.expires_at, lease));
        let holder = (held.endpoint, held.worker);
        if let Some(count) = self.counts.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&holder);
            }
        }
        Some(held)
    }

    /// Ends the lease that expires first, if that is at `now` or before.
    pub fn end_expired(&mut self, now: Timestamp) -> Option<(Lease, Held<E, T>)> {
        let (at, lease) = self.expiries.first().copied()?;
        if at > now {
            return None;
        }
        self.end(lease).map(|held| (lease, held))
    }

    /// Time at which the first of them expires.
    pub fn first_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::{DeliveryId, MessageId};

    use super::*;
    use crate::queue::LeaseToken;

    const EXPIRY: Timestamp = Timestamp::from_millis(10);

    fn lease(ordinal: u32) -> Lease {
        Lease {
            delivery: DeliveryId::nth(MessageId::from_bits(7), ordinal),
            token: LeaseToken(1),
        }
    }

    fn leases() -> Leases<i64> {
        let mut leases = Leases::default();
        leases.grant(lease(0), Held::new(WorkerId(3), 2, EXPIRY, ()));
        leases
    }

    #[test]
    fn a_lease_expires_at_its_end_unless_it_was_extended() {
        let mut leases = leases();
        let just_before = Timestamp::from_nanos(EXPIRY.as_nanos() - 1);
        assert!(leases.end_expired(just_before).is_none());
        assert!(leases.get(lease(0)).unwrap().is_valid(just_before));
        assert!(!leases.get(lease(0)).unwrap().is_valid(EXPIRY));
        assert!(leases.extend(lease(0), Timestamp::from_millis(20)));
        assert!(leases.end_expired(EXPIRY).is_none());
        assert_eq!(leases.first_expiry(), Some(Timestamp::from_millis(20)));
        let ended = leases.end_expired(Timestamp::from_millis(20));
        assert_eq!(ended.map(|(ended, _)| ended), Some(lease(0)));
        assert!(!leases.extend(lease(0), EXPIRY));
    }

    #[test]
    fn a_lease_that_is_being_settled_does_not_expire() {
        let mut leases = leases();
        assert!(leases.begin_settling(lease(0)).is_some());
        assert!(leases.begin_settling(lease(0)).is_none());
        assert!(leases.get(lease(0)).unwrap().is_valid(EXPIRY));
        assert!(leases.extend(lease(0), EXPIRY));
        assert!(leases.end_expired(EXPIRY).is_none() && leases.first_expiry().is_none());
        leases.stop_settling(lease(0));
        assert!(leases.end_expired(EXPIRY).is_some());
    }

    #[test]
    fn counts_return_to_nothing() {
        let mut leases = leases();
        leases.grant(lease(1), Held::new(WorkerId(4), 2, EXPIRY, ()));
        leases.grant(lease(1), Held::new(WorkerId(4), 2, EXPIRY, ()));
        assert_eq!((leases.len(), leases.of_endpoint(2)), (2, 2));
        assert_eq!(leases.held_by(WorkerId(3), 2), 1);
        assert_eq!(
            leases.endpoints_of(WorkerId(4)).collect::<Vec<_>>(),
            [(2, 1)]
        );
        assert!(leases.end(lease(2)).is_none());
        for ordinal in 0..2 {
            assert!(leases.end(lease(ordinal)).is_some());
            assert!(leases.end(lease(ordinal)).is_none());
        }
        assert!(leases.is_empty() && leases.expiries.is_empty() && leases.counts.is_empty());
    }
}
