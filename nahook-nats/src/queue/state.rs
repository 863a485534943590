//! What this process has in its hands: records, their deliveries, and who has leased which.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_nats::Subject;
use nahook_core::{DeliveryId, EndpointId, Event, Timestamp};

use nahook_queue::{LeaseToken, WorkerId};
use tokio::time::Instant;

use super::progress::{Index, Kept, Progress, RecordKey};
use super::waiting::Waiting;
use crate::layout::Source;
use crate::record::Entry;

#[derive(Default)]
pub(super) struct State {
    /// By source, how many of the consumer's deliveries have come.
    pub(super) seen: [u64; 2],
    /// By source, when the consumer was made that gave out what is in hand.
    pub(super) consumers: [i128; 2],
    pub(super) records: HashMap<RecordKey, Held>,
    pub(super) slots: HashMap<DeliveryId, Slot>,
    pub(super) waiting: BTreeMap<EndpointId, Waiting>,
    pub(super) index: Index,
    /// Deliveries that came twice: to be noted as settled in the record that has the older news.
    pub(super) superseded: Vec<(RecordKey, u32)>,
    pub(super) bytes: usize,
    /// Those that were not due when they began to wait.
    pub(super) future: BTreeSet<(Timestamp, DeliveryId)>,
    pub(super) expiries: BTreeSet<(Timestamp, DeliveryId)>,
    pub(super) leased: HashMap<(WorkerId, EndpointId), usize>,
    /// The endpoint served last: the next lease begins behind it.
    pub(super) served_last: Option<EndpointId>,
    pub(super) tokens: u64,
}

/// A record that the stream has given to this process.
pub(super) struct Held {
    /// Where to acknowledge it; empty where nobody would know what is meant.
    pub(super) ack: Subject,
    /// Its deliveries, by place; those that are settled included.
    pub(super) deliveries: Vec<DeliveryId>,
    pub(super) progress: Progress,
    pub(super) len: usize,
    /// When the server last heard that it is in work.
    pub(super) alive_at: Instant,
    /// When all of its progress was last noted.
    pub(super) noted_at: Instant,
}

/// A delivery that is not settled.
pub(super) struct Slot {
    pub(super) record: RecordKey,
    pub(super) place: u32,
    pub(super) event: Arc<Event>,
    pub(super) endpoint: EndpointId,
    pub(super) attempts: u32,
    pub(super) due_at: Timestamp,
    pub(super) lease: Option<Leased>,
}

pub(super) struct Leased {
    pub(super) token: LeaseToken,
    pub(super) worker: WorkerId,
    pub(super) expires_at: Timestamp,
    /// It is being settled: nobody else gets it until that has ended, however long it takes.
    pub(super) is_settling: bool,
}

/// What to do with a record that came.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    /// It has deliveries to lease.
    Admitted,
    /// Everything of it was settled before: it is to be acknowledged.
    Complete,
    /// It is in hand already.
    Known,
}

impl State {
    /// Takes a record in, except for what is known to be settled of it.
    pub(super) fn admit(
        &mut self,
        key: RecordKey,
        ack: Subject,
        entries: Vec<Entry>,
        len: usize,
        now: Timestamp,
    ) -> Admission {
        if let Some(held) = self.records.get_mut(&key) {
            // The newest is what the server counts as this delivery's.
            held.ack = ack;
            held.alive_at = Instant::now();
            return Admission::Known;
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
                    due_at: kept
                        .map(|kept| kept.due_at)
                        .or(item.due_at)
                        .unwrap_or(entry.event.accepted_at),
                    lease: None,
                };
                fresh.push((item.delivery, slot));
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
        for (id, slot) in fresh {
            self.take_in(id, slot, now);
        }
        Admission::Admitted
    }

    /// Takes a delivery in; of two copies the one with more attempts stays.
    fn take_in(&mut self, id: DeliveryId, slot: Slot, now: Timestamp) {
        if let Some(known) = self.slots.get(&id) {
            if known.attempts >= slot.attempts {
                self.superseded.push((slot.record, slot.place));
                return;
            }
            if let Some(known) = self.remove_slot(id) {
                self.superseded.push((known.record, known.place));
            }
        }
        self.slots.insert(id, slot);
        self.enqueue(id, now);
    }

    /// Puts a delivery among those that wait.
    pub(super) fn enqueue(&mut self, id: DeliveryId, now: Timestamp) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let (due_at, is_retry) = (slot.due_at, slot.attempts > 0);
        let waiting = self.waiting.entry(slot.endpoint).or_default();
        waiting.insert(due_at, id, is_retry);
        if due_at > now {
            self.future.insert((due_at, id));
        }
    }

    /// Takes a delivery out of those that wait and out of its lease.
    pub(super) fn remove_slot(&mut self, id: DeliveryId) -> Option<Slot> {
        self.end_lease(id);
        let slot = self.slots.remove(&id)?;
        self.future.remove(&(slot.due_at, id));
        if let Some(waiting) = self.waiting.get_mut(&slot.endpoint) {
            waiting.remove(slot.due_at, id, slot.attempts > 0);
            if waiting.is_empty() {
                self.waiting.remove(&slot.endpoint);
            }
        }
        Some(slot)
    }

    /// The delivery stays in its record, and is due again then.
    pub(super) fn keep(&mut self, id: DeliveryId, kept: Kept, now: Timestamp) {
        self.remove_waiting(id);
        self.end_lease(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.attempts = kept.attempts;
            slot.due_at = kept.due_at;
            if let Some(held) = self.records.get_mut(&slot.record) {
                held.progress.keep(slot.place, kept);
            }
        }
        self.enqueue(id, now);
    }

    pub(super) fn remove_waiting(&mut self, id: DeliveryId) {
        if let Some(slot) = self.slots.get(&id)
            && slot.lease.is_none()
            && let Some(waiting) = self.waiting.get_mut(&slot.endpoint)
        {
            waiting.remove(slot.due_at, id, slot.attempts > 0);
            self.future.remove(&(slot.due_at, id));
        }
    }

    /// The delivery is settled. Answers where to acknowledge its record, if that was the last of it.
    pub(super) fn close(&mut self, id: DeliveryId) -> Option<Subject> {
        let slot = self.remove_slot(id)?;
        self.settle_place(slot.record, slot.place)
    }

    /// The same for a place of a record.
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

    /// Learns what another process, or this one before, has noted. Answers where to acknowledge what is complete by now.
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
            // What is being settled here is settled by whoever does it.
            if slot.lease.as_ref().is_some_and(|lease| lease.is_settling) {
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

    /// Forgets where to acknowledge the records of a stream whose consumer was made again: the new one would take it for
    /// others, that have come to the same places. What is still there it gives out again.
    pub(super) fn forget_acks(&mut self, source: Source) {
        let of_source = self.records.iter_mut();
        for (_, held) in of_source.filter(|(key, _)| key.source == source) {
            held.ack = Subject::from_static("");
        }
    }

    /// How many deliveries nobody has leased.
    pub(super) fn unleased(&self) -> usize {
        self.slots.len() - self.leased.values().sum::<usize>()
    }

    /// Records with about so many deliveries of which none is leased or settled, the newest first.
    pub(super) fn untouched(&self, deliveries: usize) -> Vec<RecordKey> {
        let is_leased = |id| {
            let slot = self.slots.get(id);
            slot.is_none_or(|slot| slot.lease.is_some())
        };
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

    /// Lets go of a record without settling anything: somebody else is to have it.
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
