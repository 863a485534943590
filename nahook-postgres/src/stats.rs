//! Counts of deliveries by status: from the indexes of the lists, up to a bound.

use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_queue::{DeliveryStats, DeliveryStatus, StatsQuery};

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::queue::{again, fresh};
use crate::row::{maybe_instant_at, value_at};
use crate::search::{audiences, audiences_of_endpoint, open_in_audience, shown};
use crate::store::PostgresStore;

/// Deliveries that are not fresh, by how they are shown, as their index has them.
macro_rules! shown {
    ($shown:literal) => {
        concat!(
            "CASE WHEN d.wake_at IS NOT NULL AND d.lease_token IS NOT NULL THEN 5::smallint ELSE d.status END = ",
            $shown,
            " AND (d.status <> 0 OR d.due_at IS NULL OR CASE WHEN d.wake_at IS NULL THEN false ELSE true END)"
        )
    };
}

/// Those of the endpoints that the first part selects, as `row`; how rows are shown $2, at most $3 of each. Every line says how many are in
/// records, at most $5, and since when the first is due, but those with the keys $4: the second part selects both, as `count` and `since`.
macro_rules! stats {
    ($whose:literal, $in_records:expr) => {
        concat!(
            "WITH whose AS MATERIALIZED (",
            $whose,
            "), fresh AS (
                SELECT count(*) AS count FROM (
                    SELECT 1 FROM whose o CROSS JOIN LATERAL (
                        SELECT 1 FROM delivery d WHERE d.endpoint = o.row AND ",
            fresh!(),
            " LIMIT $3) f LIMIT $3) c
            ), due AS MATERIALIZED (
                SELECT min(least(
                    (SELECT d.due_at FROM delivery d WHERE d.endpoint = o.row AND ",
            fresh!(),
            " ORDER BY d.key LIMIT 1),
                    (SELECT d.due_at FROM delivery d WHERE d.endpoint = o.row AND ",
            again!(),
            " ORDER BY d.due_at LIMIT 1),
                    (SELECT e.accepted_at FROM delivery d JOIN event e ON e.seq = d.key >> 20
                    WHERE d.endpoint = o.row AND ",
            shown!("0::smallint"),
            " AND d.recorded_retry_at IS NOT NULL ORDER BY d.key LIMIT 1))) AS since
                FROM whose o
            ), ",
            $in_records,
            " SELECT s.shown, CASE WHEN s.shown = 0 THEN (SELECT f.count FROM fresh f) ELSE 0 END + (
                SELECT count(*) FROM (
                    SELECT 1 FROM whose o CROSS JOIN LATERAL (
                        SELECT 1 FROM delivery d WHERE d.endpoint = o.row AND ",
            shown!("s.shown"),
            " LIMIT $3) n LIMIT $3) c
            ), least((SELECT u.since FROM due u), (SELECT i.since FROM in_records i)), coalesce((SELECT i.count FROM in_records i), 0)
            FROM unnest($2::smallint[]) AS s (shown)"
        )
    };
}

/// The stats of all endpoints of the workspace $1. The first record of each audience that has an open delivery says since when that is due.
const OF_WORKSPACE: &str = stats!(
    "SELECT p.row FROM endpoint p JOIN workspace w ON w.row = p.workspace WHERE w.id = $1 AND p.deleted_at IS NULL",
    concat!(
        "in_records AS MATERIALIZED (
            SELECT (SELECT count(*) FROM (SELECT FROM open_deliveries_of(w.row, NULL, 9223372036854775807) LIMIT $5) n) AS count,
                (SELECT min((SELECT r.due_at FROM record r WHERE r.workspace = w.row AND r.audience = a.audience AND EXISTS (
                    SELECT FROM open_deliveries(r.key, r.key + 1000) n WHERE n.key <> ALL ($4::bigint[]))
                ORDER BY r.workspace, r.audience, r.key LIMIT 1)) FROM (",
        audiences!("w.row"),
        ") a) AS since
            FROM workspace w WHERE w.id = $1
        )"
    )
);

/// The stats of its endpoint $6, deleted or not. Records are read of those audiences alone that the endpoint is in, and their arrays not at all:
/// it has the same place in each.
const OF_ENDPOINT: &str = stats!(
    "SELECT p.row, p.workspace FROM endpoint p JOIN workspace w ON w.row = p.workspace WHERE w.id = $1 AND p.id = $6",
    concat!(
        audiences_of_endpoint!(),
        ", in_records AS MATERIALIZED (
            SELECT (SELECT count(*) FROM (SELECT FROM audience a CROSS JOIN LATERAL (SELECT FROM record r WHERE ",
        open_in_audience!(),
        " LIMIT $5) n LIMIT $5) c) AS count,
                (SELECT min((SELECT r.due_at FROM record r WHERE ",
        open_in_audience!(),
        " AND r.key + a.place - 1 <> ALL ($4::bigint[]) ORDER BY r.workspace, r.audience, r.key LIMIT 1)) FROM audience a) AS since
        )"
    )
);

/// Bytes of the payloads of the workspace $1. Where more than $2 events are kept, they are estimated from one of each of so many
/// pieces of the log.
const STORED_LEN: &str = "
WITH ends AS MATERIALIZED (
    SELECT (SELECT e.seq FROM event e ORDER BY e.seq LIMIT 1) AS first,
        (SELECT e.seq FROM event e ORDER BY e.seq DESC LIMIT 1) - (SELECT e.seq FROM event e ORDER BY e.seq LIMIT 1) + 1 AS len,
        (SELECT w.row FROM workspace w WHERE w.id = $1) AS workspace
)
SELECT coalesce(CASE WHEN n.len <= $2 THEN (
    SELECT sum(octet_length(e.payload)) FROM event e
    WHERE e.seq BETWEEN n.first AND n.first + n.len AND e.workspace = n.workspace
) ELSE (
    SELECT sum(octet_length(e.payload)) * (n.len / $2)
    FROM (
        SELECT n.first + floor((i + random()) * n.len / $2)::bigint AS seq FROM generate_series(0, $2 - 1) AS i
    ) AS piece JOIN event e ON e.seq = piece.seq
    WHERE e.workspace = n.workspace
) END, 0)::bigint
FROM ends n";

/// Number of events of a sample.
const SAMPLE: i64 = 4_096;

impl PostgresStore {
    pub(crate) async fn measure_stored(&self, workspace: &WorkspaceId) -> Result<u64, PgError> {
        let lender = &self.shared().lender;
        let rows = lender
            .query(STORED_LEN, &[&workspace.as_str(), &SAMPLE])
            .await?;
        let len = rows.first().map_or(Ok(0), |row| value_at::<i64>(row, 0))?;
        Ok(len.unsigned_abs())
    }

    pub(crate) async fn counted(&self, query: &StatsQuery) -> Result<DeliveryStats, PgError> {
        let counted = DeliveryStatus::ALL.into_iter();
        let counted = counted.filter(|status| query.counts(*status));
        let shown: Vec<_> = counted.map(|status| (status, shown(status))).collect();
        let codes: Vec<i16> = shown.iter().map(|(_, code)| *code).collect();
        let max = i64::try_from(query.count_max).unwrap_or(i64::MAX);
        let endpoint = query.endpoint.as_ref().map(EndpointId::as_str);
        let ledger = &self.shared().ledger;
        let in_hand = ledger.being_attempted(query.workspace, query.endpoint);
        let delivering = u64::try_from(in_hand.len()).unwrap_or(u64::MAX);
        let in_records_max = max.saturating_add(i64::try_from(delivering).unwrap_or(i64::MAX));
        let parameters: [&dyn Parameter; 6] = [
            &query.workspace.as_str(),
            &codes,
            &max,
            &in_hand,
            &in_records_max,
            &endpoint,
        ];
        let lender = &self.shared().lender;
        let rows = match endpoint {
            Some(_) => lender.query(OF_ENDPOINT, &parameters).await?,
            None => lender.query(OF_WORKSPACE, &parameters[..5]).await?,
        };
        let mut stats = DeliveryStats::default();
        for row in &rows {
            let code: i16 = value_at(row, 0)?;
            let in_records = value_at::<i64>(row, 3)?.unsigned_abs();
            let count = value_at::<i64>(row, 1)?.unsigned_abs()
                + match DeliveryStatus::from_code(code.into()) {
                    Some(DeliveryStatus::Pending) => in_records.saturating_sub(delivering),
                    // No number of a stored state: it is being attempted.
                    None => delivering.min(in_records),
                    Some(_) => 0,
                };
            for (status, _) in shown.iter().filter(|(_, of)| *of == code) {
                *stats.count_mut(*status) = count.min(query.count_max);
            }
            stats.oldest_due_at = maybe_instant_at(row, 2)?;
        }
        Ok(stats)
    }
}
