//! Finds in the file which endpoints have rows to lease, and when.

use nahook_core::Timestamp;
use rusqlite::{Connection, params};

use crate::queue::Queue;
use crate::row::maybe_instant_at;

/// Notes for every endpoint that has rows of deliveries whether one is pending and when the first retry is due, by a few steps in the
/// indexes for each.
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
    Ok(())
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
