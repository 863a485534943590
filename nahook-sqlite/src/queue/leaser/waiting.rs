//! Finds in the file which endpoints have something to lease, and when.

use foldhash::HashMap;
use nahook_core::Timestamp;
use rusqlite::{Connection, params};

use crate::queue::Queue;
use crate::row::maybe_instant_at;

/// Counts the deliveries of all records by endpoint, rows or not …
const MEMBERS_OF_RECORDS: &str = "SELECT member.endpoint, sum(audience.records)
     FROM (SELECT audience AS row, count(*) AS records FROM nahook_queued
         WHERE event NOT IN (SELECT event FROM nahook_submission) GROUP BY audience) AS audience
     JOIN nahook_member AS member ON member.audience = audience.row
     GROUP BY member.endpoint";

/// … and those that are rows.
const ROWS_OF_RECORDS: &str = "SELECT member.endpoint, count(*)
     FROM nahook_queued AS queued
     CROSS JOIN nahook_delivery AS delivery
         ON delivery.key >= queued.event << 20 AND delivery.key < (queued.event + 1) << 20
     CROSS JOIN nahook_member AS member
         ON member.audience = queued.audience AND member.ordinal = delivery.key & 1048575
     WHERE queued.event NOT IN (SELECT event FROM nahook_submission)
     GROUP BY member.endpoint";

/// Counts what is fresh, but for events that are yet to be adopted, and for every endpoint that has rows of deliveries whether one is
/// pending and when the first retry is due, by a few steps in the indexes for each.
pub(super) fn find_waiting(connection: &Connection, queue: &Queue) -> rusqlite::Result<()> {
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
    for (endpoint, count) in fresh(connection)? {
        queue
            .state()
            .found_fresh(endpoint, usize::try_from(count).unwrap_or(0));
    }
    Ok(())
}

/// Endpoints of records, and how many fresh deliveries each has.
fn fresh(connection: &Connection) -> rusqlite::Result<HashMap<i64, i64>> {
    let mut counts: HashMap<i64, i64> = HashMap::default();
    for (statement, sign) in [(MEMBERS_OF_RECORDS, 1), (ROWS_OF_RECORDS, -1)] {
        let mut counted = connection.prepare(statement)?;
        for found in counted.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))? {
            let (endpoint, count) = found?;
            *counts.entry(endpoint).or_default() += sign * count;
        }
    }
    Ok(counts)
}

/// Returns the instant at which the endpoint's first retry after `after` is due.
pub(super) fn first_retry(
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
