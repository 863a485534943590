//! The statements by which old rows are found and removed, a bounded number at a time.

use nahook_core::Timestamp;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, params};

use crate::record;
use crate::row::nanos;
use crate::writer::Session;

/// Number of events looked at by one query.
const EVENTS: usize = 256;

/// Upper bound on deliveries, or rows of another kind, removed in one step.
pub(super) const ROWS: i64 = 200;

/// Drawn ids begin with the time, so that the oldest come first; when the event was accepted decides. What is left of
/// a forgotten event that is still the newest is passed over.
const OLD_EVENTS: &str =
    "SELECT id, seq, accepted_at, accepted_at < ?3 AND NOT (width = 0 AND seq = (SELECT max(seq) FROM nahook_event))
         AND NOT EXISTS (SELECT 1 FROM nahook_fresh WHERE event = seq)
         AND NOT EXISTS (SELECT 1 FROM nahook_delivery
             WHERE key >= seq << 20 AND key < (seq + 1) << 20 AND status NOT IN (2, 3, 4, 7, 8, 9))
     FROM nahook_event WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?4";

/// The same among events that were brought along with ids of their own, which have an index by time.
const OLD_GIVEN_EVENTS: &str =
    "SELECT id, seq, accepted_at, NOT (width = 0 AND seq = (SELECT max(seq) FROM nahook_event))
         AND NOT EXISTS (SELECT 1 FROM nahook_fresh WHERE event = seq)
         AND NOT EXISTS (SELECT 1 FROM nahook_delivery
             WHERE key >= seq << 20 AND key < (seq + 1) << 20 AND status NOT IN (2, 3, 4, 7, 8, 9))
     FROM nahook_event WHERE id >= x'ff' AND (accepted_at, id) > (?2, ?1) AND accepted_at < ?3
     ORDER BY accepted_at, id LIMIT ?4";

/// The last event that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    order: Order,
    id: Vec<u8>,
    accepted_at: i64,
}

/// Order in which events are visited.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Those whose ids were drawn, by them.
    Drawn,
    /// Those that were brought along, by when they were accepted.
    Given,
}

impl Cursor {
    /// Before all of either order.
    pub(super) fn beginnings() -> [Self; 2] {
        [Order::Drawn, Order::Given].map(|order| Self {
            order,
            id: Vec::new(),
            accepted_at: i64::MIN,
        })
    }
}

/// Events that were looked at.
pub(super) struct Page {
    pub(super) last: Cursor,
    /// The numbers of those that are to go.
    pub(super) settled: Vec<i64>,
}

/// The next events that may have been accepted before then; none if there are no more.
pub(super) fn old_events(
    connection: &Connection,
    after: &Cursor,
    before: Timestamp,
) -> rusqlite::Result<Option<Page>> {
    // Ids begin with milliseconds, in 48 bits.
    let end = (u128::from(before.as_millis() + 1) << 80).to_be_bytes();
    let (statement, bound) = match after.order {
        Order::Drawn => (OLD_EVENTS, ToSqlOutput::from(end.as_slice())),
        Order::Given => (OLD_GIVEN_EVENTS, ToSqlOutput::from(after.accepted_at)),
    };
    let mut page = Page {
        last: after.clone(),
        settled: Vec::new(),
    };
    let mut looked_at = 0;
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(params![
        after.id,
        bound,
        nanos(before),
        i64::try_from(EVENTS).unwrap_or(i64::MAX),
    ])?;
    while let Some(row) = rows.next()? {
        looked_at += 1;
        (page.last.id, page.last.accepted_at) = (row.get(0)?, row.get(2)?);
        if row.get(3)? {
            page.settled.push(row.get(1)?);
        }
    }
    Ok((looked_at > 0).then_some(page))
}

/// Result of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Number of events that need not be looked at again.
    pub(super) looked_at: usize,
    /// Number of these that were removed.
    pub(super) gone: u64,
}

/// Removes the first of the events, as many as fit into a step; a wide one takes several.
pub(super) fn forget_some(connection: &Connection, seqs: &[i64]) -> rusqlite::Result<Step> {
    let (mut step, mut room) = (Step::default(), ROWS);
    for seq in seqs {
        match forget_event(connection, *seq, &mut room)? {
            Removal::Gone => step.gone += 1,
            Removal::Kept => {}
            Removal::Unfinished => break,
        }
        step.looked_at += 1;
        if room <= 0 {
            break;
        }
    }
    Ok(step)
}

/// Result of one event's removal.
enum Removal {
    /// It has gone.
    Gone,
    /// Something of it waits again: it stays.
    Kept,
    /// More of it is to be removed.
    Unfinished,
}

/// Removes the event with its deliveries and their attempts, or as many of these as there is room for.
fn forget_event(connection: &Connection, seq: i64, room: &mut i64) -> rusqlite::Result<Removal> {
    let waits = connection
        .prepare_cached(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM nahook_fresh WHERE event = ?1)
                 OR EXISTS (SELECT 1 FROM nahook_delivery
                     WHERE key >= ?1 << 20 AND key < (?1 + 1) << 20 AND status NOT IN (2, 3, 4, 7, 8, 9))",
        )?
        .exists([seq])?;
    if waits {
        *room -= 1;
        return Ok(Removal::Kept);
    }
    // It has ended with its last delivery, unless that was settled by a commit that was taken for failed.
    record::end_if_done(connection, seq)?;
    let (first, end) = (seq << 20, (seq + 1) << 20);
    let beyond: Option<i64> = connection
        .prepare_cached(
            "SELECT key FROM nahook_delivery WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![first, end, *room], |row| row.get(0))
        .optional()?;
    let until = beyond.unwrap_or(end);
    connection
        .prepare_cached("DELETE FROM nahook_attempt WHERE delivery >= ?1 AND delivery < ?2")?
        .execute([first, until])?;
    let removed = connection
        .prepare_cached("DELETE FROM nahook_delivery WHERE key >= ?1 AND key < ?2")?
        .execute([first, until])?;
    *room -= i64::try_from(removed).unwrap_or(ROWS).max(1);
    if beyond.is_some() {
        return Ok(Removal::Unfinished);
    }
    remove_event(connection, seq)?;
    Ok(Removal::Gone)
}

/// The newest event leaves its number behind until there is a newer one: numbers are never given twice.
fn remove_event(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    let removed = connection
        .prepare_cached(
            "DELETE FROM nahook_event WHERE seq = ?1 AND seq < (SELECT max(seq) FROM nahook_event)",
        )?
        .execute([seq])?;
    if removed == 0 {
        connection
            .prepare_cached(
                "UPDATE nahook_event SET width = 0, metadata = NULL, payload = NULL WHERE seq = ?1",
            )?
            .execute([seq])?;
    }
    Ok(())
}

/// Audiences that no record is of.
pub(super) fn unused_audiences(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT row FROM nahook_audience WHERE NOT EXISTS (SELECT 1 FROM nahook_queued WHERE audience = row)",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Removes the first of the audiences with their members, as many as fit into a step, but the first however wide it is; those that are in
/// use again stay. Answers how
/// many need not be looked at again.
pub(super) fn remove_audiences(session: &mut Session, rows: &[i64]) -> rusqlite::Result<usize> {
    // What is written after this looks for them.
    session.forget_audiences();
    let connection = session.connection();
    let mut members =
        connection.prepare_cached("SELECT count(*) FROM nahook_member WHERE audience = ?1")?;
    let mut remove = connection.prepare_cached(
        "DELETE FROM nahook_audience WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM nahook_queued WHERE audience = ?1)",
    )?;
    let mut room = ROWS;
    for (at, row) in rows.iter().enumerate() {
        room -= 1 + members.query_row([row], |row| row.get::<_, i64>(0))?;
        if room < 0 && at > 0 {
            return Ok(at);
        }
        remove.execute([row])?;
    }
    Ok(rows.len())
}

/// Rows that have a time of their own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aged {
    AuditEntries,
    CountsOfHours,
    CountsOfMinutes,
    PageSessions,
    PortalSessions,
    /// Signing secrets that were rotated out and sign no more.
    RetiredSecrets,
}

impl Aged {
    /// Selects the first rows that have aged. Audit entries are looked at in the order of writing, which is that of time.
    fn rows(self) -> &'static str {
        match self {
            Self::AuditEntries => {
                "SELECT row FROM (SELECT row, created_at FROM nahook_audit_entry ORDER BY row LIMIT ?2)
                 WHERE created_at < ?1"
            }
            Self::CountsOfHours => "SELECT row FROM nahook_counts WHERE period = 1 AND start < ?1 LIMIT ?2",
            Self::CountsOfMinutes => "SELECT row FROM nahook_counts WHERE period = 0 AND start < ?1 LIMIT ?2",
            Self::PageSessions => "SELECT row FROM nahook_page_session WHERE expires_at < ?1 LIMIT ?2",
            Self::PortalSessions => "SELECT row FROM nahook_portal_session WHERE expires_at < ?1 LIMIT ?2",
            Self::RetiredSecrets => {
                "SELECT row FROM nahook_endpoint WHERE previous_secret_until < ?1 LIMIT ?2"
            }
        }
    }

    /// Beginning of the statement that removes them.
    fn removal(self) -> &'static str {
        match self {
            Self::AuditEntries => "DELETE FROM nahook_audit_entry",
            Self::CountsOfHours | Self::CountsOfMinutes => "DELETE FROM nahook_counts",
            Self::PageSessions => "DELETE FROM nahook_page_session",
            Self::PortalSessions => "DELETE FROM nahook_portal_session",
            Self::RetiredSecrets => {
                "UPDATE nahook_endpoint SET previous_secret = NULL, previous_secret_until = NULL"
            }
        }
    }
}

pub(super) fn has_aged(connection: &Connection, aged: Aged, before: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(aged.rows())?
        .exists([before, ROWS])
}

pub(super) fn remove_aged(
    connection: &Connection,
    aged: Aged,
    before: i64,
) -> rusqlite::Result<()> {
    let (removal, rows) = (aged.removal(), aged.rows());
    connection
        .prepare_cached(&format!("{removal} WHERE row IN ({rows})"))?
        .execute([before, ROWS])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::schema::empty;

    /// A settled event with one delivery, as old as time.
    fn with_a_settled_event() -> Connection {
        let connection = empty();
        connection
            .execute_batch(
                "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width, payload)
                     VALUES (1, x'00000000000000000000000000000001', 1, 1, 1, x'7b7d'),
                            (2, x'00000000000000000000000000000002', 1, 1, 0, NULL);
                 INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES (1 << 20, 1, 3, 1);
                 INSERT INTO nahook_attempt (delivery, number, started_at, duration) VALUES (1 << 20, 1, 1, 1)",
            )
            .unwrap();
        connection
    }

    fn found(connection: &Connection) -> Vec<i64> {
        let [drawn, _] = Cursor::beginnings();
        let page = old_events(connection, &drawn, Timestamp::from_millis(9)).unwrap();
        page.unwrap().settled
    }

    fn rows(connection: &Connection) -> (i64, i64, i64) {
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM nahook_{table}");
            connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        (count("event"), count("delivery"), count("attempt"))
    }

    #[test]
    fn event_queued_again_after_it_was_found_is_kept() {
        // Pending, waiting for a retry, likewise where a queue elsewhere carries it, and a sibling in a record.
        let statuses = ["0", "1", "5", "6"];
        let queued = statuses.map(|status| format!("UPDATE nahook_delivery SET status = {status}"));
        let fresh = "INSERT INTO nahook_record VALUES (1, '[1, 1]')".to_owned();
        for queue_again in queued.into_iter().chain([fresh]) {
            let connection = with_a_settled_event();
            let seqs = found(&connection);
            assert_eq!(seqs, [1]);
            connection.execute_batch(&queue_again).unwrap();
            let step = forget_some(&connection, &seqs).unwrap();
            assert_eq!((step.looked_at, step.gone), (1, 0), "{queue_again}");
            assert_eq!(rows(&connection), (2, 1, 1), "{queue_again}");
            assert_eq!(found(&connection), [] as [i64; 0], "{queue_again}");
        }
    }

    #[test]
    fn record_that_a_settled_event_has_left_goes_with_it() {
        let connection = with_a_settled_event();
        let left = "INSERT INTO nahook_record VALUES (1, '[1]')";
        connection.execute_batch(left).unwrap();
        let step = forget_some(&connection, &found(&connection)).unwrap();
        assert_eq!(step.gone, 1);
        let records = "SELECT count(*) FROM nahook_record";
        let records = connection.query_row(records, [], |row| row.get(0));
        assert_eq!((rows(&connection), records), ((1, 0, 0), Ok(0)));
    }

    #[test]
    fn audience_without_records_goes_with_its_members_and_is_written_again() {
        let mut session = Session::new(with_a_settled_event(), Role::Server);
        let insert = |session: &mut Session, event: i64, endpoint| {
            let audience = session
                .audience(vec![Some(endpoint), None, Some(9)])
                .unwrap();
            record::insert(session.connection(), event, audience).unwrap();
        };
        for (event, endpoint) in [(1, 5), (2, 6)] {
            insert(&mut session, event, endpoint);
        }
        let left = |session: &Session| -> (i64, String) {
            let sql = "SELECT (SELECT count(*) FROM nahook_member), group_concat(event || endpoints) FROM (SELECT * FROM nahook_record ORDER BY event)";
            let found = session
                .connection()
                .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
            found.unwrap()
        };
        assert!(unused_audiences(session.connection()).unwrap().is_empty());
        let ended = "PRAGMA foreign_keys = ON; DELETE FROM nahook_queued WHERE event = 1";
        session.connection().execute_batch(ended).unwrap();
        let unused = unused_audiences(session.connection()).unwrap();
        assert_eq!(unused, [1]);
        // One that is in use stays, whatever was found.
        assert_eq!(remove_audiences(&mut session, &[1, 2]).unwrap(), 2);
        assert_eq!(left(&session), (2, "2[6,null,9]".to_owned()));
        insert(&mut session, 1, 5);
        assert_eq!(left(&session), (4, "1[5,null,9],2[6,null,9]".to_owned()));
    }

    #[test]
    fn many_members_are_removed_in_several_steps() {
        let mut session = Session::new(with_a_settled_event(), Role::Server);
        let rows: Vec<i64> = (1..=3).collect();
        for row in &rows {
            let endpoints = (0..100).map(|at| Some(row * 1000 + at)).collect();
            session.audience(endpoints).unwrap();
        }
        assert_eq!(unused_audiences(session.connection()).unwrap(), rows);
        assert_eq!(remove_audiences(&mut session, &rows).unwrap(), 1);
        assert_eq!(remove_audiences(&mut session, &rows[1..]).unwrap(), 1);
        assert_eq!(remove_audiences(&mut session, &rows[2..]).unwrap(), 1);
        assert!(unused_audiences(session.connection()).unwrap().is_empty());
    }

    #[test]
    fn event_that_stays_settled_goes() {
        let connection = with_a_settled_event();
        let step = forget_some(&connection, &found(&connection)).unwrap();
        assert_eq!((step.looked_at, step.gone), (1, 1));
        assert_eq!(rows(&connection), (1, 0, 0));
    }
}
