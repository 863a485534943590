//! Records that this process holds, their deliveries, and their leases.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_nats::Subject;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Event, Timestamp};
use nahook_queue::{Lease, LeasedDelivery, Place, Scheduler};
use tokio::time::Instant;

use super::progress::{Index, Kept, Progress, RecordKey};
use crate::layout::Source;
use crate::record::Entry;

#[derive(Default)]
pub(super) struct State {
    /// By source, the number of the consumer's deliveries that have arrived.
    pub(super) seen: [u64; 2],
    /// By source, when the consumer was created that handed out the held records.
    pub(super) consumers: [i128; 2],
    pub(super) records: HashMap<RecordKey, Held>,
    pub(super) slots: HashMap<DeliveryId, Slot>,
    pub(super) scheduler: Scheduler,
    pub(super) index: Index,
    /// Places of deliveries that came twice, to be noted as settled: those in the record with the older state.
    pub(super) superseded: Vec<(RecordKey, u32)>,
    pub(super) bytes: usize,
    /// Deliveries that are being stored elsewhere. They may come back before that is settled.
    pub(super) moving: HashSet<DeliveryId>,
}

/// A record that the stream has given to this process.
pub(super) struct Held {
    /// Subject of its acknowledgement. Empty once the consumer that handed it out is gone.
    pub(super) ack: Subject,
    /// Its deliveries by place, settled ones included.
    pub(super) deliveries: Vec<DeliveryId>,
    pub(super) progress: Progress,
    pub(super) len: usize,
    /// Instant of the last sign of life to the server.
    pub(super) alive_at: Instant,
    /// Instant of the last note of its whole progress.
    pub(super) noted_at: Instant,
}

/// A delivery that is not settled.
pub(super) struct Slot {
    pub(super) record: RecordKey,
    pub(super) place: u32,
    pub(super) event: Arc<Event>,
    pub(super) endpoint: EndpointId,
    pub(super) attempts: u32,
}

impl Slot {
    fn place_at(&self, due_at: Timestamp) -> Place {
        Place {
            workspace: self.event.workspace,
            endpoint: self.endpoint,
            due_at,
            is_retry: self.attempts > 0,
        }
    }
}

/// Result of taking a record in.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    /// It has deliveries to lease.
    Admitted,
    /// All of it was settled before, so it has to be acknowledged.
    Complete,
    /// This process holds it already.
    AlreadyHeld,
}

impl State {
    /// Takes a record in, without the deliveries that are known to be settled.
    pub(super) fn admit(
        &mut self,
        key: RecordKey,
        ack: Subject,
        entries: Vec<Entry>,
        len: usize,
        now: Timestamp,
    ) -> Admission {
        if let Some(held) = self.records.get_mut(&key) {
            // The server expects the newest subject.
            held.ack = ack;
            held.alive_at = Instant::now();
            return Admission::AlreadyHeld;
        }
        let count = entries.iter().map(|entry| entry.items.len()).sum::<usize>();
        let mut progress = Progress::of(u32::try_from(count).unwrap_or(u32::MAX));
        if let Some(known) = self.index.get(&key) {
            progress.merge(known);
        }
        if progress.is_complete() {
            return Admission::Complete;
        }
        let mut deliveries = Vec::with_capacity(count);
        let mut fresh = Vec::new();
        for entry in entries {
            for item in entry.items {
                let place = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
                deliveries.push(item.delivery);
                if progress.is_settled(place) {
                    continue;
                }
                let kept = progress.kept(place);
                let slot = Slot {
                    record: key,
                    place,
                    event: Arc::clone(&entry.event),
                    endpoint: item.endpoint,
                    attempts: kept.map_or(item.attempts, |kept| kept.attempts),
                };
                let due_at = kept.map(|kept| kept.due_at).or(item.due_at);
                let due_at = due_at.unwrap_or(entry.event.accepted_at);
                fresh.push((item.delivery, slot, due_at));
            }
        }
        let held = Held {
            ack,
            deliveries,
            progress,
            len,
            alive_at: Instant::now(),
            noted_at: Instant::now(),
        };
        self.records.insert(key, held);
        self.bytes += len;
        for (id, slot, due_at) in fresh {
            self.take_in(id, slot, due_at, now);
        }
        Admission::Admitted
    }

    /// Takes a delivery in. Of two copies the one with more attempts stays, or the one that has moved.
    fn take_in(&mut self, id: DeliveryId, slot: Slot, due_at: Timestamp, now: Timestamp) {
        if let Some(known) = self.slots.get(&id) {
            if known.attempts >= slot.attempts && !self.moving.contains(&id) {
                self.superseded.push((slot.record, slot.place));
                return;
            }
            if let Some(known) = self.remove_slot(id) {
                self.superseded.push((known.record, known.place));
            }
        }
        self.scheduler.put(id, slot.place_at(due_at), now);
        self.slots.insert(id, slot);
    }

    /// Removes a delivery with its lease.
    pub(super) fn remove_slot(&mut self, id: DeliveryId) -> Option<Slot> {
        self.scheduler.remove(id);
        self.slots.remove(&id)
    }

    /// Ends the delivery's lease and lets it wait, to be attempted again.
    pub(super) fn keep(&mut self, id: DeliveryId, kept: Kept, now: Timestamp) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.attempts = kept.attempts;
            if let Some(held) = self.records.get_mut(&slot.record) {
                held.progress.keep(slot.place, kept);
            }
            self.scheduler.put(id, slot.place_at(kept.due_at), now);
        }
    }

    /// The delivery of a lease that was just granted.
    pub(super) fn leased(&self, lease: Lease) -> Option<LeasedDelivery> {
        let slot = self.slots.get(&lease.delivery)?;
        Some(LeasedDelivery {
            lease,
            message: slot.event.id,
            workspace: slot.event.workspace,
            endpoint: slot.endpoint,
            event_type: slot.event.event_type.as_ref().map(|of| of.name.clone()),
            payload: slot.event.payload.clone(),
            attempts: slot.attempts,
            accepted_at: slot.event.accepted_at,
        })
    }

    /// Begins to settle a lease; returns its delivery and the time at which that was due. `None` if the lease is not held, or is
    /// being settled already.
    pub(super) fn begin_settling(&mut self, lease: Lease) -> Option<(&Slot, Timestamp)> {
        if !self.scheduler.begin_settling(lease) {
            return None;
        }
        let place = self.scheduler.place(lease.delivery)?;
        Some((self.slots.get(&lease.delivery)?, place.due_at))
    }

    /// Settles a delivery. Returns the subject of its record's acknowledgement if that was the last of it.
    pub(super) fn close(&mut self, id: DeliveryId) -> Option<Subject> {
        let slot = self.remove_slot(id)?;
        self.settle_place(slot.record, slot.place)
    }

    /// Settles a delivery that is stored elsewhere, likewise. It stays if it has come back from there.
    pub(super) fn close_moved(
        &mut self,
        id: DeliveryId,
        key: RecordKey,
        place: u32,
    ) -> Option<Subject> {
        if self.slots.get(&id).is_some_and(|slot| slot.record == key) {
            self.remove_slot(id);
        }
        self.settle_place(key, place)
    }

    /// Settles a place of a record, likewise.
    pub(super) fn settle_place(&mut self, key: RecordKey, place: u32) -> Option<Subject> {
        let held = self.records.get_mut(&key)?;
        held.progress.settle(place);
        if !held.progress.is_complete() {
            return None;
        }
        let held = self.records.remove(&key)?;
        self.bytes -= held.len;
        Some(held.ack)
    }

    /// Applies a note of another process, or of this one before. Returns the subject of the record's acknowledgement if it is
    /// complete by now.
    pub(super) fn learn(
        &mut self,
        key: RecordKey,
        noted: &Progress,
        now: Timestamp,
    ) -> Option<Subject> {
        self.index.learn(key, noted);
        let held = self.records.get(&key)?;
        let mut gone = Vec::new();
        let mut kept = Vec::new();
        for (place, id) in (0..).zip(&held.deliveries) {
            if !noted.is_settled(place) && noted.kept(place).is_none() {
                continue;
            }
            let slot = self.slots.get(id).filter(|slot| slot.record == key);
            let Some(slot) = slot.filter(|slot| slot.place == place) else {
                continue;
            };
            // The task that is settling it will end that itself.
            if self.scheduler.is_settling(*id) {
                continue;
            }
            if noted.is_settled(place) {
                gone.push(*id);
            } else if let Some(news) = noted.kept(place)
                && news.attempts > slot.attempts
            {
                kept.push((*id, news));
            }
        }
        for (id, news) in kept {
            self.keep(id, news, now);
        }
        let mut ack = None;
        for id in gone {
            ack = ack.or(self.close(id));
        }
        ack
    }

    /// Forgets the acknowledgements of the records of a stream whose consumer was created again: to the new one they would mean
    /// other records, with the same numbers. It hands out again what is still there.
    pub(super) fn forget_acks(&mut self, source: Source) {
        let of_source = self.records.iter_mut();
        for (_, held) in of_source.filter(|(key, _)| key.source == source) {
            held.ack = Subject::from_static("");
        }
    }

    /// Records of which nothing is leased or settled, the newest first, with `deliveries` deliveries together at most.
    pub(super) fn untouched(&self, deliveries: usize) -> Vec<RecordKey> {
        let is_leased =
            |id: &DeliveryId| !self.slots.contains_key(id) || self.scheduler.is_leased(*id);
        let untouched = self.records.iter().filter(|(_, held)| {
            held.progress.is_untouched() && !held.deliveries.iter().any(is_leased)
        });
        let mut untouched: Vec<_> = untouched
            .map(|(key, held)| (*key, held.deliveries.len()))
            .collect();
        untouched.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(key.stored_at));
        let mut count = 0;
        untouched
            .into_iter()
            .take_while(|(_, len)| {
                count += len;
                count <= deliveries
            })
            .map(|(key, _)| key)
            .collect()
    }

    /// Removes a record without settling anything, so that another process can have it. Returns the subject of its
    /// acknowledgement.
    pub(super) fn let_go(&mut self, key: RecordKey) -> Option<Subject> {
        let held = self.records.remove(&key)?;
        self.bytes -= held.len;
        for id in &held.deliveries {
            if self.slots.get(id).is_some_and(|slot| slot.record == key) {
                self.remove_slot(*id);
            }
        }
        Some(held.ack)
    }
}
