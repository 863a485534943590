//! The records that this process has taken, and its leases of rows. Of rows the database decides; the ledger only
//! keeps workers within their bounds and finds the rows of leases again.

mod events;
mod progress;
mod search;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_queue::{
    BatchRoom, Held, Lease, LeaseRequest, LeaseToken, LeasedDelivery, Leases, TakenRecords,
    WorkerId,
};

use tokio::time::Instant;

pub(crate) use self::events::EventFields;
use self::events::Events;
use self::progress::Cursors;
pub(crate) use self::progress::Progress;
pub(crate) use self::search::{Found, Looked, Search};

/// Number of endpoints remembered to begin with a retry the next time.
const TURNS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct LeaseLedger {
    pub(crate) events: Events,
    /// Held by whoever takes records, with what is known of the process.
    pub(crate) process: tokio::sync::Mutex<Process>,
    state: Mutex<State>,
}

/// This process as the database knows it.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// True once the loop runs that keeps it known.
    pub(crate) is_kept: bool,
    /// True while records may have been taken that are not in hand.
    pub(crate) is_unsure: bool,
    /// Number of times that it has read which those are: the database refuses to take records under a smaller one.
    pub(crate) looks: i64,
    /// Instant at which records were last looked for.
    pub(crate) looked_at: Option<Instant>,
    /// The looks for them.
    pub(crate) search: Search,
    /// The row of the workspace whose records were taken last.
    pub(crate) taken_last: i64,
    /// Endpoints by their rows, as far as they were asked for.
    pub(crate) endpoints: HashMap<i64, EndpointId>,
}

/// A delivery of a record in hand.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    pub(crate) key: i64,
    pub(crate) endpoint: EndpointId,
    pub(crate) endpoint_row: i64,
    pub(crate) event: Arc<EventFields>,
}

#[derive(Debug, Default)]
struct State {
    /// The number by which the database knows this process; 0 while it does not.
    token: i64,
    taken: TakenRecords<InHand>,
    /// True if somebody has asked for leases since this was last looked at.
    was_asked: bool,
    /// True if rows go before records in the next batch.
    rows_first: bool,
    /// True if rows that are ready wait for room.
    rows_blocked: bool,
    /// The next time at which rows become ready.
    next_row: Option<Timestamp>,
    /// Leases of rows, with each delivery's.
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
        let from_records = state.taken.held_by(request.worker);
        for (endpoint, held) in state
            .leases
            .endpoints_of(request.worker)
            .chain(from_records)
        {
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
        let mut state = self.state();
        state.taken.note_row(held.endpoint);
        state.leases.grant(lease, held);
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

/// Rows that are ready.
impl LeaseLedger {
    /// Returns true if rows go before records in this batch: they take turns.
    pub(crate) fn rows_go_first(&self) -> bool {
        let mut state = self.state();
        state.was_asked = true;
        state.rows_first = !state.rows_first;
        state.rows_first
    }

    /// Returns true if rows have become ready by the passing of time.
    pub(crate) fn are_rows_due(&self, now: Timestamp) -> bool {
        self.state().next_row.is_some_and(|next| next <= now)
    }

    /// The database has said when the next row becomes ready.
    pub(crate) fn set_next_row(&self, next: Option<Timestamp>) {
        self.state().next_row = next;
    }

    /// A row becomes ready then.
    pub(crate) fn note_next_row(&self, at: Timestamp) {
        let mut state = self.state();
        state.next_row = Some(state.next_row.map_or(at, |next| next.min(at)));
    }

    /// All rows that are ready were leased, but those for which there was no room: if there are any.
    pub(crate) fn note_all_rows_leased(
        &self,
        worker: WorkerId,
        room: &BatchRoom,
        is_blocked: bool,
    ) {
        let State {
            taken,
            leases,
            rows_blocked,
            ..
        } = &mut *self.state();
        *rows_blocked = is_blocked;
        taken.note_all_rows_leased(room, |endpoint| leases.held_by(worker, endpoint));
    }

    /// Returns true if rows wait for room.
    pub(crate) fn are_rows_blocked(&self) -> bool {
        self.state().rows_blocked
    }

    /// The next instant at which the passing of time makes something leasable.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let state = self.state();
        let next = state.taken.next_due(now).into_iter();
        next.chain(state.next_row).min()
    }
}

/// Records in hand.
impl LeaseLedger {
    /// The number by which the database knows this process, if it does.
    pub(crate) fn token(&self) -> Option<i64> {
        Some(self.state().token).filter(|token| *token != 0)
    }

    /// The database knows the process by this number from now on.
    pub(crate) fn register(&self, token: i64) {
        let mut state = self.state();
        state.taken.forget();
        state.token = token;
    }

    /// The database does not know the process with this number any more: what it had in hand is anybody's.
    pub(crate) fn lose(&self, token: i64) {
        let mut state = self.state();
        if state.token == token {
            tracing::warn!(
                "this process was taken for dead; others go on with what it had in hand"
            );
            state.taken.forget();
            state.token = 0;
        }
    }

    /// Reads or changes what is in hand.
    pub(crate) fn with_taken<T>(&self, act: impl FnOnce(&mut TakenRecords<InHand>) -> T) -> T {
        act(&mut self.state().taken)
    }

    /// Leases deliveries of records in hand.
    pub(crate) fn lease(
        &self,
        request: &LeaseRequest,
        max: usize,
        room: &mut BatchRoom,
        now: Timestamp,
    ) -> Vec<LeasedDelivery> {
        let State { taken, leases, .. } = &mut *self.state();
        let held = |endpoint| leases.held_by(request.worker, endpoint);
        let leased = taken.lease(request, max, room, held, now);
        let leased = leased.into_iter();
        let leased = leased.filter_map(|lease| Some((lease, taken.get(lease.delivery)?)));
        leased
            .map(|(lease, of)| of.event.leased(lease, of.endpoint, 0))
            .collect()
    }

    /// Returns true once if nobody has asked for leases since the last time.
    pub(crate) fn is_idle(&self) -> bool {
        !std::mem::take(&mut self.state().was_asked)
    }

    /// Keys of the deliveries of a workspace, and of an endpoint if one is given, that are being attempted from records.
    pub(crate) fn being_attempted(
        &self,
        workspace: WorkspaceId,
        endpoint: Option<EndpointId>,
    ) -> Vec<i64> {
        let state = self.state();
        let leased = state.taken.leased().filter(|(_, place)| {
            place.workspace == workspace && endpoint.is_none_or(|id| place.endpoint == id)
        });
        let keys = leased.filter_map(|(id, _)| Some(state.taken.get(id)?.key));
        keys.collect()
    }

    /// Returns true if the delivery is being attempted from a record.
    pub(crate) fn is_being_attempted(&self, id: DeliveryId) -> bool {
        self.state().taken.is_leased(id)
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
mod tests;
