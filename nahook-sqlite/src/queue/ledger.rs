//! Ledger of the leases in memory: delivery, worker and expiry.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt as _};
use nahook_core::Timestamp;
use nahook_core::id::DeliveryId;
use nahook_queue::{Lease, LeaseToken, WorkerId};

/// The leases.
#[derive(Debug)]
pub(super) struct LeaseLedger {
    next_token: u64,
    leases: HashMap<i64, Held>,
    by_token: HashMap<LeaseToken, i64>,
    /// Without those that are being settled: they do not expire.
    expiries: BTreeSet<(Timestamp, i64)>,
    by_worker: HashMap<(WorkerId, i64), usize>,
    by_endpoint: HashMap<i64, usize>,
}

/// A delivery to lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) key: i64,
    pub(super) endpoint: i64,
    pub(super) id: DeliveryId,
    pub(super) attempts: u32,
    /// Nothing has become of it since it was queued.
    pub(super) is_fresh: bool,
    pub(super) worker: WorkerId,
    pub(super) expires_at: Timestamp,
}

/// A lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) key: i64,
    pub(crate) endpoint: i64,
    /// Number of attempts settled before.
    pub(crate) attempts: u32,
    pub(super) expires_at: Timestamp,
    pub(super) is_settling: bool,
    /// Nothing has become of it since it was queued.
    pub(super) is_fresh: bool,
    id: DeliveryId,
    token: LeaseToken,
    worker: WorkerId,
}

impl Held {
    /// Returns true if the worker that holds the lease may still settle it.
    pub(super) fn is_kept(&self, now: Timestamp) -> bool {
        self.is_settling || self.expires_at > now
    }
}

impl LeaseLedger {
    pub(super) fn new(first_token: LeaseToken) -> Self {
        Self {
            next_token: first_token.0,
            leases: HashMap::new(),
            by_token: HashMap::new(),
            expiries: BTreeSet::new(),
            by_worker: HashMap::new(),
            by_endpoint: HashMap::new(),
        }
    }

    pub(super) fn held(&self, key: i64) -> Option<&Held> {
        self.leases.get(&key)
    }

    /// Returns the number of leases that the worker holds for the endpoint.
    pub(super) fn held_by(&self, worker: WorkerId, endpoint: i64) -> usize {
        self.by_worker
            .get(&(worker, endpoint))
            .copied()
            .unwrap_or(0)
    }

    /// Returns the number of leases of the endpoint, for all workers together.
    pub(super) fn leased(&self, endpoint: i64) -> usize {
        self.by_endpoint.get(&endpoint).copied().unwrap_or(0)
    }

    /// All leases.
    pub(super) fn all(&self) -> impl Iterator<Item = &Held> {
        self.leases.values()
    }

    /// The leases of the endpoint.
    pub(super) fn of(&self, endpoint: i64) -> impl Iterator<Item = &Held> {
        let leases = self.leases.values();
        leases.filter(move |held| held.endpoint == endpoint)
    }

    pub(super) fn first_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    pub(super) fn claim(&mut self, claim: Claim) -> LeaseToken {
        let Claim {
            key,
            endpoint,
            id,
            attempts,
            is_fresh,
            worker,
            expires_at,
        } = claim;
        let token = LeaseToken(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        let held = Held {
            key,
            endpoint,
            attempts,
            expires_at,
            is_settling: false,
            is_fresh,
            id,
            token,
            worker,
        };
        self.leases.insert(key, held);
        self.by_token.insert(token, key);
        self.expiries.insert((expires_at, key));
        *self.by_worker.entry((worker, endpoint)).or_default() += 1;
        *self.by_endpoint.entry(endpoint).or_default() += 1;
        token
    }

    pub(super) fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        let Some(key) = self.current(lease) else {
            return false;
        };
        if let Some(held) = self.leases.get_mut(&key) {
            if !held.is_settling {
                self.expiries.remove(&(held.expires_at, key));
                self.expiries.insert((expires_at, key));
            }
            held.expires_at = expires_at;
        }
        true
    }

    pub(super) fn begin_settling(&mut self, lease: Lease) -> Option<Held> {
        let key = self.current(lease)?;
        let held = self.leases.get_mut(&key).filter(|held| !held.is_settling)?;
        held.is_settling = true;
        self.expiries.remove(&(held.expires_at, key));
        Some(*held)
    }

    pub(super) fn give_up_settling(&mut self, key: i64) {
        if let Some(held) = self.leases.get_mut(&key).filter(|held| held.is_settling) {
            held.is_settling = false;
            self.expiries.insert((held.expires_at, key));
        }
    }

    pub(super) fn end(&mut self, key: i64) -> Option<Held> {
        let held = self.leases.remove(&key)?;
        self.by_token.remove(&held.token);
        self.expiries.remove(&(held.expires_at, key));
        decrement(&mut self.by_worker, &(held.worker, held.endpoint));
        decrement(&mut self.by_endpoint, &held.endpoint);
        Some(held)
    }

    /// Ends the lease that expires first, if that is at `now` or before.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<Held> {
        let (at, key) = self.expiries.first().copied()?;
        if at <= now { self.end(key) } else { None }
    }

    /// The delivery that the lease is of, if it is still held.
    fn current(&self, lease: Lease) -> Option<i64> {
        let key = *self.by_token.get(&lease.token)?;
        let held = self.leases.get(&key)?;
        (held.id == lease.delivery).then_some(key)
    }
}

fn decrement<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::MessageId;

    use super::*;

    const EXPIRY: Timestamp = Timestamp::from_millis(1_000);

    fn ledger_with_a_lease() -> (LeaseLedger, Lease) {
        let mut ledger = LeaseLedger::new(LeaseToken(u64::MAX));
        let id = DeliveryId::nth(MessageId::from_bits(7), 0);
        let claim = Claim {
            key: 1,
            endpoint: 2,
            id,
            attempts: 0,
            is_fresh: true,
            worker: WorkerId(3),
            expires_at: EXPIRY,
        };
        let token = ledger.claim(claim);
        (
            ledger,
            Lease {
                delivery: id,
                token,
            },
        )
    }

    #[test]
    fn a_lease_that_is_being_settled_does_not_expire() {
        let (mut ledger, lease) = ledger_with_a_lease();
        assert!(ledger.begin_settling(lease).is_some());
        assert!(ledger.begin_settling(lease).is_none());
        assert!(ledger.pop_expired(EXPIRY).is_none());
        assert_eq!(ledger.first_expiry(), None);
        assert!(ledger.extend(lease, EXPIRY));
        assert!(ledger.pop_expired(EXPIRY).is_none());
        ledger.give_up_settling(1);
        assert_eq!(ledger.pop_expired(EXPIRY).map(|held| held.key), Some(1));
        assert!(!ledger.extend(lease, EXPIRY));
    }

    #[test]
    fn counts_return_to_nothing() {
        let (mut ledger, lease) = ledger_with_a_lease();
        assert_eq!((ledger.leased(2), ledger.held_by(WorkerId(3), 2)), (1, 1));
        let other = Lease {
            delivery: DeliveryId::nth(MessageId::from_bits(7), 1),
            ..lease
        };
        assert!(!ledger.extend(other, EXPIRY));
        assert!(ledger.end(1).is_some() && ledger.end(1).is_none());
        assert_eq!((ledger.leased(2), ledger.held_by(WorkerId(3), 2)), (0, 0));
        assert!(ledger.by_token.is_empty() && ledger.expiries.is_empty());
        assert!(ledger.by_worker.is_empty() && ledger.by_endpoint.is_empty());
    }

    #[test]
    fn a_lease_may_be_settled_until_it_expires() {
        let (mut ledger, lease) = ledger_with_a_lease();
        let is_kept = |ledger: &LeaseLedger, at| ledger.held(1).unwrap().is_kept(at);
        let just_before = Timestamp::from_nanos(EXPIRY.as_nanos() - 1);
        assert!(is_kept(&ledger, just_before));
        assert!(!is_kept(&ledger, EXPIRY));
        ledger.begin_settling(lease);
        assert!(is_kept(&ledger, EXPIRY));
    }
}
