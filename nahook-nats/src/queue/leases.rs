//! Leases: granting them by turns, extending and ending them.

use std::time::Duration;

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, MessageId};
use nahook_queue::{BatchRoom, Lease, LeaseRequest, LeaseToken, LeasedDelivery, WorkerId};

use super::backlog::Backlog;
use super::state::{Leased, Slot, State};

impl State {
    pub(super) fn reclaim_expired(&mut self, now: Timestamp) {
        while let Some((expires_at, id)) = self.expiries.first().copied()
            && expires_at <= now
        {
            self.end_lease(id);
            self.enqueue(id, now);
        }
    }

    /// Ends the lease of a delivery, if there is one.
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

    /// Ends this lease, if it is still held, and returns the delivery to the backlog.
    pub(super) fn release(&mut self, lease: Lease, now: Timestamp) {
        let slot = self.slots.get(&lease.delivery);
        let held = slot.and_then(|slot| slot.lease.as_ref());
        if held.is_some_and(|held| held.token == lease.token) {
            self.end_lease(lease.delivery);
            self.enqueue(lease.delivery, now);
        }
    }

    /// Leases one delivery of each endpoint in turn, until the request is met or nothing more may be leased.
    pub(super) fn lease(&mut self, request: &LeaseRequest, now: Timestamp) -> Vec<LeasedDelivery> {
        let mut room = BatchRoom::of(request);
        let mut leased = Vec::new();
        let mut turns = std::mem::take(&mut self.turns);
        let waiting = self.backlogs.iter();
        let waiting: Vec<_> = waiting.map(|(id, of)| (of.workspace, *id)).collect();
        turns.go_round(waiting, request.max, |workspace, endpoint| {
            let is_listed = room.is_listed(&endpoint);
            let held = self.leased.get(&(request.worker, endpoint));
            let held = held.copied().unwrap_or_default();
            if held >= room.bound(&endpoint) || room.left(workspace, is_listed) == 0 {
                return false;
            }
            let backlog = self.backlogs.get_mut(&endpoint);
            let Some(id) = backlog.and_then(|backlog| backlog.pop_due(now)) else {
                return false;
            };
            room.take(workspace, is_listed, 1);
            leased.extend(self.hold(id, request, now));
            if self.backlogs.get(&endpoint).is_some_and(Backlog::is_empty) {
                self.backlogs.remove(&endpoint);
            }
            true
        });
        self.turns = turns;
        leased
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
            event_type: slot.event.event_type.as_ref().map(|of| of.name.clone()),
            payload: slot.event.payload.clone(),
            attempts: slot.attempts,
            accepted_at: slot.event.accepted_at,
        })
    }

    /// Leases a delivery of the backlog out of turn.
    pub(super) fn seize(
        &mut self,
        id: DeliveryId,
        worker: WorkerId,
        now: Timestamp,
    ) -> Option<Lease> {
        self.remove_from_backlog(id);
        let endpoint = self.slots.get(&id)?.endpoint;
        if self.backlogs.get(&endpoint).is_some_and(Backlog::is_empty) {
            self.backlogs.remove(&endpoint);
        }
        let request = LeaseRequest::new(worker, 1, Duration::MAX);
        self.hold(id, &request, now).map(|leased| leased.lease)
    }

    /// Next instant at which a held delivery becomes leasable.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let after = now.saturating_add(Duration::from_nanos(1));
        let from = (after, DeliveryId::nth(MessageId::from_bits(0), 0));
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

    /// Marks a delivery that is leased under this token as being settled. Returns `None` if it is not, or already is.
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

    /// Returns a delivery from being settled to being leased.
    pub(super) fn stop_settling(&mut self, lease: Lease) {
        let id = lease.delivery;
        let slot = self.slots.get_mut(&id);
        let held = slot.and_then(|slot| slot.lease.as_mut());
        if let Some(held) = held.filter(|held| held.token == lease.token && held.is_settling) {
            held.is_settling = false;
            self.expiries.insert((held.expires_at, id));
        }
    }
}
