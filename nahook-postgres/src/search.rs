//! Lists of deliveries: from two partial indexes, which have each row in one of them, and from the records of the workspace.

use nahook_core::id::{DeliveryId, MessageId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{
    DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats, DeliveryStatus, StatsQuery,
};

use crate::error::PgError;
use crate::log::{deliveries, record_columns};
use crate::parameter::Parameter;
use crate::row::{Bits, ORDINAL_BITS, delivery_key, nanos, split_key, value_at};
use crate::store::PostgresStore;

/// The audiences of the workspace with that row, and the key of the first record of each: a step for each of them.
macro_rules! audiences {
    ($workspace:literal) => {
        concat!(
            "WITH RECURSIVE hop AS (
                (SELECT r.audience, r.key FROM record r WHERE r.workspace = ",
            $workspace,
            "
                ORDER BY r.workspace, r.audience, r.key LIMIT 1)
                UNION ALL
                SELECT n.audience, n.key FROM hop CROSS JOIN LATERAL (
                    SELECT r.audience, r.key FROM record r WHERE r.workspace = ",
            $workspace,
            " AND r.audience > hop.audience
                    ORDER BY r.workspace, r.audience, r.key LIMIT 1) n
            )
            SELECT hop.audience, hop.key FROM hop"
        )
    };
}

/// Those of them that the endpoint of `whose` is in, with its place, which is the same in all records of an audience: only an endpoint that was
/// deleted while an event was written may be missing in one.
macro_rules! audiences_of_endpoint {
    () => {
        concat!(
            "audience AS MATERIALIZED (
                SELECT c.* FROM (
                    SELECT o.workspace, h.audience, (SELECT array_position(r.endpoints, o.row) FROM record r WHERE r.key = h.key) AS place
                    FROM whose o CROSS JOIN LATERAL (", audiences!("o.workspace"), ") h
                    OFFSET 0
                ) c WHERE c.place IS NOT NULL
            )"
        )
    };
}

/// The records `r` of the audience `a` in which the endpoint has a delivery that is no row yet.
macro_rules! open_in_audience {
    () => {
        "r.workspace = a.workspace AND r.audience = a.audience AND a.place <= r.width
            AND (NOT r.is_begun OR NOT EXISTS (SELECT FROM delivery d WHERE d.key = r.key + a.place - 1))"
    };
}

pub(crate) use {audiences, audiences_of_endpoint, open_in_audience};

/// The endpoint $1 of the workspace $2, deleted or not; how deliveries are to be shown $3; before the key $4, accepted since
/// $5, at most $6; $7 are being attempted from records; $8 is a key that none accepted since $5 is below. Each status gives its newest,
/// and the newest of all of them are the page: the work is bounded by the page's length, however many there are. What is older than $5
/// and not below $8 is passed over one by one. Records are read where what they have is asked for, and of the endpoint's audiences alone.
const DELIVERIES: &str = concat!(
    "WITH whose AS MATERIALIZED (
        SELECT p.row, p.workspace FROM endpoint p JOIN workspace w ON w.row = p.workspace WHERE p.id = $1 AND w.id = $2
    ), ",
    audiences_of_endpoint!(),
    ", page AS MATERIALIZED (
        SELECT c.key FROM (
            (SELECT d.key FROM delivery d
            WHERE 0 = ANY($3::smallint[]) AND d.endpoint = (SELECT o.row FROM whose o) AND d.status = 0
                AND d.due_at IS NOT NULL AND d.wake_at IS NULL AND d.key < $4 AND d.key >= $8
                AND ($5::bigint IS NULL OR (SELECT e.accepted_at FROM event e WHERE e.seq = d.key >> 20) >= $5)
            ORDER BY d.key DESC LIMIT $6)
            UNION ALL
            (SELECT n.key FROM unnest($3::smallint[]) AS s (shown) CROSS JOIN LATERAL (
                SELECT d.key FROM delivery d
                WHERE d.endpoint = (SELECT o.row FROM whose o)
                    AND CASE WHEN d.wake_at IS NOT NULL AND d.lease_token IS NOT NULL THEN 5::smallint ELSE d.status END
                        = s.shown
                    AND (d.status <> 0 OR d.due_at IS NULL OR CASE WHEN d.wake_at IS NULL THEN false ELSE true END) AND d.key < $4 AND d.key >= $8
                    AND ($5::bigint IS NULL OR (SELECT e.accepted_at FROM event e WHERE e.seq = d.key >> 20) >= $5)
                ORDER BY d.key DESC LIMIT $6) n)
            UNION ALL
            (SELECT n.key FROM audience a CROSS JOIN LATERAL (
                SELECT r.key + a.place - 1 AS key FROM record r
                WHERE ",
    open_in_audience!(),
    " AND r.key < $4 AND r.key + a.place - 1 < $4 AND r.key > $8 - 1000 AND r.key + a.place - 1 >= $8
                    AND CASE WHEN r.key + a.place - 1 = ANY ($7::bigint[]) THEN 5::smallint ELSE 0::smallint END
                        = ANY ($3::smallint[])
                    AND ($5::bigint IS NULL OR r.due_at >= $5)
                ORDER BY r.workspace DESC, r.audience DESC, r.key DESC LIMIT $6) n
            WHERE 0 = ANY ($3::smallint[]) OR 5 = ANY ($3::smallint[]))
        ) c ORDER BY c.key DESC LIMIT $6
    )
    SELECT ",
    record_columns!(),
    ", d.key FROM page g JOIN LATERAL ",
    deliveries!("g.key"),
    " d ON true JOIN event e ON e.seq = g.key >> 20
    JOIN endpoint p ON p.row = d.endpoint LEFT JOIN event_type t ON t.row = e.event_type
    ORDER BY g.key DESC"
);

/// Upper bound on the time from an event's acceptance to its being written, together with the difference between the clocks of two servers.
const WRITTEN_WITHIN_NANOS: u64 = 300 * 1_000_000_000;

/// The last event whose id is before that one.
const PLACE: &str = "SELECT e.seq, e.id FROM event e WHERE e.id < $1 ORDER BY e.id DESC LIMIT 1";

/// Status under which a delivery that is being attempted is shown.
const DELIVERING: i16 = 5;

#[async_trait::async_trait]
impl DeliverySearch for PostgresStore {
    async fn stored_len(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        Ok(self.measure_stored(workspace).await?)
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        Ok(self.found(query).await?)
    }

    async fn stats(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        Ok(self.counted(query).await?)
    }
}

impl PostgresStore {
    async fn found(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, PgError> {
        let before = match query.before {
            Some(before) => self.place_of(before).await?,
            None => i64::MAX,
        };
        let shown: Vec<i16> = match query.status {
            Some(status) => vec![shown(status)],
            None => DeliveryStatus::ALL.map(shown).to_vec(),
        };
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let ledger = &self.shared().ledger;
        let in_hand = ledger.being_attempted(query.workspace, Some(query.endpoint));
        let first = match query.since {
            Some(since) => self.first_key_since(since).await?,
            None => 0,
        };
        let parameters: [&dyn Parameter; 8] = [
            &query.endpoint.as_str(),
            &query.workspace.as_str(),
            &shown,
            &before,
            &query.since.map(nanos),
            &limit,
            &in_hand,
            &first,
        ];
        let rows = self.shared().lender.query(DELIVERIES, &parameters).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            let message = MessageId::from_bits(value_at::<Bits>(row, 0)?.0);
            let (_, ordinal) = split_key(value_at(row, 14)?);
            records.push(self.record_at(DeliveryId::nth(message, ordinal), row)?);
        }
        Ok(records)
    }

    /// A key that no delivery accepted then or later is below: events are numbered when they are written, and what was written that long
    /// before has a lower number.
    pub(crate) async fn first_key_since(&self, since: Timestamp) -> Result<i64, PgError> {
        let before = since.as_nanos().saturating_sub(WRITTEN_WITHIN_NANOS);
        let before = MessageId::from_parts(Timestamp::from_nanos(before), 0);
        let id = Bits(before.as_bits());
        let rows = self.shared().lender.query(PLACE, &[&id]).await?;
        let seq = rows
            .first()
            .map(|row| value_at::<i64>(row, 0))
            .transpose()?;
        Ok(seq.map_or(0, |seq| (seq + 1) << ORDINAL_BITS))
    }

    /// The key that lists go on before. One whose delivery is not there any more is that of what was queued before it.
    async fn place_of(&self, delivery: DeliveryId) -> Result<i64, PgError> {
        let rows = self
            .shared()
            .lender
            .query(PLACE, &[&Bits(delivery.as_bits())])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(0);
        };
        let seq: i64 = value_at(row, 0)?;
        let message = MessageId::from_bits(value_at::<Bits>(row, 1)?.0);
        let key = delivery
            .ordinal(message)
            .and_then(|ordinal| delivery_key(seq, ordinal));
        Ok(key.unwrap_or((seq + 1) << ORDINAL_BITS))
    }
}

pub(crate) fn shown(status: DeliveryStatus) -> i16 {
    status.code().map_or(DELIVERING, i16::from)
}
