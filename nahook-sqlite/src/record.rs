//! Records: the deliveries of an event that wait, in one row, until something has become of each.
//!
//! `nahook_fresh` shows the deliveries of a record that are no rows yet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

/// The first deliveries of an event's record that are no rows.
const FIRST: &str = "SELECT member.endpoint, (?1 << 20) | member.ordinal
     FROM nahook_event AS event
     JOIN nahook_queued AS queued ON queued.audience = event.audience AND queued.event = event.seq
     JOIN nahook_member AS member ON member.audience = queued.audience
     WHERE event.seq = ?1
         AND NOT EXISTS (SELECT 1 FROM nahook_delivery WHERE key = (?1 << 20) | member.ordinal)
     ORDER BY member.ordinal LIMIT ?2";

/// The endpoint of a key's delivery, if that is in a record and no row.
const AT: &str = "SELECT member.endpoint
     FROM nahook_event AS event
     JOIN nahook_queued AS queued ON queued.audience = event.audience AND queued.event = event.seq
     JOIN nahook_member AS member ON member.audience = queued.audience
     WHERE event.seq = ?1 >> 20 AND member.ordinal = ?1 & 1048575
         AND NOT EXISTS (SELECT 1 FROM nahook_delivery WHERE key = ?1)";

/// Removes a record.
const REMOVE: &str = "DELETE FROM nahook_queued
     WHERE audience = (SELECT audience FROM nahook_event WHERE seq = ?1) AND event = ?1";

/// Events of an audience whose delivery with this ordinal is in a record and no row: `ASC` or `DESC`, and without those that another
/// connection has queued and nobody has adopted, if asked so.
macro_rules! fresh_of {
    ($order:literal) => {
        concat!(
            "SELECT (queued.event << 20) | ?2 AS key
             FROM nahook_queued AS queued
             WHERE queued.audience = ?1 AND queued.event >= ?3 >> 20 AND queued.event <= ?4 >> 20
                 AND (queued.event << 20) | ?2 >= ?3 AND (queued.event << 20) | ?2 < ?4
                 AND NOT EXISTS (SELECT 1 FROM nahook_delivery WHERE key = (queued.event << 20) | ?2)
                 AND (?5 OR NOT EXISTS (SELECT 1 FROM nahook_submission WHERE event = queued.event AND NOT is_adopted))
             ORDER BY queued.event ",
            $order,
            " LIMIT ?6"
        )
    };
}

const OLDEST_OF: &str = fresh_of!("ASC");
const NEWEST_OF: &str = fresh_of!("DESC");

/// The endpoints of an event's deliveries, by ordinal; `None` where there is no delivery.
pub(crate) type Endpoints = Vec<Option<i64>>;

/// The endpoints of these deliveries of one event, given with their ordinals, ascending. `None` if a record would be mostly holes.
pub(crate) fn endpoints_of(deliveries: &[(i64, u32)]) -> Option<Endpoints> {
    let count = deliveries.len();
    let mut endpoints = Vec::with_capacity(count);
    for (endpoint, ordinal) in deliveries {
        let ordinal = *ordinal as usize;
        if ordinal < endpoints.len() || ordinal >= 2 * count {
            return None;
        }
        endpoints.resize(ordinal, None);
        endpoints.push(Some(*endpoint));
    }
    Some(endpoints)
}

/// Writes the record of an event that has this audience.
pub(crate) fn insert(connection: &Connection, event: i64, audience: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO nahook_queued (audience, event) VALUES (?1, ?2)")?
        .execute([audience, event])?;
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

/// Returns the number of the record's deliveries that are no rows, and removes it if there is none.
pub(crate) fn end_if_done(connection: &Connection, event: i64) -> rusqlite::Result<usize> {
    let left: i64 = connection
        .prepare_cached("SELECT count(*) FROM nahook_fresh WHERE event = ?1")?
        .query_row([event], |row| row.get(0))?;
    if left == 0 {
        connection.prepare_cached(REMOVE)?.execute([event])?;
    }
    Ok(usize::try_from(left).unwrap_or(0))
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

/// Makes rows of the first of the record's deliveries, at most `max`, which are then pending as others are. Answers their endpoints
/// and keys, and how many are left; without any the record is removed.
pub(crate) fn make_rows(
    connection: &Connection,
    event: i64,
    max: usize,
) -> rusqlite::Result<(Vec<(i64, i64)>, usize)> {
    let fresh = fresh(connection, event, max)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES (?1, ?2, 0, 0)",
    )?;
    for (endpoint, key) in &fresh {
        insert.execute([key, endpoint])?;
    }
    let left = end_if_done(connection, event)?;
    Ok((fresh, left))
}

/// An endpoint's deliveries that are in records and no rows.
#[derive(Clone, Debug)]
pub(crate) struct FreshOf {
    pub(crate) endpoint: i64,
    pub(crate) keys: Range<i64>,
    pub(crate) is_newest_first: bool,
    /// Those that are yet to be adopted count.
    pub(crate) with_submitted: bool,
}

impl FreshOf {
    /// The keys of the first ones, at most `max`, and the key up to which all were looked at; `None` if there are no more.
    ///
    /// Within a transaction: a number of an audience that was removed may be another's.
    pub(crate) fn first(
        &self,
        transaction: &Transaction<'_>,
        max: usize,
    ) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
        let mut members = transaction
            .prepare_cached("SELECT audience, ordinal FROM nahook_member WHERE endpoint = ?1")?;
        let members = members.query_map([self.endpoint], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let members = members.collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        let step = i64::try_from(max / members.len().max(1)).unwrap_or(i64::MAX);
        let mut heads = BinaryHeap::new();
        for (audience, ordinal) in members {
            let mut keys = Keys {
                audience,
                ordinal,
                start: self.keys.start,
                end: self.keys.end,
                step: step.max(1),
                read: VecDeque::new(),
            };
            let first = keys.next(self, transaction)?;
            heads.extend(first.map(|key| (self.order(key), keys)));
        }
        let mut found = Vec::new();
        while found.len() < max
            && let Some((Reverse((_, key)), mut keys)) = heads.pop()
        {
            found.push(key);
            let next = keys.next(self, transaction)?;
            heads.extend(next.map(|key| (self.order(key), keys)));
        }
        let has_more = !heads.is_empty();
        let until = found.last().copied().filter(|_| has_more);
        Ok((found, until))
    }

    /// The greatest comes first.
    fn order(&self, key: i64) -> Reverse<(i64, i64)> {
        Reverse((if self.is_newest_first { -key } else { key }, key))
    }
}

/// Keys of an endpoint's fresh deliveries of one audience, read in steps that grow.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Keys {
    audience: i64,
    ordinal: i64,
    start: i64,
    end: i64,
    step: i64,
    read: VecDeque<i64>,
}

impl Keys {
    fn next(
        &mut self,
        of: &FreshOf,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Option<i64>> {
        if self.read.is_empty() && self.step > 0 {
            let statement = if of.is_newest_first {
                NEWEST_OF
            } else {
                OLDEST_OF
            };
            let mut keys = transaction.prepare_cached(statement)?;
            let params = params![
                self.audience,
                self.ordinal,
                self.start,
                self.end,
                of.with_submitted,
                self.step,
            ];
            for key in keys.query_map(params, |row| row.get(0))? {
                self.read.push_back(key?);
            }
            match self.read.back() {
                Some(last) if of.is_newest_first => self.end = *last,
                Some(last) => self.start = last + 1,
                None => {}
            }
            let is_last = i64::try_from(self.read.len()).is_ok_and(|len| len < self.step);
            self.step = if is_last { 0 } else { self.step * 4 };
        }
        Ok(self.read.pop_front())
    }
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
    use crate::schema::{empty, plan_of};

    /// A record of the event 1, and rows of these of its ordinals.
    fn with_record(endpoints: &Endpoints, rows: &[i64]) -> Connection {
        let connection = empty();
        let audience = audience_of(&connection, endpoints).unwrap();
        let event = "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width, audience) VALUES (1, x'07', 1, 1, 4, ?1)";
        connection.execute(event, [audience]).unwrap();
        insert(&connection, 1, audience).unwrap();
        for ordinal in rows {
            let row = "INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES ((1 << 20) + ?1, 5, 2, 1)";
            connection.execute(row, [ordinal]).unwrap();
        }
        connection
    }

    #[test]
    fn endpoints_stand_at_their_ordinals() {
        let of = |ordinals: &[u32]| {
            let delivery = |ordinal: &u32| (10 + i64::from(*ordinal), *ordinal);
            endpoints_of(&ordinals.iter().map(delivery).collect::<Vec<_>>())
        };
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
            let connection = &with_record(&endpoints, rows);
            let fresh = end_if_done(connection, 1).unwrap();
            assert_eq!(
                fresh,
                3 - rows.iter().filter(|row| **row != 1).count(),
                "{rows:?}"
            );
            let record = "SELECT count(*) FROM nahook_record";
            let left: i64 = connection.query_row(record, [], |row| row.get(0)).unwrap();
            assert_eq!(left == 0, is_done, "{rows:?}");
        }
    }

    #[test]
    fn what_is_fresh_is_what_is_no_row() {
        let connection = &with_record(&vec![Some(5), None, Some(i64::MAX), Some(7)], &[3]);
        let key = |ordinal: i64| (1 << 20) + ordinal;
        let expected = [(5, key(0)), (i64::MAX, key(2))];
        assert_eq!(fresh(connection, 1, 9).unwrap(), expected);
        let endpoints = [0, 1, 2, 3, 4].map(|at| endpoint_at(connection, key(at)).unwrap());
        assert_eq!(endpoints, [Some(5), None, Some(i64::MAX), None, None]);
        let (made, left) = make_rows(connection, 1, 1).unwrap();
        assert_eq!((made, left), (vec![(5, key(0))], 1));
        assert_eq!(fresh(connection, 1, 9).unwrap(), expected[1..]);
        let (made, left) = make_rows(connection, 1, 9).unwrap();
        assert_eq!((made, left), (expected[1..].to_vec(), 0));
        assert!(fresh(connection, 1, 9).unwrap().is_empty());
        let rows = "SELECT group_concat(endpoint || ':' || status, ' ') FROM nahook_delivery";
        let rows: String = connection.query_row(rows, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, format!("5:0 {}:0 5:2", i64::MAX));
    }

    /// Records of an endpoint, 5, in several audiences and twice in some of their events; some of their deliveries are rows, and some are
    /// yet to be adopted.
    fn with_audiences() -> Connection {
        let connection = empty();
        let audiences = ["[5]", "[5,6]", "[6,null,5]", "[5,7,5]", "[6]"];
        for event in 1..=60_i64 {
            // Long stretches of one audience, and all of them by turns.
            let audience = if event < 40 { event / 10 } else { event };
            let id = event.to_be_bytes();
            let row = "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (?1, ?2, 1, 1, 3)";
            connection
                .execute(row, params![event, id.as_slice()])
                .unwrap();
            let insert = "INSERT INTO nahook_record VALUES (?1, ?2)";
            let at = usize::try_from(audience).unwrap() % audiences.len();
            let endpoints = audiences[at];
            connection
                .execute(insert, params![event, endpoints])
                .unwrap();
        }
        let rest = "INSERT INTO nahook_delivery (key, endpoint, status, attempts)
                SELECT key, endpoint, 2, 1 FROM nahook_fresh WHERE event % 7 = 0 OR key % 11 = 0;
            INSERT INTO nahook_submission (event, is_adopted) VALUES (59, 1), (60, 0)";
        connection.execute_batch(rest).unwrap();
        connection
    }

    #[test]
    fn fresh_ones_of_an_endpoint_are_found_piece_by_piece_in_order() {
        let mut connection = with_audiences();
        let all: Vec<i64> = {
            let sql = "SELECT key FROM nahook_fresh WHERE endpoint = 5 ORDER BY key";
            let mut all = connection.prepare(sql).unwrap();
            let all = all.query_map([], |row| row.get(0)).unwrap();
            all.collect::<Result<_, _>>().unwrap()
        };
        assert!(all.len() > 40 && all.last() >= Some(&(60 << 20)));
        let transaction = connection.transaction().unwrap();
        for (is_newest_first, with_submitted) in [(false, true), (true, true), (false, false)] {
            let mut expected = all.clone();
            expected.retain(|key| with_submitted || key >> 20 != 60);
            if is_newest_first {
                expected.reverse();
            }
            for max in [1, 2, 3, 10, 99] {
                let mut of = FreshOf {
                    endpoint: 5,
                    keys: i64::MIN..i64::MAX,
                    is_newest_first,
                    with_submitted,
                };
                let mut found = Vec::new();
                loop {
                    let (keys, until) = of.first(&transaction, max).unwrap();
                    assert!(keys.len() == max || until.is_none());
                    found.extend(keys);
                    match until {
                        None => break,
                        Some(until) if is_newest_first => of.keys.end = until,
                        Some(until) => of.keys.start = until + 1,
                    }
                }
                assert_eq!(found, expected, "{max} {is_newest_first} {with_submitted}");
            }
        }
        // Between two of its keys, one of which is of an event that has it twice.
        let of = FreshOf {
            endpoint: 5,
            keys: all[7]..all[21],
            is_newest_first: false,
            with_submitted: true,
        };
        assert_eq!(
            of.first(&transaction, 99).unwrap(),
            (all[7..21].to_vec(), None)
        );
    }

    #[test]
    fn deliveries_of_a_record_are_found_by_its_event() {
        for statement in [FIRST, AT] {
            let plan = plan_of(&empty(), statement);
            let by_key = |of: &str, key: &str| {
                let search = format!("SEARCH {of} USING {key}");
                plan.iter().any(|step| step.starts_with(&search))
            };
            assert!(by_key("event", "INTEGER PRIMARY KEY"), "{plan:?}");
            assert!(
                by_key("queued", "PRIMARY KEY (audience=? AND event=?"),
                "{plan:?}"
            );
            assert!(by_key("member", "PRIMARY KEY (audience=?"), "{plan:?}");
            assert!(by_key("nahook_delivery", "INTEGER PRIMARY KEY"), "{plan:?}");
            assert!(
                !plan.iter().any(|step| step.contains("TEMP B-TREE")),
                "{plan:?}"
            );
        }
    }
}
