//! Leasing: reads due rows, endpoint after endpoint, without holding anybody up.

mod names;
mod waiting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use nahook_core::id::DeliveryId;
use nahook_core::{Causes, Clock, StoreError, Timestamp};
use nahook_queue::{BatchRoom, Held, Lease, LeaseBatch, LeaseRequest, LeaseToken, LeasedDelivery};
use rusqlite::{Connection, Row, params};

use self::names::{Names, workspace_of};
use self::waiting::{find_waiting, first_retry};
use super::Queue;
use super::events::Events;
use super::ledger::LeasedRow;
use super::pending::Due;
use super::state::Candidate;
use crate::connection::open_reader;
use crate::error::{Panicked, store_error};
use crate::record::FreshOf;
use crate::row::{nanos, split_key};
use crate::{OpenError, SqliteSettings};

/// Delay before an endpoint whose rows could not be read is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Number of an endpoint's deliveries read at a time, if more are pending than are in memory.
const READ_AHEAD: usize = 256;

/// The one that leases, on a thread of its own: what it finds free stays free until it has leased it.
pub(crate) struct Leaser {
    connection: Connection,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    events: Events,
    names: Names,
}

/// The batch in the making: each delivery with its place among its endpoint's, so that the endpoints take turns in it.
type Batch = Vec<(usize, LeasedDelivery)>;

/// Deliveries taken so far for one lease request.
#[derive(Default)]
struct Taken {
    batch: Batch,
    /// Endpoints that were taken out of the ring.
    endpoints: Vec<i64>,
}

impl Leaser {
    /// Finds out for which endpoints something waits. Nobody else uses the queue yet.
    pub(crate) fn open(
        path: &Path,
        settings: &SqliteSettings,
        queue: Arc<Queue>,
    ) -> Result<Self, OpenError> {
        let connection = open_reader(path, settings)?;
        find_waiting(&connection, &queue)?;
        queue.count_fresh(&*connection.unchecked_transaction()?)?;
        Ok(Self {
            connection,
            queue,
            clock: Arc::clone(&settings.clock),
            events: Events::default(),
            names: Names::default(),
        })
    }

    pub(crate) fn lease(&mut self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        // Read first: what changes from here on is then told by `changed`.
        let generation = self.queue.generation.get();
        let now = self.clock.now();
        let mut room = self.room(request).map_err(store_error)?;
        self.queue.state().reclaim_expired(now);
        self.place_endpoints().map_err(store_error)?;
        self.queue.state().begin_reading();
        let mut taken = Taken::default();
        let leased = catch_unwind(AssertUnwindSafe(|| {
            self.lease_in_turn(request, &mut room, now, &mut taken)
        }));
        let outcome = if let Ok(outcome) = leased {
            outcome.map(|()| taken.batch)
        } else {
            self.abandon(taken);
            Err(StoreError::internal(Panicked))
        };
        let next_due = {
            let mut state = self.queue.state();
            state.end_reading();
            state.next_due()
        };
        let mut batch = outcome?;
        batch.sort_by_key(|(place, _)| *place);
        Ok(LeaseBatch {
            deliveries: batch.into_iter().map(|(_, delivery)| delivery).collect(),
            next_due,
            generation,
        })
    }

    /// Undoes a lease whose answer nobody has received.
    pub(crate) fn give_back(&mut self, batch: Result<LeaseBatch, StoreError>) {
        let Ok(batch) = batch else {
            return;
        };
        {
            let mut state = self.queue.state();
            for delivery in &batch.deliveries {
                state.release(delivery.lease);
            }
        }
        self.queue.wake();
    }

    /// Makes leasable again what a lease that has panicked had taken.
    fn abandon(&self, taken: Taken) {
        let mut state = self.queue.state();
        for (_, delivery) in taken.batch {
            state.release(delivery.lease);
        }
        for endpoint in taken.endpoints {
            state.note_work_again(endpoint);
        }
    }

    /// Returns the room that the request's bounds leave to a batch.
    fn room(&mut self, request: &LeaseRequest) -> rusqlite::Result<BatchRoom<i64, i64>> {
        let mut exceptions = Vec::with_capacity(request.exceptions.len());
        for (id, bound) in &request.exceptions {
            if let Some(row) = self.names.row_of(&self.connection, *id)? {
                exceptions.push((row, *bound));
            }
        }
        let mut workspaces = Vec::with_capacity(request.workspaces.len());
        for bounds in &request.workspaces {
            if let Some(row) = self
                .names
                .workspace_row_of(&self.connection, bounds.workspace)?
            {
                workspaces.push((row, *bounds));
            }
        }
        Ok(BatchRoom::new(request, exceptions, workspaces))
    }

    /// Finds the workspaces of endpoints that were not known before.
    fn place_endpoints(&self) -> rusqlite::Result<()> {
        let unplaced = self.queue.state().take_unplaced();
        let mut failure = None;
        for endpoint in unplaced {
            let found = if failure.is_none() {
                workspace_of(&self.connection, endpoint)
            } else {
                Ok(None)
            };
            let workspace = found.unwrap_or_else(|error| {
                failure = Some(error);
                None
            });
            self.queue.state().place(endpoint, workspace);
        }
        failure.map_or(Ok(()), Err)
    }

    fn lease_in_turn(
        &mut self,
        request: &LeaseRequest,
        room: &mut BatchRoom<i64, i64>,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let Taken { batch, endpoints } = taken;
        let mut failure = None;
        let (mut candidates, mut put_aside) = (Vec::new(), Vec::new());
        while batch.len() < request.max {
            if candidates.is_empty() {
                let mut state = self.queue.state();
                candidates = state.candidates(request.worker, request.max - batch.len(), room);
                endpoints.extend(candidates.iter().map(|candidate| candidate.endpoint));
            }
            if candidates.is_empty() {
                break;
            }
            // As much for each as if all had a backlog; what some leave over goes to the others in the next round.
            let share = (request.max - batch.len()).div_ceil(candidates.len());
            let mut siblings: HashMap<(i64, bool), usize> = HashMap::default();
            for Candidate {
                workspace,
                is_listed,
                ..
            } in &candidates
            {
                *siblings.entry((*workspace, *is_listed)).or_default() += 1;
            }
            for mut candidate in std::mem::take(&mut candidates) {
                let Candidate {
                    workspace,
                    is_listed,
                    ..
                } = candidate;
                let siblings = siblings.entry((workspace, is_listed)).or_insert(1);
                let of_workspace = room.left(workspace, is_listed).div_ceil(*siblings);
                *siblings -= 1;
                let wanted = share.min(candidate.room).min(of_workspace);
                let wanted = wanted.min(request.max - batch.len());
                let before = candidate.leased;
                let leased = self.lease_from(&mut candidate, wanted, request, now, batch);
                room.take(workspace, is_listed, candidate.leased - before);
                match leased {
                    Ok(true) if candidate.room > 0 && candidate.leased > before => {
                        candidates.push(candidate);
                    }
                    // Not again in this batch: at its bound, or what is due was settled since the reading began.
                    Ok(true) => put_aside.push(candidate),
                    Ok(false) => {}
                    Err(error) => {
                        let again_at = now.saturating_add(RETRY_AFTER);
                        self.queue
                            .state()
                            .note_work_at(candidate.endpoint, again_at);
                        tracing::error!(error = %Causes(&error), "the deliveries of an endpoint cannot be read");
                        failure = Some(error);
                    }
                }
            }
        }
        {
            let mut state = self.queue.state();
            for candidate in candidates.into_iter().chain(put_aside) {
                state.enter(candidate.endpoint);
            }
        }
        match failure {
            Some(error) if batch.is_empty() => Err(store_error(error)),
            _ => Ok(()),
        }
    }

    /// Leases up to `wanted` deliveries of one endpoint. Answers whether it has more that is due.
    fn lease_from(
        &mut self,
        candidate: &mut Candidate,
        wanted: usize,
        request: &LeaseRequest,
        now: Timestamp,
        batch: &mut Batch,
    ) -> rusqlite::Result<bool> {
        if wanted == 0 {
            return Ok(true);
        }
        let endpoint = candidate.endpoint;
        let pending = self.pending(endpoint, wanted)?;
        let retries = self.retries_if_any(endpoint, now, wanted)?;
        let has_more_retries = retries.has_more;
        let chosen = choose(candidate, wanted, pending, retries.rows);
        let found = self.read(endpoint, &chosen.rows, request, now);
        let mut state = self.queue.state();
        let has_more_retries = has_more_retries || chosen.has_more_retries;
        if has_more_retries || found.is_err() {
            state.note_retry(endpoint);
        }
        for ((held, mut delivery), due) in found?.into_iter().zip(&chosen.rows) {
            state.pending(endpoint).leased(due.key);
            delivery.lease.token = state.claim(delivery.lease.delivery, held);
            batch.push((candidate.leased, delivery));
            candidate.leased += 1;
            candidate.room -= 1;
        }
        state.set_turn(endpoint, candidate.retry_is_next);
        Ok(has_more_retries || state.pending(endpoint).may_have_any())
    }

    /// The endpoint's first deliveries that wait for nothing, at most `max`: those that are known, or else from the file.
    fn pending(&self, endpoint: i64, max: usize) -> rusqlite::Result<Vec<Due>> {
        let (mark, wanted) = {
            let mut state = self.queue.state();
            // What is leased may come first, and is passed by.
            let wanted = state.known_max().min(READ_AHEAD).max(max) + state.leased(endpoint);
            let pending = state.pending(endpoint);
            let Some(mark) = pending.must_read(max) else {
                return Ok(pending.first(max));
            };
            (mark, wanted)
        };
        let (rows, until) = self.read_pending(endpoint, mark.until, wanted)?;
        let mut state = self.queue.state();
        state.pending_read(endpoint, mark, rows, until);
        Ok(state.pending(endpoint).first(max))
    }

    /// The endpoint's retries that are due and free, if there may be any that no alarm will announce; sets the alarm for
    /// those that are due later.
    fn retries_if_any(
        &self,
        endpoint: i64,
        now: Timestamp,
        max: usize,
    ) -> rusqlite::Result<Retries> {
        let leased = {
            let mut state = self.queue.state();
            if !state.begin_looking_for_retries(endpoint) {
                return Ok(Retries::default());
            }
            state.leased(endpoint)
        };
        let limit = max + leased + 1;
        let found = self.retries(endpoint, now, limit).and_then(|rows| {
            let has_more = rows.len() == limit;
            let first = if has_more {
                None
            } else {
                first_retry(&self.connection, endpoint, nanos(now))?
            };
            Ok((Retries { rows, has_more }, first))
        });
        let mut state = self.queue.state();
        match found {
            Ok((mut retries, first)) => {
                if let Some(at) = first {
                    state.note_work_at(endpoint, at);
                }
                retries.rows.retain(|due| state.is_free(due.key));
                Ok(retries)
            }
            Err(error) => {
                state.note_retry(endpoint);
                Err(error)
            }
        }
    }

    /// Reads what belongs to the chosen rows; their tokens are still to be given.
    fn read(
        &mut self,
        endpoint: i64,
        rows: &[Due],
        request: &LeaseRequest,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<(Held<i64, LeasedRow>, LeasedDelivery)>> {
        let expires_at = now.saturating_add(request.duration);
        let endpoint_id = self.names.id_of(&self.connection, endpoint)?;
        let fresh: Vec<_> = {
            let mut state = self.queue.state();
            let take = |due: &Due| {
                let is_first = due.attempts == 0;
                is_first.then(|| state.fresh_events.take(split_key(due.key).0))?
            };
            rows.iter().map(take).collect()
        };
        let mut found = Vec::with_capacity(rows.len());
        for (due, fresh) in rows.iter().zip(fresh) {
            let (seq, ordinal) = split_key(due.key);
            let event = match fresh {
                Some(event) => event,
                None => self.events.get(&self.connection, seq)?,
            };
            let id = DeliveryId::nth(event.message, ordinal);
            let row = LeasedRow {
                key: due.key,
                attempts: due.attempts,
                is_fresh: due.is_fresh,
            };
            let held = Held::new(request.worker, endpoint, expires_at, row);
            let delivery = LeasedDelivery {
                lease: Lease {
                    delivery: id,
                    token: LeaseToken(0),
                },
                message: event.message,
                workspace: event.workspace,
                endpoint: endpoint_id,
                event_type: event.event_type.clone(),
                payload: event.payload.clone(),
                attempts: due.attempts,
                accepted_at: event.accepted_at,
            };
            found.push((held, delivery));
        }
        Ok(found)
    }

    /// Reads the endpoint's first deliveries behind a key that wait for nothing, and up to which key all were looked at. All of it is of
    /// one moment: what was in a record then is a row later.
    fn read_pending(
        &self,
        endpoint: i64,
        after: i64,
        max: usize,
    ) -> rusqlite::Result<(Vec<Due>, Option<i64>)> {
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let transaction = self.connection.unchecked_transaction()?;
        let mut due: Vec<Due> = transaction
            .prepare_cached(
                "SELECT key, attempts FROM nahook_delivery INDEXED BY nahook_delivery_by_status
                 WHERE endpoint = ?1 AND status = 0 AND key > ?2 ORDER BY key LIMIT ?3",
            )?
            .query_map(params![endpoint, after, limit], due_at)?
            .collect::<rusqlite::Result<_>>()?;
        let last_row = due.last().map(|due| due.key).filter(|_| due.len() == max);
        let fresh = FreshOf {
            endpoint,
            keys: after.saturating_add(1)..i64::MAX,
            is_newest_first: false,
            with_submitted: false,
        };
        let (fresh, last_fresh) = fresh.first(&transaction, max)?;
        due.extend(fresh.into_iter().map(|key| Due {
            key,
            attempts: 0,
            is_fresh: true,
        }));
        let until = last_row.into_iter().chain(last_fresh).min();
        due.retain(|due| until.is_none_or(|until| due.key <= until));
        due.sort_unstable_by_key(|due| due.key);
        Ok((due, until))
    }

    /// Returns retries that are due.
    fn retries(&self, endpoint: i64, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Due>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "SELECT key, attempts FROM nahook_delivery INDEXED BY nahook_delivery_retry
                 WHERE endpoint = ?1 AND status = 1 AND due_at <= ?2
                 ORDER BY due_at, key LIMIT ?3",
            )?
            .query_map(params![endpoint, nanos(now), limit], due_at)?
            .collect()
    }
}

fn due_at(row: &Row<'_>) -> rusqlite::Result<Due> {
    Ok(Due {
        key: row.get(0)?,
        attempts: row.get(1)?,
        is_fresh: false,
    })
}

/// Retries that are due and free.
#[derive(Default)]
struct Retries {
    rows: Vec<Due>,
    /// True if there are others.
    has_more: bool,
}

/// Which rows to lease.
struct Chosen {
    rows: Vec<Due>,
    /// True if retries were left over.
    has_more_retries: bool,
}

/// Takes what waits for nothing and retries by turns.
fn choose(
    candidate: &mut Candidate,
    wanted: usize,
    pending: Vec<Due>,
    retries: Vec<Due>,
) -> Chosen {
    let mut pending = pending.into_iter().peekable();
    let mut retries = retries.into_iter().peekable();
    let mut rows = Vec::new();
    while rows.len() < wanted {
        let take_retry = match (pending.peek(), retries.peek()) {
            (None, None) => break,
            (pending, None) => pending.is_none(),
            (None, Some(_)) => true,
            (Some(_), Some(_)) => candidate.retry_is_next,
        };
        candidate.retry_is_next = !take_retry;
        rows.extend(if take_retry {
            retries.next()
        } else {
            pending.next()
        });
    }
    Chosen {
        rows,
        has_more_retries: retries.peek().is_some(),
    }
}

#[cfg(test)]
mod tests;
