//! Records that a process has taken from its store: which of their deliveries wait here, which are to become rows.

use std::collections::HashSet;
use std::time::Duration;

use foldhash::HashMap;
use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};

use crate::batch_room::BatchRoom;
use crate::queue::{Backlog, Lease, LeaseRequest, WorkerId};
use crate::scheduler::{Place, Scheduler};

/// From so many deliveries of an audience on that are in hand, no more of its records are taken …
const AUDIENCE_MAX: usize = 4_096;

/// … until so few are, or one of its endpoints has none: a look for more costs the store as much for a few as for many.
const AUDIENCE_LOW: usize = AUDIENCE_MAX / 2;

/// From so many deliveries of all audiences on that are in hand, no more records are taken …
const IN_HAND_MAX: usize = 65_536;

/// … and from so many bytes on that records have here.
const BYTES_MAX: usize = 64 << 20;

/// Time whose leases say how fast an endpoint is.
const WINDOW: Duration = Duration::from_millis(500);

/// Number of windows of an endpoint's own work that stay in hand where there is too much …
const WINDOWS_KEPT: usize = 2;

/// … and where other processes could do it.
const WINDOWS_KEPT_SHARED: usize = 8;

/// Tokens of leases from here are greater. Those that a store draws are signed numbers, so that no lease is taken for another.
const TOKENS: u64 = 1 << 63;

/// The number by which a store knows a record.
pub type RecordKey = i64;

/// A number that records to the same endpoints have in common. Those of one audience are taken in order, and audiences take turns:
/// what waits for one endpoint hides no other's.
pub type Audience = i64;

/// What a process has in hand of the records that it has taken from its store.
///
/// A fan-out is a record until something has become of its deliveries. A process takes records whole, and attempts their deliveries
/// from memory. What cannot wait here becomes a row of the store, where any process leases it: what waits for an endpoint that
/// does not take it soon, and what was leased and not settled in time. A delivery that was settled is a row, too, so that the
/// rows say how far a record has come: whoever takes it after a crash leaves out what is a row. A record all of whose deliveries
/// are rows is finished.
///
/// No clock, no I/O and no task: time is a parameter, and the caller tells the store. The store knows a delivery by a `T`.
#[derive(Clone, Debug)]
pub struct TakenRecords<T> {
    scheduler: Scheduler,
    /// Those in the scheduler, and those that are leaving.
    deliveries: HashMap<DeliveryId, Taken<T>>,
    records: HashMap<RecordKey, Open>,
    audiences: HashMap<Audience, InHand>,
    bytes: usize,
    /// To become rows.
    leaving: HashSet<DeliveryId>,
    finished: HashSet<RecordKey>,
    /// Endpoints of which rows may wait, with their workspaces: what waits here is behind them.
    with_rows: HashMap<EndpointId, WorkspaceId>,
    pace: Pace,
    is_shared: bool,
}

/// A record that is not finished.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Number of its deliveries that are no rows yet.
    left: usize,
    bytes: usize,
    audience: Audience,
}

/// Deliveries of an audience.
#[derive(Clone, Debug, Default)]
struct InHand {
    /// Number of those that are neither rows nor to become some.
    count: usize,
    /// Set at `AUDIENCE_MAX`; cleared at `AUDIENCE_LOW`, or once an endpoint has none.
    is_full: bool,
    /// Endpoints of that record with the most of them.
    endpoints: Vec<EndpointId>,
}

/// Number of leases of each endpoint, in this window and in the one before.
#[derive(Clone, Debug, Default)]
struct Pace {
    since: Timestamp,
    now: HashMap<EndpointId, usize>,
    before: HashMap<EndpointId, usize>,
    /// Endpoints for which deliveries waited when this window began: the others had no chance yet.
    waited: HashSet<EndpointId>,
}

impl Pace {
    fn note(&mut self, endpoint: EndpointId) {
        *self.now.entry(endpoint).or_default() += 1;
    }

    /// Begins another window if this one is over.
    fn turn(&mut self, now: Timestamp) -> bool {
        let is_over = now.saturating_since(self.since) >= WINDOW;
        if is_over {
            self.since = now;
            self.before = std::mem::take(&mut self.now);
        }
        is_over
    }

    fn of(&self, endpoint: EndpointId) -> usize {
        let of = |window: &HashMap<_, usize>| window.get(&endpoint).copied().unwrap_or(0);
        of(&self.now).max(of(&self.before))
    }
}

#[derive(Clone, Copy, Debug)]
struct Taken<T> {
    record: RecordKey,
    due_at: Timestamp,
    known: T,
}

impl<T> Default for TakenRecords<T> {
    fn default() -> Self {
        Self {
            scheduler: Scheduler::with_tokens_above(TOKENS),
            deliveries: HashMap::default(),
            records: HashMap::default(),
            audiences: HashMap::default(),
            bytes: 0,
            leaving: HashSet::new(),
            finished: HashSet::new(),
            with_rows: HashMap::default(),
            pace: Pace::default(),
            is_shared: false,
        }
    }
}

impl<T> TakenRecords<T> {
    /// Takes in a record of so many bytes with those of its deliveries that are no rows. One that is in hand is left as it is.
    pub fn take(
        &mut self,
        record: RecordKey,
        audience: Audience,
        bytes: usize,
        deliveries: impl IntoIterator<Item = (DeliveryId, Place, T)>,
        now: Timestamp,
    ) {
        if self.records.contains_key(&record) || self.finished.contains(&record) {
            return;
        }
        let mut endpoints = Vec::new();
        for (id, place, known) in deliveries {
            let due_at = place.due_at;
            let taken = Taken {
                record,
                due_at,
                known,
            };
            endpoints.push(place.endpoint);
            self.deliveries.insert(id, taken);
            self.scheduler.put(id, place, now);
        }
        let left = endpoints.len();
        if left == 0 {
            self.finished.insert(record);
            return;
        }
        self.bytes += bytes;
        let open = Open {
            left,
            bytes,
            audience,
        };
        self.records.insert(record, open);
        let in_hand = self.audiences.entry(audience).or_default();
        in_hand.count += left;
        in_hand.is_full |= in_hand.count >= AUDIENCE_MAX;
        if endpoints.len() >= in_hand.endpoints.len() {
            in_hand.endpoints = endpoints;
        }
    }

    /// Returns the audiences of which no more records are to be taken now; `None` if none at all are.
    pub fn full(&self) -> Option<Vec<Audience>> {
        let full = self.audiences.iter().filter(|(_, of)| of.is_full);
        (!self.has_too_much()).then(|| full.map(|(audience, _)| *audience).collect())
    }

    fn has_too_much(&self) -> bool {
        self.deliveries.len() >= IN_HAND_MAX || self.bytes >= BYTES_MAX
    }

    /// Leases deliveries for a part of a batch, as [`Scheduler::lease_part`] does.
    pub fn lease(
        &mut self,
        request: &LeaseRequest,
        max: usize,
        room: &mut BatchRoom,
        held_elsewhere: impl Fn(EndpointId) -> usize,
        now: Timestamp,
    ) -> Vec<Lease> {
        self.end_expired(now);
        if self.pace.turn(now) {
            self.let_slow_go();
            let waiting = self.scheduler.waiting_lens();
            self.pace.waited = waiting.map(|(endpoint, _)| endpoint).collect();
        }
        self.feed_starving();
        let with_rows = &self.with_rows;
        let held = |endpoint| {
            if with_rows.contains_key(&endpoint) {
                usize::MAX / 2
            } else {
                held_elsewhere(endpoint)
            }
        };
        let leases = self.scheduler.lease_part(request, max, room, held, now);
        for lease in &leases {
            if let Some(place) = self.scheduler.place(lease.delivery) {
                self.pace.note(place.endpoint);
            }
        }
        leases
    }

    /// Counts a lease of a row.
    pub fn note_row(&mut self, endpoint: EndpointId) {
        self.pace.note(endpoint);
    }

    /// Notes that other processes attempt deliveries as well, or that none does.
    pub fn set_shared(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
    }

    /// Where too much is in hand, or others could attempt it, lets those go that their endpoints do not take soon.
    fn let_slow_go(&mut self) {
        let kept = match (self.has_too_much(), self.is_shared) {
            (true, _) => WINDOWS_KEPT,
            (false, true) => WINDOWS_KEPT_SHARED,
            (false, false) => return,
        };
        let waiting = self.scheduler.waiting_lens();
        let waited = waiting.filter(|(endpoint, _)| self.pace.waited.contains(endpoint));
        for (endpoint, len) in waited.collect::<Vec<_>>() {
            self.let_go_beyond(endpoint, len, kept * self.pace.of(endpoint));
        }
    }

    /// Lets further records be taken of a full audience one of whose endpoints has nothing left to attempt. If there is no room for
    /// them, lets deliveries to the slower endpoints go.
    fn feed_starving(&mut self) {
        let mut slow = Vec::new();
        for of in self.audiences.values_mut().filter(|of| of.is_full) {
            let mut endpoints = of.endpoints.iter();
            of.is_full = endpoints
                .all(|id| self.scheduler.waiting_for(*id) > 0 || self.with_rows.contains_key(id));
            if !of.is_full && of.count >= AUDIENCE_MAX {
                slow.extend_from_slice(&of.endpoints);
            }
        }
        for endpoint in slow {
            let len = self.scheduler.waiting_for(endpoint);
            self.let_go_beyond(endpoint, len, self.pace.of(endpoint));
        }
        for of in self.audiences.values_mut() {
            of.is_full |= of.count >= AUDIENCE_MAX;
        }
    }

    /// Lets the last of the endpoint's deliveries go, of which `len` wait, but for so many.
    fn let_go_beyond(&mut self, endpoint: EndpointId, len: usize, kept: usize) {
        let beyond = len.saturating_sub(kept);
        for id in self.scheduler.last_of(endpoint, beyond) {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: DeliveryId) {
        let place = self.scheduler.remove(id);
        self.with_rows
            .extend(place.map(|place| (place.endpoint, place.workspace)));
        self.count_out(id);
        self.leaving.insert(id);
    }

    /// A delivery of its audience is in hand no more.
    fn count_out(&mut self, id: DeliveryId) {
        let taken = self.deliveries.get(&id);
        let open = taken.and_then(|taken| self.records.get(&taken.record));
        let Some(audience) = open.map(|open| open.audience) else {
            return;
        };
        if let Some(of) = self.audiences.get_mut(&audience) {
            of.count -= 1;
            of.is_full &= of.count > AUDIENCE_LOW;
            if of.count == 0 {
                self.audiences.remove(&audience);
            }
        }
    }

    /// What the store knows of a delivery that is in hand.
    pub fn get(&self, id: DeliveryId) -> Option<&T> {
        self.deliveries.get(&id).map(|taken| &taken.known)
    }

    /// Returns true if the lease was made here, and has neither ended nor expired.
    pub fn holds(&self, lease: Lease) -> bool {
        self.scheduler.holds(lease)
    }

    /// Lets a lease expire at that time instead. Returns false if it is not held.
    pub fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        self.scheduler.extend(lease, expires_at)
    }

    /// Begins to settle a lease, which then does not expire. Returns false if it is not held, or is being settled already.
    pub fn begin_settling(&mut self, lease: Lease) -> bool {
        self.scheduler.begin_settling(lease)
    }

    /// The lease is as if nobody had tried to settle it: the store may have done it or not, and says so the next time.
    pub fn stop_settling(&mut self, lease: Lease) {
        self.scheduler.stop_settling(lease);
    }

    /// Ends a lease as if it had never been: its delivery waits where it was.
    pub fn release(&mut self, lease: Lease) {
        self.scheduler.release(lease);
    }

    /// The delivery is a row now, whoever has made it one.
    pub fn is_row(&mut self, id: DeliveryId) {
        if !self.leaving.remove(&id) {
            self.count_out(id);
        }
        let Some(taken) = self.deliveries.remove(&id) else {
            return;
        };
        self.scheduler.remove(id);
        if let Some(open) = self.records.get_mut(&taken.record) {
            open.left -= 1;
            if open.left == 0 {
                self.bytes -= open.bytes;
                self.records.remove(&taken.record);
                self.finished.insert(taken.record);
            }
        }
    }

    /// Those that are to become rows.
    pub fn leaving(&mut self, now: Timestamp) -> Vec<DeliveryId> {
        self.end_expired(now);
        self.leaving.iter().copied().collect()
    }

    /// Lets go of everything that waits here, for any process to lease.
    pub fn let_go(&mut self) {
        let waiting: Vec<_> = self.scheduler.waiting().collect();
        for id in waiting {
            self.leave(id);
        }
    }

    /// All rows that are ready were leased to the worker, but those for which there was no room: `held` says how many it has.
    pub fn note_all_rows_leased(&mut self, room: &BatchRoom, held: impl Fn(EndpointId) -> usize) {
        if self.leaving.is_empty() {
            self.with_rows.retain(|endpoint, workspace| {
                let is_listed = room.is_listed(endpoint);
                held(*endpoint) >= room.bound(endpoint) || room.left(*workspace, is_listed) == 0
            });
        }
    }

    /// Records all of whose deliveries are rows.
    pub fn finished(&self) -> Vec<RecordKey> {
        self.finished.iter().copied().collect()
    }

    /// The store has removed these records.
    pub fn forget_finished(&mut self, records: &[RecordKey]) {
        for record in records {
            self.finished.remove(record);
        }
    }

    /// The records in hand, finished or not.
    pub fn records(&self) -> Vec<RecordKey> {
        let open = self.records.keys().chain(&self.finished);
        open.copied().collect()
    }

    /// Forgets everything: it is in the hands of others.
    pub fn forget(&mut self) {
        let mut scheduler = std::mem::take(&mut self.scheduler);
        scheduler.forget_all();
        *self = Self {
            scheduler,
            is_shared: self.is_shared,
            ..Self::default()
        };
    }

    /// Returns true if the delivery is leased from here.
    pub fn is_leased(&self, id: DeliveryId) -> bool {
        self.scheduler.is_leased(id)
    }

    /// The deliveries that are leased from here, in no order.
    pub fn leased(&self) -> impl Iterator<Item = (DeliveryId, Place)> {
        self.scheduler.leased()
    }

    /// The endpoints for which a worker holds leases from here, and how many.
    pub fn held_by(&self, worker: WorkerId) -> impl Iterator<Item = (EndpointId, usize)> {
        self.scheduler.held_by(worker)
    }

    /// Measures what is due at `now` and waits here, to be leased or to become a row.
    pub fn backlog(&mut self, now: Timestamp) -> Backlog {
        self.end_expired(now);
        let mut backlog = self.scheduler.backlog(now);
        let leaving = self.leaving.iter();
        let due = leaving.filter_map(|id| Some(self.deliveries.get(id)?.due_at));
        backlog.add(self.leaving.len() as u64, due.min());
        backlog
    }

    /// Returns the next instant after `now` at which the passing of time alone makes something leasable.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.scheduler.next_due(now)
    }

    fn end_expired(&mut self, now: Timestamp) {
        for (id, place) in self.scheduler.forget_expired(now) {
            self.with_rows.insert(place.endpoint, place.workspace);
            self.count_out(id);
            self.leaving.insert(id);
        }
    }
}

#[cfg(test)]
mod tests;
