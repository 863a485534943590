//! Leasing: reads due rows, endpoint after endpoint, without holding anybody up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Causes, Clock, StoreError, Timestamp};
use nahook_queue::{Lease, LeaseBatch, LeaseRequest, LeaseToken, LeasedDelivery};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Queue;
use super::events::Events;
use super::ledger::Claim;
use super::pending::Due;
use super::state::Candidate;
use crate::connection::open_reader;
use crate::error::{Panicked, store_error};
use crate::row::{maybe_instant_at, nanos, parsed_at, split_key};
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
    ids: HashMap<i64, EndpointId>,
    rows: HashMap<EndpointId, i64>,
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
    /// Finds out for which endpoints something waits.
    pub(crate) fn open(
        path: &Path,
        settings: &SqliteSettings,
        queue: Arc<Queue>,
    ) -> Result<Self, OpenError> {
        let connection = open_reader(path, settings)?;
        find_waiting(&connection, &queue)?;
        Ok(Self {
            connection,
            queue,
            clock: Arc::clone(&settings.clock),
            events: Events::default(),
            ids: HashMap::new(),
            rows: HashMap::new(),
        })
    }

    pub(crate) fn lease(&mut self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        // Read first: what changes from here on is then told by `changed`.
        let generation = self.queue.generation();
        let now = self.clock.now();
        let limits = self.limits(request).map_err(store_error)?;
        {
            let mut state = self.queue.state();
            state.reclaim_expired(now);
            state.begin_reading();
        }
        let mut taken = Taken::default();
        let leased = catch_unwind(AssertUnwindSafe(|| {
            self.lease_in_turn(request, &limits, now, &mut taken)
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

    /// Returns the number of leases that the worker may hold for an endpoint, for those with a bound of their own.
    fn limits(&mut self, request: &LeaseRequest) -> rusqlite::Result<HashMap<i64, usize>> {
        let mut limits = HashMap::with_capacity(request.exceptions.len());
        for (id, limit) in &request.exceptions {
            if let Some(row) = self.row_of(*id)? {
                limits.insert(row, *limit);
            }
        }
        Ok(limits)
    }

    fn lease_in_turn(
        &mut self,
        request: &LeaseRequest,
        limits: &HashMap<i64, usize>,
        now: Timestamp,
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let Taken { batch, endpoints } = taken;
        let limit = |endpoint| {
            let limit: Option<&usize> = limits.get(&endpoint);
            limit.copied().unwrap_or(request.per_endpoint_max)
        };
        let mut failure = None;
        let (mut candidates, mut put_aside) = (Vec::new(), Vec::new());
        while batch.len() < request.max {
            if candidates.is_empty() {
                let mut state = self.queue.state();
                candidates = state.candidates(request.worker, request.max - batch.len(), limit);
                endpoints.extend(candidates.iter().map(|candidate| candidate.endpoint));
            }
            if candidates.is_empty() {
                break;
            }
            // As much for each as if all had a backlog; what some leave over goes to the others in the next round.
            let share = (request.max - batch.len()).div_ceil(candidates.len());
            for mut candidate in std::mem::take(&mut candidates) {
                let wanted = share.min(candidate.room).min(request.max - batch.len());
                let before = candidate.leased;
                match self.lease_from(&mut candidate, wanted, request, now, batch) {
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
        for ((claim, mut delivery), due) in found?.into_iter().zip(&chosen.rows) {
            state.pending(endpoint).leased(*due);
            delivery.lease.token = state.claim(claim);
            batch.push((candidate.leased, delivery));
            candidate.leased += 1;
            candidate.room -= 1;
        }
        state.set_turn(endpoint, candidate.retry_is_next);
        Ok(has_more_retries || state.pending(endpoint).may_have_any())
    }

    /// The endpoint's first deliveries that wait for nothing, at most `max`: from memory, or else from the file.
    fn pending(&self, endpoint: i64, max: usize) -> rusqlite::Result<Vec<Due>> {
        let (mark, leased) = {
            let mut state = self.queue.state();
            let Some(mark) = state.pending(endpoint).must_read(max) else {
                return Ok(state.pending(endpoint).first(max));
            };
            (mark, state.leased(endpoint))
        };
        // What is leased comes first and is passed by.
        let limit = max.max(READ_AHEAD) + leased + 1;
        let rows = self.read_pending(endpoint, limit)?;
        let is_partial = rows.len() == limit;
        let mut state = self.queue.state();
        state.pending_read(endpoint, mark, rows, is_partial);
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
    ) -> rusqlite::Result<Vec<(Claim, LeasedDelivery)>> {
        let expires_at = now.saturating_add(request.duration);
        let endpoint_id = self.id_of(endpoint)?;
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
            let claim = Claim {
                key: due.key,
                endpoint,
                id,
                attempts: due.attempts,
                is_fresh: due.is_fresh,
                worker: request.worker,
                expires_at,
            };
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
            found.push((claim, delivery));
        }
        Ok(found)
    }

    /// Returns pending deliveries that are not fresh, oldest first.
    fn read_pending(&self, endpoint: i64, limit: usize) -> rusqlite::Result<Vec<Due>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "SELECT key, attempts FROM nahook_delivery INDEXED BY nahook_delivery_by_status
                 WHERE endpoint = ?1 AND status = 0 ORDER BY key LIMIT ?2",
            )?
            .query_map(params![endpoint, limit], due_at)?
            .collect()
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

    fn id_of(&mut self, row: i64) -> rusqlite::Result<EndpointId> {
        if let Some(id) = self.ids.get(&row) {
            return Ok(*id);
        }
        let id: EndpointId = self
            .connection
            .prepare_cached("SELECT id FROM nahook_endpoint WHERE row = ?1")?
            .query_row([row], |found| parsed_at(found, 0))?;
        self.ids.insert(row, id);
        Ok(id)
    }

    fn row_of(&mut self, id: EndpointId) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.rows.get(&id) {
            return Ok(Some(*row));
        }
        let row: Option<i64> = self
            .connection
            .prepare_cached("SELECT row FROM nahook_endpoint WHERE id = ?1")?
            .query_row([id.as_str()], |found| found.get(0))
            .optional()?;
        if let Some(row) = row {
            self.rows.insert(id, row);
        }
        Ok(row)
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

/// Notes what is fresh, but for events that are yet to be adopted, and for every endpoint that has deliveries whether one is pending and when the first retry is due, by a few
/// steps in the indexes for each.
fn find_waiting(connection: &Connection, queue: &Queue) -> rusqlite::Result<()> {
    let mut next = connection.prepare(
        "SELECT min(endpoint) FROM nahook_delivery INDEXED BY nahook_delivery_by_status WHERE endpoint > ?1
         AND status IS NOT NULL",
    )?;
    let mut pending = connection.prepare(
        "SELECT 1 FROM nahook_delivery INDEXED BY nahook_delivery_by_status
         WHERE endpoint = ?1 AND status = 0 LIMIT 1",
    )?;
    let mut last = i64::MIN;
    while let Some(endpoint) = next.query_row([last], |row| row.get::<_, Option<i64>>(0))? {
        if pending.exists([endpoint])? {
            queue.state().note_work(endpoint);
        }
        if let Some(at) = first_retry(connection, endpoint, i64::MIN)? {
            queue.state().note_work_at(endpoint, at);
        }
        last = endpoint;
    }
    let mut fresh = connection.prepare(
        "SELECT key, endpoint FROM nahook_delivery INDEXED BY nahook_delivery_fresh
         WHERE status IS NULL AND NOT EXISTS (SELECT 1 FROM nahook_submission WHERE event = key >> 20) ORDER BY key",
    )?;
    let mut rows = fresh.query([])?;
    while let Some(row) = rows.next()? {
        queue.state().add_fresh(row.get(1)?, row.get(0)?);
    }
    Ok(())
}

/// Returns the instant at which the endpoint's first retry after `after` is due.
fn first_retry(
    connection: &Connection,
    endpoint: i64,
    after: i64,
) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT min(due_at) FROM nahook_delivery INDEXED BY nahook_delivery_retry
             WHERE endpoint = ?1 AND status = 1 AND due_at > ?2",
        )?
        .query_row(params![endpoint, after], |row| maybe_instant_at(row, 0))
}

#[cfg(test)]
mod tests;
