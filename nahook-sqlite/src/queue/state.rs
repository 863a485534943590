//! Which endpoints may have something due, and which will.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use nahook_core::id::DeliveryId;
use nahook_core::{Event, Timestamp};
use nahook_queue::{BatchRoom, Held, Lease, LeaseToken, WorkerId};

use super::events::EventFields;
use super::fresh::FreshEvents;
use super::ledger::{LeaseLedger, LeasedRow};
use super::pending::{Due, Mark, PendingDeliveries};
use super::records::PartialRecords;
use super::rings::{Offer, Rings};

/// Of each endpoint so many deliveries may be known, however many endpoints there are.
const KNOWN_MIN: usize = 32;

/// Leases and pending deliveries. Endpoints and deliveries go by their rows' numbers.
#[derive(Debug)]
pub(crate) struct QueueState {
    pub(super) ledger: LeaseLedger,
    pub(super) endpoints: HashMap<i64, EndpointState>,
    /// Endpoints that may have something due, in the order of their turns …
    rings: Rings,
    /// … and those whose workspace is not known yet.
    unplaced: Vec<i64>,
    /// Instants at which endpoints have their next retry due.
    alarms: BTreeSet<(Timestamp, i64)>,
    /// Deliveries settled since the leasing thread began to read, while it reads: the rows that it sees may be older.
    settled_meanwhile: Option<HashSet<i64>>,
    /// Fresh deliveries that have become rows since then.
    rows_meanwhile: HashSet<i64>,
    /// Endpoints of which something that was settled meanwhile has become due again: it is passed by until the reading ends.
    due_again: Vec<i64>,
    /// About the number of deliveries that are known of all endpoints together, of which each has its share.
    known_of_all: usize,
    /// Number of fresh deliveries, leased or not.
    fresh_len: usize,
    /// These counts may be wrong.
    is_doubtful: bool,
    records: PartialRecords,
    /// Events of other connections that were adopted, and of which the file still says that they were not.
    adopted: Vec<i64>,
    pub(super) fresh_events: FreshEvents,
}

#[derive(Debug, Default)]
pub(super) struct EndpointState {
    pub(super) pending: PendingDeliveries,
    /// Number of its fresh deliveries, leased or not.
    pub(super) fresh: usize,
    /// The file may have a retry that is due and that no alarm announces.
    pub(super) may_have_retry: bool,
    is_in_ring: bool,
    workspace: Option<i64>,
    alarm: Option<Timestamp>,
    /// Takes turns between retries and pending deliveries: a backlog of either leaves every second place to the other.
    retry_is_next: bool,
}

impl EndpointState {
    fn enter(&mut self, endpoint: i64, rings: &mut Rings, unplaced: &mut Vec<i64>) {
        if !std::mem::replace(&mut self.is_in_ring, true) {
            match self.workspace {
                Some(workspace) => rings.push(workspace, endpoint),
                None => unplaced.push(endpoint),
            }
        }
    }
}

/// An endpoint whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) endpoint: i64,
    pub(super) workspace: i64,
    /// The request names the endpoint.
    pub(super) is_listed: bool,
    /// Number of further leases that the worker may have for it.
    pub(super) room: usize,
    pub(super) retry_is_next: bool,
    /// Number of leases in this batch.
    pub(super) leased: usize,
}

impl QueueState {
    pub(super) fn new(first_token: LeaseToken, known_of_all: usize) -> Self {
        Self {
            ledger: LeaseLedger::new(first_token),
            endpoints: HashMap::new(),
            rings: Rings::default(),
            unplaced: Vec::new(),
            alarms: BTreeSet::new(),
            settled_meanwhile: None,
            rows_meanwhile: HashSet::new(),
            due_again: Vec::new(),
            known_of_all,
            fresh_len: 0,
            is_doubtful: false,
            records: PartialRecords::default(),
            adopted: Vec::new(),
            fresh_events: FreshEvents::default(),
        }
    }

    /// Notes that the endpoint may have something due now, whatever it is.
    pub(crate) fn note_work(&mut self, endpoint: i64) {
        let waiting = self.endpoints.entry(endpoint).or_default();
        waiting.pending.doubt();
        waiting.may_have_retry = true;
        self.enter(endpoint);
    }

    /// Returns the number of fresh deliveries, leased or not.
    pub(crate) fn fresh_len(&self) -> usize {
        self.fresh_len
    }

    /// One of the event's fresh deliveries is about to become a row. Returns true if it may be the last: the file knows how many are
    /// left.
    pub(crate) fn begin_row(&mut self, event: i64) -> bool {
        self.records.begin_row(event)
    }

    /// Notes how many fresh deliveries the event has left.
    pub(crate) fn set_left(&mut self, event: i64, left: usize) {
        self.records.set_left(event, left);
    }

    /// Takes the oldest events of too many that have rows and fresh deliveries: up to so many of these are to become rows, too.
    pub(crate) fn take_too_many_records(&mut self, rows_max: usize) -> Vec<i64> {
        self.records.take_too_many(rows_max)
    }

    /// A fresh delivery has become a row, and waits or is leased as before.
    pub(crate) fn became_row(&mut self, endpoint: i64, key: i64) {
        self.uncount_fresh(endpoint);
        self.ledger.became_row(key);
        self.pending(endpoint).became_row(key);
        if self.settled_meanwhile.is_some() {
            self.rows_meanwhile.insert(key);
        }
    }

    fn uncount_fresh(&mut self, endpoint: i64) {
        self.fresh_len = self.fresh_len.saturating_sub(1);
        let waiting = self.endpoints.entry(endpoint).or_default();
        waiting.fresh = waiting.fresh.saturating_sub(1);
    }

    /// Nobody knows what became of a commit, so that the file may have more than is known, or less.
    pub(crate) fn set_doubtful(&mut self) {
        self.is_doubtful = true;
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Nothing of what the file has is known for certain any more.
    pub(super) fn doubt_all(&mut self) {
        self.records = PartialRecords::default();
        for endpoint in self.endpoints.keys().copied().collect::<Vec<_>>() {
            self.note_work(endpoint);
        }
    }

    /// The endpoints and keys of fresh deliveries that are leased.
    pub(super) fn leased_fresh(&self) -> Vec<(i64, i64)> {
        let fresh = self.ledger.leases.all().filter(|held| held.kept.is_fresh);
        fresh.map(|held| (held.endpoint, held.kept.key)).collect()
    }

    /// The file has so many fresh deliveries of each endpoint.
    pub(super) fn set_fresh(&mut self, counts: HashMap<i64, usize>) {
        self.is_doubtful = false;
        self.fresh_len = counts.values().sum();
        for waiting in self.endpoints.values_mut() {
            waiting.fresh = 0;
        }
        for (endpoint, count) in counts {
            self.endpoints.entry(endpoint).or_default().fresh = count;
            self.note_work(endpoint);
        }
    }

    /// Notes that a delivery was queued, which was not there before, and is fresh.
    pub(crate) fn add_fresh(&mut self, endpoint: i64, key: i64) {
        self.fresh_len += 1;
        self.add(endpoint, key, true).fresh += 1;
    }

    /// Notes that a delivery was queued, which was not there before, and is pending.
    pub(crate) fn add_pending(&mut self, endpoint: i64, key: i64) {
        self.add(endpoint, key, false);
    }

    /// Upper bound on the deliveries of an endpoint that are known.
    pub(super) fn known_max(&self) -> usize {
        let share = self.known_of_all / self.endpoints.len().max(1);
        share.max(KNOWN_MIN)
    }

    /// A delivery that was not attempted waits.
    fn add(&mut self, endpoint: i64, key: i64, is_fresh: bool) -> &mut EndpointState {
        let known_max = self.known_max();
        let waiting = self.endpoints.entry(endpoint).or_default();
        // It may have been read of the file, and leased, before this was said.
        if waiting.pending.must_know(key) && self.ledger.held(key).is_none() {
            let due = Due {
                key,
                attempts: 0,
                is_fresh,
            };
            waiting.pending.add(due, known_max);
        }
        waiting.enter(endpoint, &mut self.rings, &mut self.unplaced);
        waiting
    }

    /// Returns the events that were adopted last, of which the file need not say any more that they were not.
    pub(crate) fn adopted(&self) -> &[i64] {
        &self.adopted
    }

    /// Notes that these events were adopted, and that the file no longer mentions those before.
    pub(crate) fn set_adopted(&mut self, events: Vec<i64>) {
        self.adopted = events;
    }

    /// Keeps the event with this number in mind until so many of its deliveries have been leased.
    pub(crate) fn remember_event(&mut self, seq: i64, deliveries: usize, event: &Event) {
        self.fresh_events
            .add(seq, deliveries, || EventFields::of(event));
    }

    /// Puts the endpoint into the ring, whatever is known of it.
    pub(super) fn enter(&mut self, endpoint: i64) {
        let waiting = self.endpoints.entry(endpoint).or_default();
        waiting.enter(endpoint, &mut self.rings, &mut self.unplaced);
    }

    /// Takes the endpoints that wait for [`place`](Self::place).
    pub(super) fn take_unplaced(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.unplaced)
    }

    /// Puts an endpoint that was taken so into the ring of its workspace, or back where that is not known.
    pub(super) fn place(&mut self, endpoint: i64, workspace: Option<i64>) {
        let waiting = self.endpoints.entry(endpoint).or_default();
        waiting.is_in_ring = false;
        waiting.workspace = workspace;
        self.enter(endpoint);
    }

    /// Notes that the endpoint has something due now that may have been settled just before.
    pub(crate) fn note_work_again(&mut self, endpoint: i64) {
        self.note_work(endpoint);
        if self.settled_meanwhile.is_some() {
            self.due_again.push(endpoint);
        }
    }

    /// Notes that the endpoint has something due at `at`.
    pub(crate) fn note_work_at(&mut self, endpoint: i64, at: Timestamp) {
        let waiting = self.endpoints.entry(endpoint).or_default();
        if let Some(earlier) = waiting.alarm {
            if earlier <= at {
                return;
            }
            self.alarms.remove(&(earlier, endpoint));
        }
        waiting.alarm = Some(at);
        self.alarms.insert((at, endpoint));
    }

    /// Returns true if the delivery is leased now.
    pub(crate) fn is_leased(&self, key: i64, now: Timestamp) -> bool {
        self.ledger.held(key).is_some_and(|held| held.is_valid(now))
    }

    /// Returns the deliveries of the endpoint that are leased now.
    pub(crate) fn leased_of(&self, endpoint: i64, now: Timestamp) -> HashSet<i64> {
        let leases = self.leases_of(endpoint);
        leases
            .filter(|held| held.is_valid(now))
            .map(|held| held.kept.key)
            .collect()
    }

    fn leases_of(&self, endpoint: i64) -> impl Iterator<Item = &Held<i64, LeasedRow>> {
        let leases = self.ledger.leases.all();
        leases.filter(move |held| held.endpoint == endpoint)
    }

    /// Takes back what was leased until now or before, and rings the alarms.
    pub(crate) fn reclaim_expired(&mut self, now: Timestamp) {
        while let Some(held) = self.ledger.end_expired(now) {
            self.give_back(&held);
        }
        while let Some((at, endpoint)) = self.alarms.first().copied()
            && at <= now
        {
            self.alarms.pop_first();
            if let Some(waiting) = self.endpoints.get_mut(&endpoint) {
                waiting.alarm = None;
                waiting.may_have_retry = true;
            }
            self.enter(endpoint);
        }
    }

    pub(crate) fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        self.ledger.leases.extend(lease, expires_at)
    }

    /// Begins to settle a lease, which then no longer expires. `None` if it is not held any more.
    pub(crate) fn begin_settling(&mut self, lease: Lease) -> Option<Held<i64, LeasedRow>> {
        self.ledger.leases.begin_settling(lease).copied()
    }

    /// The lease is as if nobody had tried to settle it.
    pub(crate) fn stop_settling(&mut self, lease: Lease) {
        self.ledger.leases.stop_settling(lease);
    }

    /// Ends a lease of something of which something has become.
    pub(crate) fn end(&mut self, lease: Lease) {
        let Some(held) = self.ledger.end(lease) else {
            return;
        };
        if held.kept.is_fresh {
            self.uncount_fresh(held.endpoint);
        }
        if let Some(settled) = &mut self.settled_meanwhile {
            settled.insert(held.kept.key);
        }
    }

    /// Ends a lease as if it had never been, unless it is being settled.
    pub(super) fn release(&mut self, lease: Lease) {
        if self.ledger.leases.begin_settling(lease).is_some() {
            self.put_back(lease);
        }
    }

    /// Ends a lease as if it had never been.
    pub(crate) fn put_back(&mut self, lease: Lease) {
        if let Some(held) = self.ledger.end(lease) {
            self.give_back(&held);
        }
    }

    /// Notes that what was leased may be leased again.
    fn give_back(&mut self, held: &Held<i64, LeasedRow>) {
        if held.kept.is_fresh {
            self.add(held.endpoint, held.kept.key, true);
        } else {
            self.note_work(held.endpoint);
        }
    }

    /// Returns the next instant at which the passing of time alone makes something leasable.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        alarm
            .into_iter()
            .chain(self.ledger.leases.first_expiry())
            .min()
    }
}

/// For the leasing thread.
impl QueueState {
    /// From here on what is settled is remembered, because what is read may be older.
    pub(super) fn begin_reading(&mut self) {
        self.settled_meanwhile = Some(HashSet::new());
    }

    pub(super) fn end_reading(&mut self) {
        self.settled_meanwhile = None;
        self.rows_meanwhile.clear();
        for endpoint in std::mem::take(&mut self.due_again) {
            self.note_work(endpoint);
        }
    }

    /// Takes endpoints whose turn it is out of the rings, at most `max`, as far as the batch has room for them.
    pub(super) fn candidates(
        &mut self,
        worker: WorkerId,
        max: usize,
        room: &BatchRoom<i64, i64>,
    ) -> Vec<Candidate> {
        // Each of them is to get one at least.
        let mut room = room.clone();
        let mut candidates = Vec::new();
        let (leases, endpoints) = (&self.ledger.leases, &mut self.endpoints);
        self.rings.go_round(max, |workspace, endpoint| {
            let is_listed = room.is_listed(&endpoint);
            let left = room.left(workspace, is_listed);
            if left == 0 {
                let is_at_its_end = is_listed || room.left(workspace, true) == 0;
                return if is_at_its_end {
                    Offer::Ends
                } else {
                    Offer::Passes
                };
            }
            let bound = room.bound(&endpoint);
            let of_endpoint = bound.saturating_sub(leases.held_by(worker, endpoint));
            if of_endpoint == 0 {
                return Offer::Passes;
            }
            let waiting = endpoints.entry(endpoint).or_default();
            waiting.is_in_ring = false;
            room.take(workspace, is_listed, 1);
            candidates.push(Candidate {
                endpoint,
                workspace,
                is_listed,
                room: of_endpoint,
                retry_is_next: waiting.retry_is_next,
                leased: 0,
            });
            Offer::Takes
        });
        candidates
    }

    /// Returns the number of leases of the endpoint: as many due rows may have to be skipped.
    pub(super) fn leased(&self, endpoint: i64) -> usize {
        self.ledger.leases.of_endpoint(endpoint)
    }

    /// Returns true if a row that was just read may be leased.
    pub(super) fn is_free(&self, key: i64) -> bool {
        let settled = self.settled_meanwhile.as_ref();
        self.ledger.held(key).is_none() && settled.is_none_or(|settled| !settled.contains(&key))
    }

    /// Leases a delivery that is free.
    pub(crate) fn claim(&mut self, id: DeliveryId, mut held: Held<i64, LeasedRow>) -> LeaseToken {
        held.kept.is_fresh &= !self.rows_meanwhile.contains(&held.kept.key);
        self.ledger.claim(id, held)
    }

    /// Returns the endpoint's pending deliveries.
    pub(super) fn pending(&mut self, endpoint: i64) -> &mut PendingDeliveries {
        &mut self.endpoints.entry(endpoint).or_default().pending
    }

    /// Takes what was read of them behind the mark, up to a key if the file has more. What is leased may come back, which is then
    /// said; what was settled meanwhile is gone.
    pub(super) fn pending_read(
        &mut self,
        endpoint: i64,
        mark: Mark,
        mut rows: Vec<Due>,
        until: Option<i64>,
    ) {
        rows.retain(|due| self.is_free(due.key));
        for due in &mut rows {
            due.is_fresh &= !self.rows_meanwhile.contains(&due.key);
        }
        self.pending(endpoint).read(mark, rows, until);
    }

    /// Returns true if the endpoint's retries have to be read, and marks them as read.
    pub(super) fn begin_looking_for_retries(&mut self, endpoint: i64) -> bool {
        let waiting = self.endpoints.entry(endpoint).or_default();
        std::mem::take(&mut waiting.may_have_retry)
    }

    /// The endpoint has retries that are due and were not leased.
    pub(super) fn note_retry(&mut self, endpoint: i64) {
        self.endpoints.entry(endpoint).or_default().may_have_retry = true;
    }

    pub(super) fn set_turn(&mut self, endpoint: i64, retry_is_next: bool) {
        self.endpoints.entry(endpoint).or_default().retry_is_next = retry_is_next;
    }
}

#[cfg(test)]
mod tests;
