//! Leases of the file's deliveries, found by row as well.

use foldhash::HashMap;
use nahook_core::Timestamp;
use nahook_core::id::DeliveryId;
use nahook_queue::{Held, Lease, LeaseToken, Leases};

/// The leases. Endpoints go by their rows' numbers.
#[derive(Debug)]
pub(super) struct LeaseLedger {
    pub(super) leases: Leases<i64, LeasedRow>,
    by_key: HashMap<i64, Lease>,
    next_token: u64,
}

/// A delivery's row while it is leased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeasedRow {
    pub(crate) key: i64,
    /// Number of attempts settled before.
    pub(crate) attempts: u32,
    /// It is in its event's record and no row: nothing has become of it since it was queued.
    pub(crate) is_fresh: bool,
}

impl LeaseLedger {
    pub(super) fn new(first_token: LeaseToken) -> Self {
        Self {
            leases: Leases::default(),
            by_key: HashMap::default(),
            next_token: first_token.0,
        }
    }

    /// Leases a delivery that is free.
    pub(super) fn claim(&mut self, delivery: DeliveryId, held: Held<i64, LeasedRow>) -> LeaseToken {
        let token = LeaseToken(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        let lease = Lease { delivery, token };
        self.by_key.insert(held.kept.key, lease);
        self.leases.grant(lease, held);
        token
    }

    /// Returns the lease of a row.
    pub(super) fn held(&self, key: i64) -> Option<&Held<i64, LeasedRow>> {
        self.leases.get(*self.by_key.get(&key)?)
    }

    /// The delivery is no longer fresh, whether it is leased or not.
    pub(super) fn became_row(&mut self, key: i64) {
        let lease = self.by_key.get(&key);
        if let Some(row) = lease.and_then(|lease| self.leases.kept_mut(*lease)) {
            row.is_fresh = false;
        }
    }

    pub(super) fn end(&mut self, lease: Lease) -> Option<Held<i64, LeasedRow>> {
        let held = self.leases.end(lease)?;
        self.by_key.remove(&held.kept.key);
        Some(held)
    }

    /// Ends the lease that expires first, if that is at `now` or before.
    pub(super) fn end_expired(&mut self, now: Timestamp) -> Option<Held<i64, LeasedRow>> {
        let (_, held) = self.leases.end_expired(now)?;
        self.by_key.remove(&held.kept.key);
        Some(held)
    }
}
