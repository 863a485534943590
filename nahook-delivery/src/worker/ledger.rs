//! The deliveries that the worker holds a lease of.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use nahook_core::id::DeliveryId;
use nahook_queue::{Lease, LeasedDelivery};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Tells apart what the worker has begun for a delivery from what it had begun for it before.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Hold {
    pub(super) delivery: DeliveryId,
    pub(super) number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<DeliveryId, Entry>,
    /// By the number of the hold.
    attempting: HashMap<u64, AbortHandle>,
    drawn: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) delivery: Arc<LeasedDelivery>,
    /// The lease to settle under: the newest one.
    pub(super) lease: Lease,
    pub(super) phase: Phase,
    number: u64,
    expires_at: Instant,
    /// The queue has said that the lease is gone.
    lost: bool,
}

/// Phase of a delivery within its worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Opening,
    Attempting,
    Settling,
}

/// Result of entering a leased delivery in the ledger.
#[derive(Debug)]
pub(super) enum Admission {
    /// New: to be attempted.
    New(Hold),
    /// Held already, under a lease that had run out without anything being recorded: what is under way goes on, and will
    /// be settled under the new lease.
    Adopted,
    /// New, and in the place of an older hold.
    Replaced(Hold),
}

impl Ledger {
    /// Takes a delivery in. If an older hold of the same delivery is obsolete because somebody has settled an attempt
    /// since, that hold ends: its attempt is cut off, so that no two run side by side.
    pub(super) fn admit(&mut self, delivery: LeasedDelivery, expires_at: Instant) -> Admission {
        let id = delivery.lease.delivery;
        let mut replaces = false;
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.delivery.attempts == delivery.attempts {
                entry.lease = delivery.lease;
                entry.expires_at = expires_at;
                entry.lost = false;
                return Admission::Adopted;
            }
            self.cut_off(id);
            replaces = true;
        }
        self.drawn += 1;
        let entry = Entry {
            lease: delivery.lease,
            delivery: Arc::new(delivery),
            phase: Phase::Opening,
            number: self.drawn,
            expires_at,
            lost: false,
        };
        self.entries.insert(id, entry);
        let hold = Hold {
            delivery: id,
            number: self.drawn,
        };
        if replaces {
            Admission::Replaced(hold)
        } else {
            Admission::New(hold)
        }
    }

    /// The entry of this hold, unless it has ended.
    pub(super) fn get_mut(&mut self, hold: Hold) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&hold.delivery);
        entry.filter(|entry| entry.number == hold.number)
    }

    /// Notes that an attempt runs.
    pub(super) fn attempting(&mut self, hold: Hold, task: AbortHandle) {
        if let Some(entry) = self.get_mut(hold) {
            entry.phase = Phase::Attempting;
            self.attempting.insert(hold.number, task);
        }
    }

    /// Returns true if the attempt of the hold with this number runs.
    pub(super) fn is_attempting(&self, number: u64) -> bool {
        self.attempting.contains_key(&number)
    }

    /// Notes that only the settlement is left to do, and answers the lease to settle; `None` if the hold has ended.
    pub(super) fn settling(&mut self, hold: Hold) -> Option<Lease> {
        let entry = self.get_mut(hold)?;
        entry.phase = Phase::Settling;
        let lease = entry.lease;
        self.attempting.remove(&hold.number);
        Some(lease)
    }

    /// Ends the hold.
    pub(super) fn remove(&mut self, hold: Hold) -> Option<Entry> {
        self.get_mut(hold)?;
        self.attempting.remove(&hold.number);
        self.entries.remove(&hold.delivery)
    }

    /// Cuts the delivery's attempt off, if one runs.
    fn cut_off(&mut self, id: DeliveryId) {
        let number = self.entries.get(&id).map(|entry| entry.number);
        if let Some(task) = number.and_then(|number| self.attempting.remove(&number)) {
            task.abort();
        }
    }

    /// Cuts off every attempt.
    pub(super) fn cut_off_attempts(&mut self) {
        for task in self.attempting.drain().map(|(_, task)| task) {
            task.abort();
        }
    }

    /// Cuts off what is not yet being settled, and answers it in the order of leasing.
    pub(super) fn cut_off_all(&mut self) -> Vec<Hold> {
        self.cut_off_attempts();
        let unsettled = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.phase != Phase::Settling);
        let holds = unsettled.map(|(id, entry)| Hold {
            delivery: *id,
            number: entry.number,
        });
        let mut holds: Vec<_> = holds.collect();
        holds.sort_unstable_by_key(|hold| hold.number);
        holds
    }

    /// The leases that end before `before`.
    pub(super) fn ending(&self, before: Instant) -> Vec<Lease> {
        let ending = self.entries.values();
        ending
            .filter(|entry| !entry.lost && entry.expires_at < before)
            .map(|entry| entry.lease)
            .collect()
    }

    /// Notes how far a lease was extended from `since`, or that it is gone. Answers whether that was news.
    pub(super) fn extended(&mut self, lease: Lease, since: Option<(Instant, Duration)>) -> bool {
        let entry = self.entries.get_mut(&lease.delivery);
        let Some(entry) = entry.filter(|entry| entry.lease == lease) else {
            return false;
        };
        match since {
            Some((since, duration)) => {
                entry.expires_at = since + duration;
                false
            }
            // While it is being settled the lease ends for a good reason.
            None if entry.phase == Phase::Settling => false,
            None => !std::mem::replace(&mut entry.lost, true),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
