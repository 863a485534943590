//! What this process has in its hands: records, their deliveries, and who has leased which.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_nats::Subject;
use nahook_core::{
    DeliveryId, EndpointId, Event, Lease, LeaseRequest, LeaseToken, LeasedDelivery, Timestamp,
    WorkerId,
};
use tokio::time::Instant;

use super::progress::{Index, Kept, Progress, RecordKey};
use super::waiting::Waiting;
use crate::record::Entry;

#[derive(Default)]
pub(super) struct State {
    /// By source, how many of the consumer's deliveries have come.
    pub(super) seen: [u64; 2],
    pub(super) records: HashMap<RecordKey, Held>,
    pub(super) slots: HashMap<DeliveryId, Slot>,
    pub(super) waiting: BTreeMap<EndpointId, Waiting>,
    pub(super) index: Index,
    /// Deliveries that came twice: to be noted as settled in the record that has the older news.
    pub(super) superseded: Vec<(RecordKey, u32)>,
    pub(super) bytes: usize,
    /// Those that were not due when they began to wait.
    future: BTreeSet<(Timestamp, DeliveryId)>,
    expiries: BTreeSet<(Timestamp, DeliveryId)>,
    leased: HashMap<(WorkerId, EndpointId), usize>,
    /// The endpoint served last: the next lease begins behind it.
    served_last: Option<EndpointId>,
    tokens: u64,
}

/// A record that the stream has given to this process.
pub(super) struct Held {
    /// Where to acknowledge it.
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
    worker: WorkerId,
    expires_at: Timestamp,
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

    pub(super) fn reclaim_expired(&mut self, now: Timestamp) {
        while let Some((expires_at, id)) = self.expiries.first().copied()
            && expires_at <= now
        {
            self.end_lease(id);
            self.enqueue(id, now);
        }
    }

    /// Ends a delivery's lease, whosever it is.
    pub(super) fn end_lease(&mut self, id: DeliveryId) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if let Some(lease) = slot.lease.take() {
            self.expiries.remove(&(lease.expires_at, id));
            let holder = (lease.worker, slot.endpoint);
            if let Some(count) = self.leased.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    self.leased.remove(&holder);
                }
            }
        }
    }

    /// Takes from one endpoint after the other, one each, until nothing more may be taken.
    pub(super) fn lease(&mut self, request: &LeaseRequest, now: Timestamp) -> Vec<LeasedDelivery> {
        let exceptions: HashMap<_, _> = request.exceptions.iter().copied().collect();
        let mut leased = Vec::new();
        let mut in_turn = self.in_turn();
        while leased.len() < request.max && !in_turn.is_empty() {
            in_turn.retain(|endpoint| {
                if leased.len() >= request.max {
                    return true;
                }
                let bound = exceptions
                    .get(endpoint)
                    .unwrap_or(&request.per_endpoint_max);
                let held = self.leased.get(&(request.worker, *endpoint));
                let has_room = held.copied().unwrap_or_default() < *bound;
                let due = self.waiting.get_mut(endpoint).filter(|_| has_room);
                let Some(id) = due.and_then(|waiting| waiting.pop_due(now)) else {
                    return false;
                };
                self.served_last = Some(*endpoint);
                leased.extend(self.hold(id, request, now));
                if self.waiting.get(endpoint).is_some_and(Waiting::is_empty) {
                    self.waiting.remove(endpoint);
                }
                true
            });
        }
        leased
    }

    /// The endpoints for which something waits, beginning behind the one served last.
    fn in_turn(&self) -> Vec<EndpointId> {
        let after = self.served_last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.waiting.range((after, Bound::Unbounded));
        let ahead = self
            .waiting
            .iter()
            .take_while(|(id, _)| self.served_last.is_some_and(|last| **id <= last));
        behind.chain(ahead).map(|(id, _)| *id).collect()
    }

    fn hold(
        &mut self,
        id: DeliveryId,
        request: &LeaseRequest,
        now: Timestamp,
    ) -> Option<LeasedDelivery> {
        self.tokens += 1;
        let token = LeaseToken(self.tokens);
        let expires_at = now.saturating_add(request.duration);
        let slot = self.slots.get_mut(&id)?;
        slot.lease = Some(Leased {
            token,
            worker: request.worker,
            expires_at,
            is_settling: false,
        });
        *self
            .leased
            .entry((request.worker, slot.endpoint))
            .or_default() += 1;
        self.future.remove(&(slot.due_at, id));
        self.expiries.insert((expires_at, id));
        Some(LeasedDelivery {
            lease: Lease {
                delivery: id,
                token,
            },
            message: slot.event.id,
            workspace: slot.event.workspace,
            endpoint: slot.endpoint,
            event_type: Some(slot.event.event_type_name.clone()),
            payload: slot.event.payload.clone(),
            attempts: slot.attempts,
            accepted_at: slot.event.accepted_at,
        })
    }

    /// Leases a delivery that waits, whatever the order.
    pub(super) fn seize(
        &mut self,
        id: DeliveryId,
        worker: WorkerId,
        now: Timestamp,
    ) -> Option<Lease> {
        self.remove_waiting(id);
        let endpoint = self.slots.get(&id)?.endpoint;
        if self.waiting.get(&endpoint).is_some_and(Waiting::is_empty) {
            self.waiting.remove(&endpoint);
        }
        let request = LeaseRequest {
            worker,
            max: 1,
            per_endpoint_max: usize::MAX,
            exceptions: Vec::new(),
            duration: std::time::Duration::MAX,
        };
        self.hold(id, &request, now).map(|leased| leased.lease)
    }

    /// When the passing of time alone makes something leasable here.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let after = now.saturating_add(std::time::Duration::from_nanos(1));
        let from = (
            after,
            DeliveryId::nth(nahook_core::MessageId::from_bits(0), 0),
        );
        let retry = self.future.range(from..).next().map(|(at, _)| *at);
        let expiry = self.expiries.first().map(|(at, _)| *at);
        retry.into_iter().chain(expiry).min()
    }

    pub(super) fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        let id = lease.delivery;
        let slot = self.slots.get_mut(&id);
        let held = slot.and_then(|slot| slot.lease.as_mut());
        let Some(held) = held.filter(|held| held.token == lease.token) else {
            return false;
        };
        if !held.is_settling {
            self.expiries.remove(&(held.expires_at, id));
            self.expiries.insert((expires_at, id));
        }
        held.expires_at = expires_at;
        true
    }

    /// Begins to settle what is leased under this token.
    pub(super) fn begin_settling(&mut self, lease: Lease) -> Option<&Slot> {
        let id = lease.delivery;
        let slot = self.slots.get_mut(&id)?;
        let held = slot.lease.as_mut()?;
        if held.token != lease.token || held.is_settling {
            return None;
        }
        held.is_settling = true;
        self.expiries.remove(&(held.expires_at, id));
        Some(slot)
    }

    /// Settling has come to nothing: the lease is what it was.
    pub(super) fn stop_settling(&mut self, lease: Lease) {
        let id = lease.delivery;
        let slot = self.slots.get_mut(&id);
        let held = slot.and_then(|slot| slot.lease.as_mut());
        if let Some(held) = held.filter(|held| held.token == lease.token && held.is_settling) {
            held.is_settling = false;
            self.expiries.insert((held.expires_at, id));
        }
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

    fn remove_waiting(&mut self, id: DeliveryId) {
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
