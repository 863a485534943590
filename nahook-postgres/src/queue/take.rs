//! Taking records: a process has them whole, and attempts their deliveries from memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_queue::{Audience, Place};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::keeper;
use crate::error::PgError;
use crate::leases::{EventFields, Found, InHand, Looked, Process, Search};
use crate::lender::{Frame, Lent};
use crate::listener::Signals;
use crate::parameter::Parameter;
use crate::row::{Bits, parsed_at, split_key, value_at};
use crate::statement::Answer;
use crate::store::PostgresStore;

/// Largest number of records taken by one statement, and of their deliveries, about.
const RECORDS_MAX: i32 = 1_024;
const DELIVERIES_MAX: i32 = 4_096;

/// Largest number of such statements one after the other.
const TAKES_MAX: usize = 64;

/// Interval at which records are looked for where there are enough in hand.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Columns of records taken, with their events and those of their deliveries that are rows.
macro_rules! taken {
    ($table:literal) => {
        concat!(
            "SELECT r.key, r.endpoints, CASE WHEN r.is_begun THEN ARRAY(
                SELECT d.key FROM delivery d WHERE d.key >= r.key AND d.key < r.key + cardinality(r.endpoints)
            ) END, e.id, w.id, t.name, e.accepted_at, e.payload, r.workspace, r.audience
        FROM ",
            $table,
            " r LEFT JOIN event e ON e.seq = r.key >> 20
        LEFT JOIN workspace w ON w.row = e.workspace LEFT JOIN event_type t ON t.row = e.event_type"
        )
    };
}

/// Registers a process that attempts deliveries.
const REGISTER: &str =
    "INSERT INTO process (token, beat) VALUES (nextval('lease_token'), 0) RETURNING token";

/// Takes records for the process $1: about $3 of them with $4 deliveries, with the key $5 or later, as `$chosen` answers. The first row says
/// whether the process is known, with the number $2 of its looks at what it holds; whether there may be more; and the last key of all
/// from $5 on.
///
/// Losing this to a crash of the server only means that the records are taken again, so that nothing waits for the disk.
macro_rules! take {
    ($chosen:literal) => {
        concat!(
            "
WITH me AS MATERIALIZED (
    SELECT p.token FROM process p WHERE p.token = $1::bigint AND p.looks = $2::bigint
        AND set_config('synchronous_commit', 'off', true) = 'off'
    FOR SHARE
), chosen AS MATERIALIZED (",
            $chosen,
            "), locked AS MATERIALIZED (
    SELECT r.key, r.is_begun FROM record r WHERE r.key = ANY ((SELECT c.keys FROM chosen c)::bigint[]) AND r.owner = 0
    FOR NO KEY UPDATE OF r SKIP LOCKED
), taken AS (
    UPDATE record r SET owner = m.token, is_begun = true FROM locked l, me m WHERE r.key = l.key
    RETURNING r.key, r.workspace, r.audience, r.endpoints, l.is_begun
)
SELECT NULL, NULL, NULL, NULL, NULL, NULL, (SELECT count(*) FROM me), NULL,
    (SELECT count(*) FROM chosen c WHERE c.is_cut), (SELECT max(r.key) FROM record r WHERE r.key >= $5::bigint)
UNION ALL
(",
            taken!("taken"),
            " ORDER BY r.key)"
        )
    };
}

/// Takes those of one workspace and audience after the other behind the workspace $7, but audiences that are $6.
const TAKE: &str = take!(
    "SELECT f.keys, f.is_cut FROM free_records($7::bigint, $6::bigint[], $3::integer, $4::integer, $5::bigint) f"
);

/// Takes them in the order of their keys, but those of audiences that are $6. It reads fewer entries of the index that are dead.
const TAKE_LATEST: &str = take!(
    "SELECT array_agg(f.key) FILTER (WHERE f.before < $4::integer) AS keys,
        count(*) >= $3::integer OR bool_or(f.before >= $4::integer) AS is_cut FROM (
        SELECT o.key, sum(o.width) OVER (ORDER BY o.key) - o.width AS before FROM (
            SELECT r.key, r.width FROM record r WHERE r.key >= $5::bigint AND r.owner = 0 AND r.audience <> ALL ($6::bigint[])
            ORDER BY r.key LIMIT $3::integer) o
    ) f"
);

/// Waits for what the process $1 is taking, and lets it take nothing more under the number that it has: a statement that nobody
/// waits for may be late. Answers the next number; nothing if the process is not known.
const BAR: &str = "
UPDATE process p SET looks = p.looks + 1 WHERE p.token = $1::bigint AND set_config('synchronous_commit', 'off', true) = 'off'
RETURNING p.looks";

/// Records that the process $1 has taken, but those with the keys $2.
const HELD: &str = concat!(
    "WITH held AS MATERIALIZED (
    SELECT r.key, r.workspace, r.audience, r.endpoints, r.is_begun FROM record r WHERE r.owner = $1::bigint AND r.key <> ALL ($2::bigint[])
) ",
    taken!("held"),
    " ORDER BY r.key"
);

/// The endpoints with these rows.
const ENDPOINTS: &str = "SELECT p.row, p.id FROM endpoint p WHERE p.row = ANY ($1::bigint[])";

/// Number of endpoints from which on those that are known are forgotten.
const ENDPOINTS_MAX: usize = 1_000_000;

/// A record as it was taken.
struct Taken {
    key: i64,
    /// The row of its workspace.
    workspace: i64,
    audience: Audience,
    endpoints: Vec<i64>,
    rows: HashSet<i64>,
    event: Arc<EventFields>,
}

impl Process {
    /// Notes the workspaces whose records were taken, by their rows: the next ones are those of the workspaces behind them.
    fn note_workspaces(&mut self, rows: impl Iterator<Item = i64>) {
        let after = self.taken_last;
        if let Some(last) = rows.max_by_key(|row| (*row <= after, *row)) {
            self.taken_last = last;
        }
    }
}

/// Notes that there may be records, unless it is forgotten.
struct Looking<'a>(&'a Signals);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.note_records();
    }
}

impl PostgresStore {
    /// Takes records, as many as there is room for: what waits for one endpoint must not hide another's.
    pub(super) async fn take_records(&self) -> Result<(), PgError> {
        let shared = self.shared();
        let mut process = shared.ledger.process.lock().await;
        for _ in 0..TAKES_MAX {
            // Whatever ends this early, somebody looks again.
            let looking = Looking(&shared.signals);
            let taken = self.take_some(&mut process).await;
            process.looked_at = Some(Instant::now());
            match taken? {
                Looked::More => {}
                Looked::Full => return Ok(()),
                Looked::None => {
                    std::mem::forget(looking);
                    return Ok(());
                }
            }
        }
        shared.signals.wake_for_records();
        Ok(())
    }

    /// Lets the database know this process, if it does not: then others find out when it is gone.
    pub(super) async fn register(&self) -> Result<(), PgError> {
        let ledger = &self.shared().ledger;
        if ledger.token().is_some() {
            return Ok(());
        }
        let mut process = ledger.process.lock().await;
        if ledger.token().is_none() {
            let rows = self.shared().lender.query(REGISTER, &[]).await?;
            let row = rows.first();
            let row = row.ok_or_else(|| PgError::unreadable("no answer"))?;
            ledger.register(value_at(row, 0)?);
            (process.is_unsure, process.looks) = (false, 0);
            process.search = Search::default();
            process.search.want_all();
            if !std::mem::replace(&mut process.is_kept, true) {
                self.tasks().push(keeper::start(self));
            }
        }
        Ok(())
    }

    /// Takes records if nobody is at it, and has not been for a moment.
    pub(super) async fn look_for_records(&self) -> Result<(), PgError> {
        let is_time = match self.shared().ledger.process.try_lock() {
            Ok(process) => process
                .looked_at
                .is_none_or(|at| at.elapsed() >= LOOK_PAUSE),
            Err(_) => false,
        };
        if is_time {
            self.take_records().await
        } else {
            self.shared().signals.note_records();
            Ok(())
        }
    }

    async fn take_some(&self, process: &mut Process) -> Result<Looked, PgError> {
        let shared = self.shared();
        let ledger = &shared.ledger;
        let Some(full) = ledger.with_taken(|taken| taken.full()) else {
            process.search.note_no_room();
            return Ok(Looked::Full);
        };
        let mut lent = shared.lender.lend().await?;
        let Some(token) = ledger.token() else {
            return Ok(Looked::Full);
        };
        let now = shared.clock().now();
        let mut look = None;
        let was_unsure = std::mem::replace(&mut process.is_unsure, true);
        let rows = if was_unsure {
            // Somebody took records, and did not live to see which.
            let known = ledger.with_taken(|taken| taken.records());
            let held: Vec<&dyn Parameter> = vec![&token, &known];
            let asked = [(BAR, vec![&token as &dyn Parameter]), (HELD, held)];
            // One round trip; the second sees what the first has waited for.
            let answers = lent.ask(&asked, Frame::default()).await?;
            let answers: Result<Vec<_>, _> = answers.into_iter().collect();
            let [bar, held] =
                <[Answer; 2]>::try_from(answers?).map_err(|_| PgError::unreadable("no answer"))?;
            let Some(row) = bar.rows.first() else {
                ledger.lose(token);
                return Ok(Looked::Full);
            };
            process.looks = value_at(row, 0)?;
            held.rows
        } else {
            let next = process.search.begin(&full);
            let (looks, after) = (process.looks, process.taken_last);
            look = Some(next);
            let mut parameters: Vec<&dyn Parameter> = vec![&token, &looks, &RECORDS_MAX];
            parameters.extend([&DELIVERIES_MAX as &dyn Parameter, &next.first_key, &full]);
            if next.is_latest {
                lent.query(TAKE_LATEST, &parameters).await?
            } else {
                parameters.push(&after);
                lent.query(TAKE, &parameters).await?
            }
        };
        let (mut is_cut, mut last) = (false, None);
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(key) = value_at(row, 0)? {
                match taken_at(key, row)? {
                    Some(record) => records.push(record),
                    None => ledger.with_taken(|taken| taken.take(key, 0, 0, [], now)),
                }
            } else if value_at::<i64>(row, 6)? == 0 {
                ledger.lose(token);
                return Ok(Looked::Full);
            } else {
                is_cut = value_at::<i64>(row, 8)? > 0;
                last = value_at(row, 9)?;
            }
        }
        process.note_workspaces(records.iter().map(|record| record.workspace));
        let numbers = records.iter().flat_map(|record| &record.endpoints);
        let endpoints = self.endpoints(&mut lent, process, numbers.copied()).await?;
        let found = Found {
            is_cut,
            first: records.iter().map(|record| record.key).min(),
            last,
        };
        let looked = look.map_or(Looked::More, |look| process.search.end(look, found));
        for record in records {
            self.put_in_hand(&record, &endpoints, now);
        }
        process.is_unsure = false;
        Ok(looked)
    }

    fn put_in_hand(&self, record: &Taken, endpoints: &HashMap<i64, EndpointId>, now: Timestamp) {
        let event = &record.event;
        let keys = record.endpoints.iter().zip(record.key..);
        let open = keys.filter(|(row, key)| **row != 0 && !record.rows.contains(key));
        let deliveries = open.filter_map(|(row, key)| {
            let Some(endpoint) = endpoints.get(row).copied() else {
                tracing::error!(key, row, "a delivery's endpoint is missing");
                return None;
            };
            let id = DeliveryId::nth(event.message, split_key(key).1);
            let place = Place {
                workspace: event.workspace,
                endpoint,
                // Whoever accepted it may have a clock that is ahead.
                due_at: event.accepted_at.min(now),
                is_retry: false,
            };
            let in_hand = InHand {
                key,
                endpoint,
                endpoint_row: *row,
                event: Arc::clone(event),
            };
            Some((id, place, in_hand))
        });
        let ledger = &self.shared().ledger;
        ledger.with_taken(|taken| {
            taken.take(
                record.key,
                record.audience,
                event.payload.len(),
                deliveries,
                now,
            );
        });
    }

    /// The endpoints with these rows.
    async fn endpoints(
        &self,
        lent: &mut Lent,
        process: &mut Process,
        rows: impl Iterator<Item = i64>,
    ) -> Result<HashMap<i64, EndpointId>, PgError> {
        let mut found = HashMap::new();
        let mut unknown = HashSet::new();
        for row in rows {
            match process.endpoints.get(&row) {
                Some(id) => drop(found.insert(row, *id)),
                None => drop(unknown.insert(row)),
            }
        }
        unknown.remove(&0);
        if unknown.is_empty() {
            return Ok(found);
        }
        if process.endpoints.len() > ENDPOINTS_MAX {
            process.endpoints = HashMap::new();
        }
        let unknown: Vec<_> = unknown.into_iter().collect();
        for row in &lent.query(ENDPOINTS, &[&unknown]).await? {
            let (number, id) = (value_at(row, 0)?, parsed_at(row, 1)?);
            process.endpoints.insert(number, id);
            found.insert(number, id);
        }
        Ok(found)
    }
}

/// `None` if its event is missing.
fn taken_at(key: i64, row: &Row) -> Result<Option<Taken>, PgError> {
    if value_at::<Option<Bits>>(row, 3)?.is_none() {
        tracing::error!(key, "a record's event is missing");
        return Ok(None);
    }
    let rows: Option<Vec<i64>> = value_at(row, 2)?;
    Ok(Some(Taken {
        key,
        workspace: value_at(row, 8)?,
        audience: value_at(row, 9)?,
        endpoints: value_at(row, 1)?,
        rows: rows.unwrap_or_default().into_iter().collect(),
        event: Arc::new(EventFields::at(row, 3)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_are_gone_round() {
        let mut process = Process::default();
        for (rows, last) in [
            (&[3, 7, 5][..], 7),
            (&[], 7),
            (&[8, 9], 9),
            (&[11, 2, 4], 4),
            (&[4, 3], 4),
        ] {
            process.note_workspaces(rows.iter().copied());
            assert_eq!(process.taken_last, last, "{rows:?}");
        }
    }
}
