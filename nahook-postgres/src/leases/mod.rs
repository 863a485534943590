//! Ledger of this process's own leases. The database decides; the ledger only keeps workers within their bounds and
//! finds the rows of leases again.

mod events;
mod progress;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nahook_core::Timestamp;
use nahook_core::id::EndpointId;
use nahook_queue::{BatchRoom, Held, Lease, LeaseRequest, LeaseToken, Leases};

pub(crate) use self::events::EventFields;
use self::events::Events;
use self::progress::Cursors;
pub(crate) use self::progress::Progress;

/// Number of endpoints remembered to begin with a retry the next time.
const TURNS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct LeaseLedger {
    pub(crate) events: Events,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// With each delivery's row.
    leases: Leases<EndpointId, i64>,
    /// Number of leases that share a token and have not ended …
    together: HashMap<LeaseToken, usize>,
    /// … and tokens of which all have.
    over: Vec<LeaseToken>,
    /// The row of the endpoint served last.
    served_last: i64,
    cursors: Cursors,
    /// Endpoints whose latest lease was of a fresh delivery while a retry was waiting.
    retry_first: HashSet<i64>,
}

/// Bounds on the leases of a worker.
pub(crate) struct Room {
    /// Endpoints for which another number holds than the usual one …
    pub(crate) endpoints: Vec<EndpointId>,
    /// … and that number.
    pub(crate) rooms: Vec<i64>,
    /// … and true if the request names the endpoint.
    pub(crate) listed: Vec<bool>,
    /// Endpoint to begin after.
    pub(crate) after: i64,
    pub(crate) retry_first: Vec<i64>,
}

impl LeaseLedger {
    pub(crate) fn room(&self, request: &LeaseRequest, now: Timestamp) -> Room {
        let mut state = self.state();
        state.expire(now);
        let listed = request.exceptions.iter();
        let mut rooms: HashMap<_, _> = listed.map(|(id, room)| (*id, (*room, true))).collect();
        for (endpoint, held) in state.leases.endpoints_of(request.worker) {
            let usual = (request.per_endpoint_max, false);
            let (left, _) = rooms.entry(endpoint).or_insert(usual);
            *left = left.saturating_sub(held);
        }
        let as_number = |room| i64::try_from(room).unwrap_or(i64::MAX);
        let rooms = rooms.into_iter();
        let rooms = rooms.map(|(id, (room, is_listed))| (id, (as_number(room), is_listed)));
        let (endpoints, (rooms, listed)) = rooms.unzip();
        Room {
            endpoints,
            rooms,
            listed,
            after: state.served_last,
            retry_first: state.retry_first.iter().copied().collect(),
        }
    }

    /// Notes that the endpoint was served; with a lease of which kind, and whether the other kind was waiting, too.
    pub(crate) fn served(&self, endpoint: i64, is_retry: bool, is_contested: bool) {
        let mut state = self.state();
        state.served_last = endpoint;
        if is_contested && !is_retry && state.retry_first.len() < TURNS_MAX {
            state.retry_first.insert(endpoint);
        } else {
            state.retry_first.remove(&endpoint);
        }
    }

    /// Notes how far a batch has come, whose room this is now: the next one goes on for a workspace that was cut off.
    pub(crate) fn end_turn(&self, room: &BatchRoom, progress: Progress) {
        let mut state = self.state();
        if let Some(after) = state.cursors.next(room, progress) {
            state.served_last = after;
        }
    }

    pub(crate) fn hold(&self, lease: Lease, held: Held<EndpointId, i64>) {
        self.state().leases.grant(lease, held);
    }

    /// All leases with the token are held here: so many.
    pub(crate) fn hold_together(&self, token: LeaseToken, count: usize) {
        self.state().together.insert(token, count);
    }

    /// Tokens whose leases have all been ended; each is told once.
    pub(crate) fn over(&self) -> Vec<LeaseToken> {
        std::mem::take(&mut self.state().over)
    }

    /// The row of a lease that was made here and has not been ended.
    pub(crate) fn key(&self, lease: Lease) -> Option<i64> {
        self.state().leases.get(lease).map(|held| held.kept)
    }

    pub(crate) fn extend(&self, lease: Lease, expires_at: Timestamp) {
        self.state().leases.extend(lease, expires_at);
    }

    /// The database has said that it is settled, or nobody's.
    pub(crate) fn end(&self, lease: Lease) {
        let mut state = self.state();
        if state.leases.end(lease).is_some() {
            state.ended(lease.token);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ended(&mut self, token: LeaseToken) {
        if let Some(count) = self.together.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                self.together.remove(&token);
                self.over.push(token);
            }
        }
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((lease, _)) = self.leases.end_expired(now) {
            // The database may take it for a lease still.
            self.together.remove(&lease.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nahook_core::id::{DeliveryId, MessageId};
    use nahook_queue::WorkerId;
    use nahook_testkit::declare::endpoint_id;

    use super::*;

    #[test]
    fn nothing_is_left_of_leases_that_have_expired() {
        let ledger = LeaseLedger::default();
        let (now, token) = (Timestamp::default(), LeaseToken(1));
        let message = MessageId::from_parts(now, 0);
        for key in 0..2 {
            let delivery = DeliveryId::nth(message, key);
            let held = Held::new(WorkerId(1), endpoint_id("ep_1"), now, key.into());
            ledger.hold(Lease { delivery, token }, held);
        }
        ledger.hold_together(token, 2);
        let request = LeaseRequest::new(WorkerId(1), 1, Duration::from_secs(1));
        ledger.room(&request, now);
        let state = ledger.state();
        assert!(state.leases.is_empty() && state.together.is_empty());
    }
}
