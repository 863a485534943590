//! Records: the deliveries of an event that wait, in one row, until something has become of each.
//!
//! `nahook_fresh` shows the deliveries of a record that are no rows yet.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::row::split_key;

/// The endpoints of an event's deliveries, by ordinal; `None` where there is no delivery.
pub(crate) type Endpoints = Vec<Option<i64>>;

/// The endpoints of these deliveries of one event, given in ascending order of their ordinals. `None` if a record would be mostly
/// holes.
pub(crate) fn endpoints_of(
    deliveries: impl ExactSizeIterator<Item = (i64, i64)>,
) -> Option<Endpoints> {
    let count = deliveries.len();
    let mut endpoints = Vec::with_capacity(count);
    for (endpoint, key) in deliveries {
        let ordinal = split_key(key).1 as usize;
        if ordinal < endpoints.len() || ordinal >= 2 * count {
            return None;
        }
        endpoints.resize(ordinal, None);
        endpoints.push(Some(endpoint));
    }
    Some(endpoints)
}

/// Writes a record.
pub(crate) fn insert(
    connection: &Connection,
    event: i64,
    endpoints: &Endpoints,
) -> rusqlite::Result<()> {
    let endpoints = serde_json::to_string(endpoints)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached("INSERT INTO nahook_record (event, endpoints) VALUES (?1, ?2)")?
        .execute(params![event, endpoints])?;
    Ok(())
}

/// Removes the record if all of its deliveries are rows.
pub(crate) fn remove_if_done(connection: &Connection, event: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM nahook_record WHERE event = ?1 AND NOT EXISTS (SELECT 1 FROM nahook_fresh WHERE event = ?1)",
        )?
        .execute([event])?;
    Ok(())
}

/// Endpoints and keys of the record's deliveries that are no rows.
pub(crate) fn fresh(connection: &Connection, event: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    connection
        .prepare_cached("SELECT endpoint, key FROM nahook_fresh WHERE event = ?1")?
        .query_map([event], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Makes rows of the record's deliveries, which are then pending as others are.
pub(crate) fn make_rows(connection: &Connection, event: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO nahook_delivery (key, endpoint, status, attempts)
             SELECT key, endpoint, 0, 0 FROM nahook_fresh WHERE event = ?1",
        )?
        .execute([event])?;
    connection
        .prepare_cached("DELETE FROM nahook_record WHERE event = ?1")?
        .execute([event])?;
    Ok(())
}

/// The endpoint of a delivery, if that is in a record and no row.
pub(crate) fn endpoint_at(connection: &Connection, key: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT endpoint FROM nahook_fresh WHERE event = ?1 >> 20 AND key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}
