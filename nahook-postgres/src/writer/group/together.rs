//! The statement that several triggers share, and what it is given.

use std::collections::{HashMap, HashSet};

use nahook_core::id::{EndpointId, WorkspaceId};
use tokio::time::timeout;
use tokio_postgres::Row;

use super::{Failed, GRACE, Open, WriterConnection, places, unsent};
use crate::parameter::Parameter;
use crate::row::{Bits, nanos};
use crate::writer::PublishJob;

/// Writes events and deliveries of endpoints that exist; answers which deliveries, counted from 1, it did not write.
///
/// Workspaces, event types and endpoints are looked up once, however many events have to do with them. What was found is put
/// to the events and deliveries by arrays: joins of so many rows would be planned for a few. The limit of one row keeps the
/// planner from reading all endpoints there are, or all of a workspace, for the few that are asked for. An event is left
/// out if none of its endpoints is there; whether that is so is asked only where any is missing.
pub(super) const PUBLISH: &str = "
WITH k AS MATERIALIZED (
    SELECT u.n, u.event_type AS type_id,
        (SELECT w.row FROM workspace w WHERE w.id = u.workspace) AS workspace,
        (SELECT t.row FROM event_type t WHERE t.id = u.event_type) AS event_type
    FROM unnest($6::text[], $7::text[]) WITH ORDINALITY AS u (workspace, event_type, n)
), e AS MATERIALIZED (
    SELECT x.*, CASE WHEN x.is_known THEN nextval('event_seq') ELSE 0 END AS seq
    FROM (
        SELECT u.n, u.id, u.accepted_at, u.metadata, u.payload,
            (SELECT array_agg(k.workspace ORDER BY k.n) FROM k)[u.kind] AS workspace,
            (SELECT array_agg(k.event_type ORDER BY k.n) FROM k)[u.kind] AS event_type,
            (SELECT array_agg(k.workspace IS NOT NULL AND (k.type_id IS NULL OR k.event_type IS NOT NULL)
                ORDER BY k.n) FROM k)[u.kind] AS is_known
        FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::bytea[])
            WITH ORDINALITY AS u (id, kind, accepted_at, metadata, payload, n)
        OFFSET 0
    ) x
), p AS MATERIALIZED (
    SELECT u.n, coalesce(p.row, 0) AS row
    FROM unnest($8::integer[], $9::text[]) WITH ORDINALITY AS u (kind, id, n)
    LEFT JOIN LATERAL (
        SELECT p.row FROM endpoint p WHERE p.id = u.id AND p.deleted_at IS NULL
            AND p.workspace + 0 = (SELECT array_agg(k.workspace ORDER BY k.n) FROM k)[u.kind]
        LIMIT 1
    ) p ON true
), written AS (
    INSERT INTO event (seq, id, workspace, event_type, accepted_at, metadata, payload)
    SELECT e.seq, e.id, e.workspace, e.event_type, e.accepted_at, e.metadata, e.payload
    FROM e WHERE e.seq <> 0 AND CASE WHEN EXISTS (SELECT FROM p WHERE p.row = 0) THEN e.n = ANY (ARRAY(
        SELECT u.event FROM unnest($10::integer[], $12::integer[]) AS u (event, endpoint)
        JOIN p ON p.n = u.endpoint WHERE p.row <> 0
    )) ELSE true END
), queued AS (
    INSERT INTO delivery (key, endpoint, due_at, attempts, status)
    SELECT d.seq << 20 | d.ordinal, d.endpoint, d.due_at, 0, 0
    FROM (
        SELECT (SELECT array_agg(e.seq ORDER BY e.n) FROM e)[u.event] AS seq, u.ordinal,
            (SELECT array_agg(p.row ORDER BY p.n) FROM p)[u.endpoint] AS endpoint,
            ($3::bigint[])[u.event] AS due_at
        FROM (
            SELECT unnest($10::integer[]) AS event, unnest($11::integer[]) AS ordinal,
                unnest($12::integer[]) AS endpoint
        ) u
        OFFSET 0
    ) d WHERE d.seq <> 0 AND d.endpoint <> 0
)
SELECT u.place::integer
FROM unnest($10::integer[], $12::integer[]) WITH ORDINALITY AS u (event, endpoint, place)
JOIN e ON e.n = u.event JOIN p ON p.n = u.endpoint
WHERE (EXISTS (SELECT FROM p WHERE p.row = 0) OR EXISTS (SELECT FROM e WHERE e.seq = 0))
    AND (e.seq = 0 OR p.row = 0)";

/// Rows that events and deliveries refer to by number, each once.
#[derive(Debug, Default)]
struct Columns<'a> {
    /// Workspaces with event types of theirs: the kinds of events.
    workspaces: Vec<&'a str>,
    event_types: Vec<Option<&'a str>>,
    /// Each event's kind.
    kinds: Vec<i32>,
    /// Endpoints, and a kind of event with each one's workspace.
    ids: Vec<&'a str>,
    owners: Vec<i32>,
    /// Deliveries.
    events: Vec<i32>,
    ordinals: Vec<i32>,
    endpoints: Vec<i32>,
}

impl<'a> Columns<'a> {
    fn new(jobs: &'a [PublishJob]) -> Self {
        let len = jobs.iter().map(|job| job.slots.len()).sum();
        let mut columns = Self {
            kinds: Vec::with_capacity(jobs.len()),
            events: Vec::with_capacity(len),
            ordinals: Vec::with_capacity(len),
            endpoints: Vec::with_capacity(len),
            ..Self::default()
        };
        let mut known_kinds = HashMap::<(WorkspaceId, Option<&str>), i32>::new();
        let mut known = HashMap::<(WorkspaceId, EndpointId), i32>::new();
        let mut before: Option<(&PublishJob, usize)> = None;
        for (number, job) in (1i32..).zip(jobs) {
            let (workspace, event_type) = (job.event.workspace, job.event_type());
            let kind = *known_kinds
                .entry((workspace, event_type))
                .or_insert_with(|| {
                    columns.workspaces.push(job.event.workspace.as_str());
                    columns.event_types.push(event_type);
                    count(&columns.workspaces)
                });
            columns.kinds.push(kind);
            let first = columns.endpoints.len();
            // Most often an event goes to where the one before it went.
            let before_it = before.filter(|(before, _)| before.event.workspace == workspace);
            for (nth, (ordinal, endpoint, _)) in job.slots.iter().enumerate() {
                let same = before_it.and_then(|(before, first)| {
                    before.slots.get(nth).filter(|slot| slot.1 == *endpoint)?;
                    columns.endpoints.get(first + nth).copied()
                });
                let place = same.unwrap_or_else(|| {
                    *known.entry((workspace, *endpoint)).or_insert_with(|| {
                        columns.ids.push(endpoint.as_str());
                        columns.owners.push(kind);
                        count(&columns.ids)
                    })
                });
                columns.events.push(number);
                columns.ordinals.push(*ordinal);
                columns.endpoints.push(place);
            }
            before = Some((job, first));
        }
        columns
    }
}

/// A few thousand at most.
fn count<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

impl WriterConnection {
    /// Writes the jobs by one statement; answers the places, counted from 1 among all their deliveries, of those that it
    /// has left out.
    pub(super) async fn write_together(
        &mut self,
        jobs: &[PublishJob],
    ) -> Result<HashSet<i32>, Failed> {
        let Some(open) = &self.open else {
            return Err(unsent());
        };
        let asked = timeout(self.statement_timeout + GRACE, open.publish_all(jobs));
        places(&self.concluded(asked.await)?)
    }
}

impl Open {
    pub(super) async fn publish_all(
        &self,
        jobs: &[PublishJob],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let columns = Columns::new(jobs);
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
        let parameters: [&dyn Parameter; 12] = [
            &ids,
            &columns.kinds,
            &accepted,
            &labels,
            &payloads,
            &columns.workspaces,
            &columns.event_types,
            &columns.owners,
            &columns.ids,
            &columns.events,
            &columns.ordinals,
            &columns.endpoints,
        ];
        self.link.query(&self.publish, &parameters).await
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;
    use nahook_testkit::declare::{deliveries, endpoint_id, event};

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
            job("ws_b", "order.sent", &["ep_2", "ep_4"]),
            job("ws_a", "order.paid", &[]),
            job("ws_a", "order.sent", &["ep_3"]),
        ];
        let columns = Columns::new(&jobs);
        assert_eq!(columns.kinds, [1, 1, 2, 3, 1, 2]);
        assert_eq!(columns.workspaces, ["ws_a", "ws_a", "ws_b"]);
        assert_eq!(columns.event_types.len(), 3);
        assert_eq!(columns.events, [1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 6]);
        assert_eq!(columns.ordinals, [0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 0]);
        assert_eq!(columns.endpoints, [1, 2, 3, 1, 2, 2, 4, 3, 5, 6, 3]);
        let ids = ["ep_1", "ep_2", "ep_3", "ep_4", "ep_2", "ep_4"];
        assert_eq!(columns.ids, ids);
        assert_eq!(columns.owners, [1, 1, 1, 2, 3, 3]);
    }
}
