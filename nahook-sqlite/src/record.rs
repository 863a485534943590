//! Records: the deliveries of an event that wait, in one row, until something has become of each.
//!
//! `nahook_fresh` shows the deliveries of a record that are no rows yet.

use rusqlite::{Connection, OptionalExtension as _};

use crate::row::split_key;
use crate::writer::Session;

/// The first deliveries of an event's record that are no rows.
const FIRST: &str = "SELECT member.endpoint, (?1 << 20) | member.ordinal
     FROM nahook_queued AS queued JOIN nahook_member AS member ON member.audience = queued.audience
     WHERE queued.event = ?1
         AND NOT EXISTS (SELECT 1 FROM nahook_delivery WHERE key = (?1 << 20) | member.ordinal)
     ORDER BY member.ordinal LIMIT ?2";

/// The endpoint of a key's delivery, if that is in a record and no row.
const AT: &str = "SELECT member.endpoint
     FROM nahook_queued AS queued JOIN nahook_member AS member ON member.audience = queued.audience
     WHERE queued.event = ?1 >> 20 AND member.ordinal = ?1 & 1048575
         AND NOT EXISTS (SELECT 1 FROM nahook_delivery WHERE key = ?1)";

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
    session: &mut Session,
    event: i64,
    endpoints: Endpoints,
) -> rusqlite::Result<()> {
    let audience = session.audience(endpoints)?;
    session
        .connection()
        .prepare_cached("INSERT INTO nahook_queued (event, audience) VALUES (?1, ?2)")?
        .execute([event, audience])?;
    Ok(())
}

/// The row of the audience of these endpoints, which is made if there is none.
pub(crate) fn audience_of(connection: &Connection, endpoints: &Endpoints) -> rusqlite::Result<i64> {
    let endpoints = serde_json::to_string(endpoints)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached(
            "INSERT INTO nahook_audience (endpoints) VALUES (?1) ON CONFLICT DO NOTHING",
        )?
        .execute([&endpoints])?;
    connection
        .prepare_cached("SELECT row FROM nahook_audience WHERE endpoints = ?1")?
        .query_row([&endpoints], |row| row.get(0))
}

/// Removes the record if all of its deliveries are rows.
pub(crate) fn remove_if_done(connection: &Connection, event: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM nahook_queued WHERE event = ?1 AND NOT EXISTS (SELECT 1 FROM nahook_fresh WHERE event = ?1)",
        )?
        .execute([event])?;
    Ok(())
}

/// Endpoints and keys of the first deliveries of the record that are no rows.
pub(crate) fn fresh(
    connection: &Connection,
    event: i64,
    max: usize,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    connection
        .prepare_cached(FIRST)?
        .query_map([event, max], |row| Ok((row.get(0)?, row.get(1)?)))?
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
        .prepare_cached("DELETE FROM nahook_queued WHERE event = ?1")?
        .execute([event])?;
    Ok(())
}

/// The endpoint of a delivery, if that is in a record and no row.
pub(crate) fn endpoint_at(connection: &Connection, key: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(AT)?
        .query_row([key], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::schema::{empty, plan_of};

    /// A record of the event 1, and rows of these of its ordinals.
    fn with_record(endpoints: &Endpoints, rows: &[i64]) -> Session {
        let mut session = Session::new(empty(), Role::Server);
        insert(&mut session, 1, endpoints.clone()).unwrap();
        for ordinal in rows {
            let row = "INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES ((1 << 20) + ?1, 5, 2, 1)";
            session.connection().execute(row, [ordinal]).unwrap();
        }
        session
    }

    fn deliveries(ordinals: &[i64]) -> impl ExactSizeIterator<Item = (i64, i64)> {
        ordinals
            .iter()
            .map(|ordinal| (10 + ordinal, (3 << 20) + ordinal))
    }

    #[test]
    fn endpoints_stand_at_their_ordinals() {
        let of = |ordinals: &[i64]| endpoints_of(deliveries(ordinals));
        assert_eq!(of(&[0, 1]), Some(vec![Some(10), Some(11)]));
        assert_eq!(of(&[1, 3]), Some(vec![None, Some(11), None, Some(13)]));
        // Mostly holes, out of order, twice.
        for unfit in [&[1, 4][..], &[2], &[1, 0], &[0, 0]] {
            assert_eq!(of(unfit), None, "{unfit:?}");
        }
    }

    #[test]
    fn record_is_removed_with_its_last_delivery_that_is_no_row_and_not_before() {
        let endpoints = vec![Some(5), None, Some(6), Some(7)];
        for (rows, is_done) in [
            (&[][..], false),
            (&[0, 2], false),
            (&[0, 3], false),
            (&[0, 1, 2], false),
            (&[0, 2, 3], true),
        ] {
            let session = with_record(&endpoints, rows);
            let connection = session.connection();
            remove_if_done(connection, 1).unwrap();
            let record = "SELECT count(*) FROM nahook_record";
            let left: i64 = connection.query_row(record, [], |row| row.get(0)).unwrap();
            assert_eq!(left == 0, is_done, "{rows:?}");
        }
    }

    #[test]
    fn what_is_fresh_is_what_is_no_row() {
        let session = with_record(&vec![Some(5), None, Some(i64::MAX), Some(7)], &[3]);
        let connection = session.connection();
        let key = |ordinal: i64| (1 << 20) + ordinal;
        let expected = [(5, key(0)), (i64::MAX, key(2))];
        assert_eq!(fresh(connection, 1, 9).unwrap(), expected);
        let endpoints = [0, 1, 2, 3, 4].map(|at| endpoint_at(connection, key(at)).unwrap());
        assert_eq!(endpoints, [Some(5), None, Some(i64::MAX), None, None]);
        make_rows(connection, 1).unwrap();
        assert!(fresh(connection, 1, 9).unwrap().is_empty());
        let rows = "SELECT group_concat(endpoint || ':' || status, ' ') FROM nahook_delivery";
        let rows: String = connection.query_row(rows, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, format!("5:0 {}:0 5:2", i64::MAX));
    }

    #[test]
    fn deliveries_of_a_record_are_found_by_its_event() {
        for statement in [FIRST, AT] {
            let plan = plan_of(&empty(), statement);
            let by_key = |of: &str, key: &str| {
                let search = format!("SEARCH {of} USING {key}");
                plan.iter().any(|step| step.starts_with(&search))
            };
            assert!(by_key("queued", "INTEGER PRIMARY KEY"), "{plan:?}");
            assert!(by_key("member", "PRIMARY KEY (audience=?"), "{plan:?}");
            assert!(by_key("nahook_delivery", "INTEGER PRIMARY KEY"), "{plan:?}");
            assert!(
                !plan.iter().any(|step| step.contains("TEMP B-TREE")),
                "{plan:?}"
            );
        }
    }
}
