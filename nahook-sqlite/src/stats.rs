//! Counts of deliveries: from the memory of the queue and from the indexes, up to a bound.

use foldhash::HashMap;
use nahook_core::id::WorkspaceId;
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{Backlog, DeliveryStats, DeliveryStatus, StatsQuery};
use rusqlite::{Connection, OptionalExtension as _, Rows, Transaction, params};

use crate::catalog::workspace_row;
use crate::queue::{EndpointBacklog, FirstFresh, Leased};
use crate::record::FreshOf;
use crate::row::{instant_at, maybe_instant_at, nanos, split_key, status_codes};
use crate::search::endpoint_ever;
use crate::{Role, SqliteStore};

impl SqliteStore {
    pub(crate) async fn measure_stored(&self, workspace: WorkspaceId) -> Result<u64, StoreError> {
        let readers = self.shared().readers();
        let read = readers.read(move |connection| stored_len(connection, workspace));
        read.await
    }

    pub(crate) async fn measure_backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        let shared = self.shared();
        shared.leaser()?;
        let now = shared.now();
        let backlogs = shared.queue().state().backlogs(None, now);
        let readers = shared.readers();
        let read = readers.read(move |connection| due(connection, &backlogs, now, count_max));
        read.await
    }

    pub(crate) async fn count(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        let shared = self.shared();
        let (readers, query, now) = (shared.readers(), *query, shared.now());
        let endpoints = readers.read(move |connection| endpoints(connection, &query));
        let endpoints = endpoints.await?;
        let serves = shared.role() == Role::Server;
        let backlogs = serves.then(|| shared.queue().state().backlogs(Some(&endpoints), now));
        let read = readers.read(move |connection| {
            let backlogs = backlogs.map_or_else(|| unleased(connection, &endpoints), Ok)?;
            stats(connection, &backlogs, now, &query)
        });
        read.await
    }
}

/// The endpoint of the query, also if it was deleted, or those that the workspace has.
fn endpoints(connection: &Connection, query: &StatsQuery) -> rusqlite::Result<Vec<i64>> {
    if let Some(endpoint) = query.endpoint {
        let found = endpoint_ever(connection, endpoint, query.workspace)?;
        return Ok(found.into_iter().collect());
    }
    connection
        .prepare_cached(
            "SELECT row FROM nahook_endpoint INDEXED BY nahook_endpoint_by_workspace
             WHERE workspace = (SELECT row FROM nahook_workspace WHERE id = ?1) AND deleted_at IS NULL",
        )?
        .query_map([query.workspace.as_str()], |row| row.get(0))?
        .collect()
}

/// The backlogs of these endpoints for a process that does not serve the file.
fn unleased(connection: &Connection, endpoints: &[i64]) -> rusqlite::Result<Vec<EndpointBacklog>> {
    let mut fresh = connection
        .prepare_cached("SELECT count(*), min(key) FROM nahook_fresh WHERE endpoint = ?1")?;
    let backlog = |endpoint: &i64| {
        fresh.query_row([endpoint], |row| {
            let first: Option<i64> = row.get(1)?;
            Ok(EndpointBacklog {
                endpoint: *endpoint,
                fresh: row.get::<_, i64>(0)?.unsigned_abs(),
                first_fresh: first.map_or(FirstFresh::None, FirstFresh::At),
                may_have_pending: true,
                may_have_retries: true,
                leased: HashMap::default(),
            })
        })
    };
    endpoints.iter().map(backlog).collect()
}

/// The key of the first fresh delivery that nobody has leased.
fn first_fresh(
    transaction: &Transaction<'_>,
    backlog: &EndpointBacklog,
) -> rusqlite::Result<Option<i64>> {
    match backlog.first_fresh {
        FirstFresh::At(key) => Ok(Some(key)),
        FirstFresh::Behind(key) if backlog.fresh > 0 => {
            let fresh = FreshOf {
                endpoint: backlog.endpoint,
                keys: key.saturating_add(1)..i64::MAX,
                is_newest_first: false,
                with_submitted: false,
            };
            let (keys, _) = fresh.first(transaction, backlog.leased.len() + 1)?;
            let mut waiting = keys.into_iter();
            Ok(waiting.find(|key| !backlog.leased.contains_key(key)))
        }
        FirstFresh::Behind(_) | FirstFresh::None => Ok(None),
    }
}

/// Counts what is due and not leased.
fn due(
    connection: &Transaction<'_>,
    backlogs: &[EndpointBacklog],
    now: Timestamp,
    count_max: u64,
) -> rusqlite::Result<Backlog> {
    let mut due = Backlog::default();
    let mut oldest = None;
    for backlog in backlogs {
        let first = first_fresh(connection, backlog)?;
        oldest = oldest.into_iter().chain(first).min();
    }
    if let Some(key) = oldest {
        due.add(0, accepted_at(connection, key)?);
    }
    let mut pending = connection.prepare_cached(
        "SELECT key, coalesce(due_at, (SELECT accepted_at FROM nahook_event WHERE seq = key >> 20))
         FROM nahook_delivery INDEXED BY nahook_delivery_by_status WHERE endpoint = ?1 AND status = 0 ORDER BY key",
    )?;
    let mut retries = connection.prepare_cached(
        "SELECT key, due_at FROM nahook_delivery INDEXED BY nahook_delivery_retry
         WHERE endpoint = ?1 AND status = 1 AND due_at <= ?2 ORDER BY due_at",
    )?;
    for backlog in backlogs {
        due.add(backlog.fresh, None);
        // The oldest of each endpoint is looked for in any case.
        let mut count = |rows: &mut Rows<'_>| -> rusqlite::Result<()> {
            let mut is_first = true;
            while let Some(row) = rows.next()? {
                if backlog.leased.contains_key(&row.get(0)?) {
                    continue;
                }
                if is_first {
                    due.add(0, maybe_instant_at(row, 1)?);
                }
                is_first = false;
                if due.due >= count_max {
                    break;
                }
                due.add(1, None);
            }
            Ok(())
        };
        if backlog.may_have_pending {
            count(&mut pending.query([backlog.endpoint])?)?;
        }
        if backlog.may_have_retries {
            count(&mut retries.query(params![backlog.endpoint, nanos(now)])?)?;
        }
    }
    due.due = due.due.min(count_max);
    Ok(due)
}

/// Number of events of a sample.
const SAMPLE: i64 = 4_096;

/// Number of bytes of the workspace's payloads, from a sample of one event of each of so many pieces of the log.
fn stored_len(connection: &Connection, workspace: WorkspaceId) -> rusqlite::Result<u64> {
    let ends = "SELECT coalesce(min(seq), 0), coalesce(max(seq), -1) FROM nahook_event";
    let (first, last): (i64, i64) = connection
        .prepare_cached(ends)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(owner) = workspace_row(connection, workspace)? else {
        return Ok(0);
    };
    let len = last - first + 1;
    let found: i64 = if len <= SAMPLE {
        connection
            .prepare_cached(
                "SELECT coalesce(sum(length(payload)), 0) FROM nahook_event WHERE workspace = ?1",
            )?
            .query_row([owner], |row| row.get(0))?
    } else {
        connection
            .prepare_cached(
                "WITH RECURSIVE piece (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM piece WHERE i < ?4 - 1)
                 SELECT coalesce(sum(length(event.payload)), 0) FROM piece
                 CROSS JOIN nahook_event AS event ON event.seq = ?2 + (i * ?3 + abs(random() % ?3)) / ?4
                 WHERE event.workspace = ?1",
            )?
            .query_row(params![owner, first, len, SAMPLE], |row| row.get(0))?
    };
    let pieces = (len / SAMPLE).max(1);
    Ok(found.saturating_mul(pieces).unsigned_abs())
}

fn accepted_at(connection: &Connection, key: i64) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT accepted_at FROM nahook_event WHERE seq = ?1")?
        .query_row([split_key(key).0], |row| instant_at(row, 0))
        .optional()
}

/// Counts these endpoints' deliveries by status.
fn stats(
    connection: &Transaction<'_>,
    backlogs: &[EndpointBacklog],
    now: Timestamp,
    query: &StatsQuery,
) -> rusqlite::Result<DeliveryStats> {
    let count_max = query.count_max;
    let mut stats = DeliveryStats::default();
    let counted = DeliveryStatus::ALL.into_iter();
    for status in counted.filter(|status| query.counts(*status)) {
        let count = stats.count_mut(status);
        for backlog in backlogs {
            // The file has a leased delivery in the state that it had before.
            let leased_in = |state| backlog.leased.values().filter(|it| **it == state).count();
            let (more, less) = match status {
                DeliveryStatus::Delivering => (backlog.leased.len() as u64, 0),
                DeliveryStatus::Pending => (backlog.fresh, leased_in(Leased::Pending)),
                DeliveryStatus::ScheduledRetry => (0, leased_in(Leased::Retry)),
                _ => (0, 0),
            };
            *count += more;
            let less = less as u64;
            if *count < count_max {
                let max = (count_max - *count).saturating_add(less);
                *count += stored(connection, backlog.endpoint, status, max)?.saturating_sub(less);
            }
        }
        *count = (*count).min(count_max);
    }
    let mut oldest = due(connection, backlogs, now, 0)?;
    for backlog in backlogs {
        oldest.add(0, first_recorded(connection, backlog.endpoint)?);
    }
    stats.oldest_due_at = oldest.oldest_due_at;
    Ok(stats)
}

/// Time at which the first delivery of the endpoint was accepted that a queue elsewhere carries and that waits for its first attempt.
fn first_recorded(connection: &Connection, endpoint: i64) -> rusqlite::Result<Option<Timestamp>> {
    let key = connection
        .prepare_cached(
            "SELECT key FROM nahook_delivery INDEXED BY nahook_delivery_by_status WHERE endpoint = ?1 AND status = 5
             ORDER BY key LIMIT 1",
        )?
        .query_row([endpoint], |row| row.get(0))
        .optional()?;
    key.map_or(Ok(None), |key| accepted_at(connection, key))
}

/// Number of the endpoint's deliveries that the file has in that status, other than fresh ones: at most `max`.
fn stored(
    connection: &Connection,
    endpoint: i64,
    status: DeliveryStatus,
    max: u64,
) -> rusqlite::Result<u64> {
    let mut counted = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM nahook_delivery INDEXED BY nahook_delivery_by_status
         WHERE endpoint = ?1 AND status = ?2 LIMIT ?3)",
    )?;
    let mut count: u64 = 0;
    for code in status_codes(status) {
        let left = i64::try_from(max - count).unwrap_or(i64::MAX);
        let found: i64 = counted.query_row(params![endpoint, code, left], |row| row.get(0))?;
        count += found.unsigned_abs();
    }
    Ok(count)
}
