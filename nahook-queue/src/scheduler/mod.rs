//! The order in which deliveries are attempted, for queues that hold them in memory.

mod leases;
mod turns;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;
use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};

pub use self::leases::{Held, Leases};
use self::turns::Turns;
use self::waiting::Waiting;
use crate::batch_room::BatchRoom;
use crate::queue::{Backlog, Lease, LeaseRequest, LeaseToken, WorkerId};

/// Deliveries that a queue holds in memory: which are attempted next, and which are leased.
///
/// Workspaces take turns, within each its endpoints, and of an endpoint's deliveries fresh ones and retries. No clock, no I/O and no
/// task: time is a parameter, and the caller keeps what belongs to a delivery.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    deliveries: HashMap<DeliveryId, Scheduled>,
    waiting: BTreeMap<EndpointId, Waiting>,
    /// Those that wait and were not due when they came.
    later: BTreeSet<(Timestamp, DeliveryId)>,
    leases: Leases<EndpointId>,
    turns: Turns,
    last_token: u64,
}

/// A delivery's place in the order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The workspace that it counts for.
    pub workspace: WorkspaceId,
    /// The endpoint that it is for.
    pub endpoint: EndpointId,
    /// Time at which it is to be attempted, at the earliest.
    pub due_at: Timestamp,
    /// True if it was attempted before.
    pub is_retry: bool,
}

#[derive(Clone, Copy, Debug)]
struct Scheduled {
    place: Place,
    /// The lease that it is under; without one it waits.
    lease: Option<LeaseToken>,
}

impl Scheduler {
    /// One whose tokens are greater than this.
    pub(crate) fn with_tokens_above(last_token: u64) -> Self {
        Self {
            last_token,
            ..Self::default()
        }
    }

    /// Lets a delivery wait at this place. One that is known already is moved there, and its lease ends.
    pub fn put(&mut self, id: DeliveryId, place: Place, now: Timestamp) {
        self.remove(id);
        self.deliveries.insert(id, Scheduled { place, lease: None });
        self.wait(id, place);
        if place.due_at > now {
            self.later.insert((place.due_at, id));
        }
    }

    /// Forgets a delivery with its lease. Returns its place, if it was known.
    pub fn remove(&mut self, id: DeliveryId) -> Option<Place> {
        let Scheduled { place, lease } = self.deliveries.remove(&id)?;
        match lease {
            Some(token) => {
                let delivery = id;
                self.leases.end(Lease { delivery, token });
            }
            None => self.leave(id, place),
        }
        Some(place)
    }

    /// Returns the place of a delivery, leased or not.
    pub fn place(&self, id: DeliveryId) -> Option<Place> {
        self.deliveries.get(&id).map(|found| found.place)
    }

    /// Leases deliveries that are due, one of each endpoint in turn, until the request is met or its bounds allow no more.
    pub fn lease(&mut self, request: &LeaseRequest, now: Timestamp) -> Vec<Lease> {
        let mut room = BatchRoom::of(request);
        self.lease_part(request, request.max, &mut room, |_| 0, now)
    }

    /// The same for a part of a batch: at most `max`, within the room that its other parts have left. The worker holds leases of
    /// other queues too, so many for an endpoint.
    pub fn lease_part(
        &mut self,
        request: &LeaseRequest,
        max: usize,
        room: &mut BatchRoom,
        held_elsewhere: impl Fn(EndpointId) -> usize,
        now: Timestamp,
    ) -> Vec<Lease> {
        let expires_at = now.saturating_add(request.duration);
        let mut leased = Vec::new();
        let mut turns = std::mem::take(&mut self.turns);
        let waiting = self.waiting.iter();
        let waiting: Vec<_> = waiting.map(|(id, of)| (of.workspace, *id)).collect();
        turns.go_round(waiting, max, |workspace, endpoint| {
            let is_listed = room.is_listed(&endpoint);
            let held = self.leases.held_by(request.worker, endpoint) + held_elsewhere(endpoint);
            if held >= room.bound(&endpoint) || room.left(workspace, is_listed) == 0 {
                return false;
            }
            let waiting = self.waiting.get_mut(&endpoint);
            let Some(id) = waiting.and_then(|waiting| waiting.pop_due(now)) else {
                return false;
            };
            room.take(workspace, is_listed, 1);
            leased.extend(self.grant(id, request.worker, expires_at));
            true
        });
        self.turns = turns;
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        leased
    }

    /// Leases a delivery out of turn, if it waits.
    pub fn seize(
        &mut self,
        id: DeliveryId,
        worker: WorkerId,
        expires_at: Timestamp,
    ) -> Option<Lease> {
        let found = self.deliveries.get(&id);
        let place = found.filter(|found| found.lease.is_none())?.place;
        self.leave(id, place);
        self.grant(id, worker, expires_at)
    }

    /// Forgets the deliveries whose leases have expired, and answers which.
    pub fn forget_expired(&mut self, now: Timestamp) -> Vec<(DeliveryId, Place)> {
        let mut forgotten = Vec::new();
        while let Some((lease, _)) = self.leases.end_expired(now) {
            let of = self.deliveries.remove(&lease.delivery);
            forgotten.extend(of.map(|of| (lease.delivery, of.place)));
        }
        forgotten
    }

    /// Forgets all deliveries with their leases. No token is given again.
    pub fn forget_all(&mut self) {
        *self = Self::with_tokens_above(self.last_token);
    }

    /// Returns true if the lease is held.
    pub fn holds(&self, lease: Lease) -> bool {
        self.leases.get(lease).is_some()
    }

    /// Those that are leased, in no order.
    pub fn leased(&self) -> impl Iterator<Item = (DeliveryId, Place)> {
        let leased = self.deliveries.iter().filter(|(_, of)| of.lease.is_some());
        leased.map(|(id, of)| (*id, of.place))
    }

    /// Those that wait, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = DeliveryId> {
        let waiting = self.deliveries.iter().filter(|(_, of)| of.lease.is_none());
        waiting.map(|(id, _)| *id)
    }

    /// The endpoints for which a worker holds leases, and how many.
    pub fn held_by(&self, worker: WorkerId) -> impl Iterator<Item = (EndpointId, usize)> {
        self.leases.endpoints_of(worker)
    }

    /// Returns the number of deliveries that wait for an endpoint.
    pub fn waiting_for(&self, endpoint: EndpointId) -> usize {
        self.waiting.get(&endpoint).map_or(0, Waiting::len)
    }

    /// The endpoints for which deliveries wait, and how many.
    pub fn waiting_lens(&self) -> impl Iterator<Item = (EndpointId, usize)> {
        let waiting = self.waiting.iter();
        waiting.map(|(id, of)| (*id, of.len()))
    }

    /// Lets a lease expire at that time instead. Returns false if it is not held.
    pub fn extend(&mut self, lease: Lease, expires_at: Timestamp) -> bool {
        self.leases.extend(lease, expires_at)
    }

    /// Begins to settle a lease, which then does not expire. Returns false if it is not held, or is being settled already.
    ///
    /// It ends by [`put`](Self::put) or [`remove`](Self::remove) of the delivery, by [`release`](Self::release) or by
    /// [`stop_settling`](Self::stop_settling).
    pub fn begin_settling(&mut self, lease: Lease) -> bool {
        self.leases.begin_settling(lease).is_some()
    }

    /// The lease is as if nobody had tried to settle it.
    pub fn stop_settling(&mut self, lease: Lease) {
        self.leases.stop_settling(lease);
    }

    /// Ends a lease as if it had never been: its delivery waits where it was.
    pub fn release(&mut self, lease: Lease) {
        if self.leases.end(lease).is_some() {
            self.wait_again(lease.delivery);
        }
    }

    /// Ends the leases that have expired: their deliveries wait where they were.
    pub fn reclaim_expired(&mut self, now: Timestamp) {
        while let Some((lease, _)) = self.leases.end_expired(now) {
            self.wait_again(lease.delivery);
        }
    }

    /// Returns the next instant after `now` at which the passing of time alone makes something leasable.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let after = now.saturating_add(std::time::Duration::from_nanos(1));
        let later = self.later.range((after, DeliveryId::from_bits(0))..).next();
        let later = later.map(|(at, _)| *at);
        later.into_iter().chain(self.leases.first_expiry()).min()
    }

    /// Measures what is due at `now` and waits.
    pub fn backlog(&self, now: Timestamp) -> Backlog {
        let mut backlog = Backlog::default();
        for waiting in self.waiting.values() {
            let (due, oldest_due_at) = waiting.due(now);
            backlog.add(due, oldest_due_at);
        }
        backlog
    }

    /// Returns true if the delivery is leased.
    pub fn is_leased(&self, id: DeliveryId) -> bool {
        self.held(id).is_some()
    }

    /// Returns true if the delivery's lease is being settled.
    pub fn is_settling(&self, id: DeliveryId) -> bool {
        self.held(id).is_some_and(|held| held.is_settling)
    }

    /// Returns the number of deliveries that wait, due or not.
    pub fn waiting_len(&self) -> usize {
        self.deliveries.len() - self.leases.len()
    }

    /// Returns the endpoint for which most deliveries wait, and how many.
    pub fn longest(&self) -> Option<(EndpointId, usize)> {
        let lens = self.waiting.iter();
        let lens = lens.map(|(id, waiting)| (*id, waiting.len()));
        lens.max_by_key(|(_, len)| *len)
    }

    /// Up to `count` of the deliveries that wait for an endpoint, those first that can wait longest: fresh ones, and then
    /// retries, the latest of each first.
    pub fn last_of(&self, endpoint: EndpointId, count: usize) -> Vec<DeliveryId> {
        let waiting = self.waiting.get(&endpoint);
        waiting.map_or_else(Vec::new, |waiting| waiting.last(count))
    }

    fn held(&self, id: DeliveryId) -> Option<&Held<EndpointId>> {
        let token = self.deliveries.get(&id)?.lease?;
        self.leases.get(Lease {
            delivery: id,
            token,
        })
    }

    fn grant(&mut self, id: DeliveryId, worker: WorkerId, expires_at: Timestamp) -> Option<Lease> {
        let found = self.deliveries.get_mut(&id)?;
        self.last_token += 1;
        let token = LeaseToken(self.last_token);
        found.lease = Some(token);
        let Place {
            endpoint, due_at, ..
        } = found.place;
        self.later.remove(&(due_at, id));
        let lease = Lease {
            delivery: id,
            token,
        };
        let held = Held::new(worker, endpoint, expires_at, ());
        self.leases.grant(lease, held);
        Some(lease)
    }

    /// Its lease has ended.
    fn wait_again(&mut self, id: DeliveryId) {
        if let Some(found) = self.deliveries.get_mut(&id) {
            found.lease = None;
            let place = found.place;
            self.wait(id, place);
        }
    }

    fn wait(&mut self, id: DeliveryId, place: Place) {
        let waiting = self.waiting.entry(place.endpoint);
        let waiting = waiting.or_insert_with(|| Waiting::of(place.workspace));
        waiting.insert(place.due_at, id, place.is_retry);
    }

    fn leave(&mut self, id: DeliveryId, place: Place) {
        self.later.remove(&(place.due_at, id));
        if let Some(waiting) = self.waiting.get_mut(&place.endpoint) {
            waiting.remove(place.due_at, id, place.is_retry);
            if waiting.is_empty() {
                self.waiting.remove(&place.endpoint);
            }
        }
    }
}

#[cfg(test)]
mod tests;
