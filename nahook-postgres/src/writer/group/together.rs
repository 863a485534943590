//! The statement that triggers share, and what it is given.

use std::collections::{HashMap, HashSet};

use nahook_core::id::{EndpointId, WorkspaceId};
use tokio::time::timeout;
use tokio_postgres::Row;

use super::endpoints::EndpointRows;
use super::{Failed, GRACE, Open, WriterConnection, internal, unsent};
use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{Bits, nanos, value_at};
use crate::writer::PublishJob;

/// Writes events with the records of their deliveries; answers which events, counted from 1, it did not write, and which rows
/// of endpoints are gone.
///
/// An event's deliveries are a piece of $8, in the order of their ordinals: the records take it as it is, so that a statement costs
/// hardly more for a wide event than for a narrow one. Only where an endpoint is gone its row is blanked out, and an event none of
/// whose endpoints is there is left out. Workspaces and event types are looked up once, and put to the events by arrays: joins of so
/// many rows would be planned for a few.
pub(super) const PUBLISH: &str = "
WITH k AS MATERIALIZED (
    SELECT u.n, u.event_type AS type_id,
        (SELECT w.row FROM workspace w WHERE w.id = u.workspace) AS workspace,
        (SELECT t.row FROM event_type t WHERE t.id = u.event_type) AS event_type
    FROM unnest($6::text[], $7::text[]) WITH ORDINALITY AS u (workspace, event_type, n)
), gone AS MATERIALIZED (
    SELECT u.row FROM unnest($12::bigint[]) AS u (row)
    WHERE NOT EXISTS (SELECT FROM endpoint p WHERE p.row = u.row AND p.deleted_at IS NULL)
), e AS MATERIALIZED (
    SELECT x.*, CASE WHEN x.is_known THEN nextval('event_seq') ELSE 0 END AS seq
    FROM (
        SELECT u.n, u.id, u.accepted_at, u.metadata, u.payload, u.ordinal, u.start, u.stop, u.audience,
            (SELECT array_agg(k.workspace ORDER BY k.n) FROM k)[u.kind] AS workspace,
            (SELECT array_agg(k.event_type ORDER BY k.n) FROM k)[u.kind] AS event_type,
            (SELECT array_agg(k.workspace IS NOT NULL AND (k.type_id IS NULL OR k.event_type IS NOT NULL)
                ORDER BY k.n) FROM k)[u.kind] AND 0 <> ANY (($8::bigint[])[u.start : u.stop])
                AND (NOT EXISTS (SELECT FROM gone) OR EXISTS (
                    SELECT FROM unnest(($8::bigint[])[u.start : u.stop]) AS s (row)
                    WHERE s.row <> 0 AND s.row <> ALL (ARRAY(SELECT g.row FROM gone g)))) AS is_known
        FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::bytea[], $9::integer[], $10::integer[],
                $11::integer[], $13::bigint[])
            WITH ORDINALITY AS u (id, kind, accepted_at, metadata, payload, ordinal, start, stop, audience, n)
        OFFSET 0
    ) x
), written AS (
    INSERT INTO event (seq, id, workspace, event_type, accepted_at, metadata, payload)
    SELECT e.seq, e.id, e.workspace, e.event_type, e.accepted_at, e.metadata, e.payload FROM e WHERE e.is_known
), queued AS (
    INSERT INTO record (key, workspace, due_at, audience, width, endpoints)
    SELECT e.seq << 20 | (e.ordinal + s.first - e.start), e.workspace, e.accepted_at,
        e.audience # (s.first - e.start)::bigint, s.last - s.first + 1,
        CASE WHEN EXISTS (SELECT FROM gone) THEN ARRAY(
            SELECT CASE WHEN p.row = ANY (ARRAY(SELECT g.row FROM gone g)) THEN 0 ELSE p.row END
            FROM unnest(($8::bigint[])[s.first : s.last]) WITH ORDINALITY AS p (row, place) ORDER BY p.place)
        ELSE ($8::bigint[])[s.first : s.last] END
    FROM e CROSS JOIN LATERAL (
        SELECT f.first, least(f.first + 999, e.stop) AS last FROM generate_series(e.start, e.stop, 1000) AS f (first)
    ) s
    WHERE e.is_known
)
SELECT e.n::integer, NULL::bigint FROM e WHERE NOT e.is_known UNION ALL SELECT NULL, g.row FROM gone g";

/// Parameters of the statement, by column.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    /// Workspaces with event types of theirs: the kinds of events.
    workspaces: Vec<&'a str>,
    event_types: Vec<Option<&'a str>>,
    /// Each event's kind, and the ordinal of the first of its deliveries.
    kinds: Vec<i32>,
    ordinals: Vec<i32>,
    /// Rows of endpoints: an event's are a piece, counted from 1. 0 where an ordinal has no delivery.
    rows: Vec<i64>,
    starts: Vec<i32>,
    stops: Vec<i32>,
    /// A number that events to the same endpoints have in common.
    audiences: Vec<i64>,
    /// Each of the rows once.
    named: Vec<i64>,
    /// Endpoints that the workspace does not have, as far as is known.
    unknown: HashSet<EndpointId>,
}

impl<'a> Columns<'a> {
    /// Of jobs whose endpoints are known, as far as they exist.
    fn new(jobs: &'a [PublishJob], known: &EndpointRows) -> Self {
        let mut columns = Self::default();
        let mut kinds = HashMap::<(WorkspaceId, Option<&str>), i32>::new();
        let mut named = HashSet::new();
        let mut before: Option<(&PublishJob, usize)> = None;
        for job in jobs {
            let (workspace, event_type) = (job.event.workspace, job.event_type());
            let kind = *kinds.entry((workspace, event_type)).or_insert_with(|| {
                columns.workspaces.push(job.event.workspace.as_str());
                columns.event_types.push(event_type);
                count(&columns.workspaces)
            });
            columns.kinds.push(kind);
            let (start, first) = (columns.rows.len(), job.first_ordinal());
            columns.ordinals.push(first);
            // Most often an event goes to where the one before it went.
            let before_it = before.filter(|(before, _)| before.event.workspace == workspace);
            for (nth, (ordinal, endpoint, _)) in job.slots.iter().enumerate() {
                let same = before_it.and_then(|(before, start)| {
                    before.slots.get(nth).filter(|slot| slot.1 == *endpoint)?;
                    columns.rows.get(start + nth).copied()
                });
                let row = same.unwrap_or_else(|| {
                    let Some(row) = known.row(endpoint, workspace) else {
                        columns.unknown.insert(*endpoint);
                        return 0;
                    };
                    named.insert(row);
                    row
                });
                let place = start + usize::try_from(ordinal - first).unwrap_or(0);
                columns.rows.resize(place.max(columns.rows.len()), 0);
                columns.rows.push(row);
            }
            columns.starts.push(last(start) + 1);
            columns.stops.push(last(columns.rows.len()));
            columns.audiences.push(audience(&columns.rows[start..]));
            let is_dense = columns.rows.len() - start == job.slots.len();
            before = is_dense.then_some((job, start));
        }
        columns.named = named.into_iter().collect();
        columns
    }
}

/// Records to the same endpoints have the number in common, and others rarely (FNV-1a, by rows).
fn audience(rows: &[i64]) -> i64 {
    let step = |hash: u64, row: &i64| (hash ^ row.unsigned_abs()).wrapping_mul(0x0100_0000_01b3);
    rows.iter().fold(0xcbf2_9ce4_8422_2325, step).cast_signed()
}

/// A few thousand at most.
fn count<T>(items: &[T]) -> i32 {
    last(items.len())
}

fn last(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

/// Events and endpoints that a statement has left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// Whole events, counted from 1.
    events: HashSet<i32>,
    /// Rows of endpoints.
    gone: HashSet<i64>,
    /// True if endpoints have no row.
    has_unknown: bool,
}

impl LeftOut {
    fn of(rows: &[Row], has_unknown: bool) -> Result<Self, PgError> {
        let mut left_out = Self {
            has_unknown,
            ..Self::default()
        };
        for row in rows {
            left_out.events.extend(value_at::<Option<i32>>(row, 0)?);
            left_out.gone.extend(value_at::<Option<i64>>(row, 1)?);
        }
        Ok(left_out)
    }

    /// Returns true if the event with this number was left out.
    pub(super) fn has_event(&self, number: i32) -> bool {
        self.events.contains(&number)
    }

    /// Places of a job's slots whose endpoints are gone.
    pub(super) fn gone(&self, job: &PublishJob, known: &EndpointRows) -> Vec<usize> {
        if self.gone.is_empty() && !self.has_unknown {
            return Vec::new();
        }
        let is_gone = |id: &EndpointId| {
            let row = known.row(id, job.event.workspace);
            row.is_none_or(|row| self.gone.contains(&row))
        };
        let gone = job.slots.iter().filter(|slot| is_gone(&slot.1));
        gone.map(|slot| slot.2).collect()
    }
}

impl WriterConnection {
    /// Writes the jobs by one statement; answers what it has left out.
    pub(super) async fn write_together(&mut self, jobs: &[PublishJob]) -> Result<LeftOut, Failed> {
        let Some(open) = &self.open else {
            return Err(unsent());
        };
        self.endpoints.make_room();
        let mut columns = Columns::new(jobs, &self.endpoints);
        if !columns.unknown.is_empty() {
            let asked = open.find(&columns.unknown);
            // Nothing was to be written yet.
            let Ok(Ok(found)) = timeout(self.statement_timeout + GRACE, asked).await else {
                self.open = None;
                return Err(unsent());
            };
            self.endpoints.keep(&found).map_err(|_| unsent())?;
            columns = Columns::new(jobs, &self.endpoints);
        }
        let asked = open.publish_all(jobs, &columns);
        let answered = timeout(self.statement_timeout + GRACE, asked).await;
        let rows = self.concluded(answered)?;
        // It was written, which of it cannot be said.
        LeftOut::of(&rows, !columns.unknown.is_empty()).map_err(|_| internal())
    }
}

impl Open {
    async fn find(&self, ids: &HashSet<EndpointId>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let ids: Vec<_> = ids.iter().map(EndpointId::as_str).collect();
        self.link.query(&self.find_endpoints, &[&ids]).await
    }

    pub(super) async fn publish_all(
        &self,
        jobs: &[PublishJob],
        columns: &Columns<'_>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let ids: Vec<_> = jobs
            .iter()
            .map(|job| Bits(job.event.id.as_bits()))
            .collect();
        let accepted: Vec<_> = jobs
            .iter()
            .map(|job| nanos(job.event.accepted_at))
            .collect();
        let labels: Vec<_> = jobs.iter().map(|job| job.metadata.as_deref()).collect();
        let payloads: Vec<&[u8]> = jobs
            .iter()
            .map(|job| &job.event.payload.as_bytes()[..])
            .collect();
        let parameters: [&dyn Parameter; 13] = [
            &ids,
            &columns.kinds,
            &accepted,
            &labels,
            &payloads,
            &columns.workspaces,
            &columns.event_types,
            &columns.rows,
            &columns.ordinals,
            &columns.starts,
            &columns.stops,
            &columns.named,
            &columns.audiences,
        ];
        self.link.query(&self.publish, &parameters).await
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;
    use nahook_testkit::declare::{deliveries, endpoint_id, event, workspace_id};

    use super::*;

    #[test]
    fn everything_is_named_once() {
        let job = |workspace, event_type, endpoints: &[&str]| {
            let event = event(workspace, event_type, 1, Timestamp::default());
            let endpoints: Vec<_> = endpoints.iter().map(|id| endpoint_id(id)).collect();
            PublishJob::new(&event, &mut deliveries(&event, &endpoints)).0
        };
        let jobs = [
            job("ws_a", "order.paid", &["ep_1", "ep_2", "ep_3"]),
            job("ws_a", "order.paid", &["ep_1", "ep_2"]),
            job("ws_a", "order.sent", &["ep_2", "ep_4", "ep_3"]),
            job("ws_b", "order.sent", &["ep_2", "ep_5"]),
            job("ws_a", "order.paid", &[]),
            job("ws_a", "order.sent", &["ep_3"]),
        ];
        let mut known = EndpointRows::default();
        for (row, id, workspace) in [
            (1, "ep_1", "ws_a"),
            (2, "ep_2", "ws_a"),
            (3, "ep_3", "ws_a"),
            (5, "ep_5", "ws_b"),
        ] {
            known.insert(endpoint_id(id), row, workspace_id(workspace));
        }
        let mut columns = Columns::new(&jobs, &known);
        assert_eq!(columns.kinds, [1, 1, 2, 3, 1, 2]);
        assert_eq!(columns.workspaces, ["ws_a", "ws_a", "ws_b"]);
        assert_eq!(columns.event_types.len(), 3);
        // One is not there, and one is another workspace's.
        assert_eq!(columns.rows, [1, 2, 3, 1, 2, 2, 0, 3, 0, 5, 3]);
        assert_eq!(columns.starts, [1, 4, 6, 9, 11, 11]);
        assert_eq!(columns.stops, [3, 5, 8, 10, 10, 11]);
        columns.named.sort_unstable();
        assert_eq!(columns.named, [1, 2, 3, 5]);
    }

    /// Processes of several versions compare them.
    #[test]
    fn audience_is_the_same_for_good() {
        assert_eq!(audience(&[]), -3_750_763_034_362_895_579);
        assert_eq!(audience(&[3, 1]), 591_641_742_448_415_945);
        assert_ne!(audience(&[1, 3]), audience(&[3, 1]));
    }

    #[test]
    fn ordinals_without_a_delivery_leave_a_gap() {
        let event = event("ws_a", "order.paid", 1, Timestamp::default());
        let slot = |ordinal| nahook_core::Delivery::new(event.id, ordinal, endpoint_id("ep_1"));
        // In whatever order, and one of them twice.
        let job = PublishJob::new(&event, &mut [slot(9), slot(7), slot(9), slot(6)]).0;
        let mut known = EndpointRows::default();
        known.insert(endpoint_id("ep_1"), 4, workspace_id("ws_a"));
        let jobs = [job];
        let columns = Columns::new(&jobs, &known);
        assert_eq!(
            (columns.rows, columns.ordinals),
            (vec![4, 4, 0, 4], vec![6])
        );
        let places: Vec<_> = jobs[0].slots.iter().map(|slot| slot.2).collect();
        assert_eq!(places, [3, 1, 0]);
    }
}
