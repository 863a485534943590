//! The delivery log.

use std::time::Duration;

use nahook_core::id::{DeliveryId, MessageId, WorkspaceId};
use nahook_core::{IdempotencyKey, Metadata, Payload, StoreError};
use nahook_queue::{Attempt, AttemptRecord, DeliveryLog, DeliveryRecord, DeliveryStatus};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{Bits, instant_at, maybe_instant_at, maybe_parsed_at, parsed_at, value_at};
use crate::store::PostgresStore;

/// Deliveries with keys from the first up to before the second, or with one: rows, and those that are still in records.
macro_rules! deliveries {
    ($key:literal) => {
        deliveries!(concat!("d.key = ", $key), $key, concat!($key, " + 1"))
    };
    ($first:literal, $beyond:literal) => {
        deliveries!(
            concat!("d.key >= ", $first, " AND d.key < ", $beyond),
            $first,
            $beyond
        )
    };
    ($is_row:expr, $first:expr, $beyond:expr) => {
        concat!(
            "(SELECT d.key, d.endpoint, d.status, d.due_at, d.recorded_retry_at, d.wake_at, d.lease_token, d.attempts,
                d.first_attempt_at, d.delivered_at, d.updated_at
            FROM delivery d WHERE ",
            $is_row,
            "
            UNION ALL
            SELECT n.key, n.endpoint, 0::smallint, n.due_at, NULL, NULL, NULL, 0, NULL, NULL, NULL
            FROM open_deliveries(", $first, ", ", $beyond, ") n)"
        )
    };
}
pub(crate) use deliveries;

/// From the delivery with the id $1, whose lower 32 bits are $2, if the workspace $3 has it. Its event is the last one
/// whose id is before the delivery's; the ordinal is what lies between.
macro_rules! of_delivery {
    ($columns:expr, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (SELECT l.*, (l.seq << 20) | l.ordinal AS key FROM (SELECT e.seq, e.id, e.workspace, e.event_type,
                ($2::bigint - 1 - ('x' || right(e.id::text, 8))::bit(32)::bigint) & 4294967295 AS ordinal
                FROM event e WHERE e.id < $1 ORDER BY e.id DESC LIMIT 1) l) o
            JOIN workspace w ON w.row = o.workspace AND w.id = $3
            JOIN LATERAL ",
            deliveries!("o.key"),
            " d ON o.ordinal < 1048576 ",
            $rest
        )
    };
}

/// Columns of a delivery's record: of the delivery `d`, its event `e`, its endpoint `p` and its event type `t`.
macro_rules! record_columns {
    () => {
        "e.id, p.id, t.id, e.metadata, d.status, d.wake_at IS NOT NULL AND d.lease_token IS NOT NULL,
            d.attempts, d.first_attempt_at, d.delivered_at,
            coalesce(d.due_at, d.recorded_retry_at), e.accepted_at, d.updated_at,
            e.payload IS NOT NULL, e.idempotency_key"
    };
}
pub(crate) use record_columns;

const DELIVERY: &str = of_delivery!(
    record_columns!(),
    "JOIN event e ON e.seq = o.seq
    JOIN endpoint p ON p.row = d.endpoint
    LEFT JOIN event_type t ON t.row = o.event_type"
);

/// One row an attempt; one without an attempt if there is none; none if there is no such delivery.
const ATTEMPTS: &str = of_delivery!(
    "o.id, a.number, a.started_at, a.duration, a.status_code, a.error, a.response_body",
    "LEFT JOIN attempt a ON a.delivery = d.key ORDER BY a.number"
);

const KEY: &str = of_delivery!("o.id, d.key", "");

const PAYLOAD: &str = of_delivery!("o.id, e.payload", "JOIN event e ON e.seq = o.seq");

#[async_trait::async_trait]
impl DeliveryLog for PostgresStore {
    async fn delivery(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let rows = self.rows_of(DELIVERY, id, workspace).await?;
        let row = rows.first();
        Ok(row.map(|row| self.record_at(id, row)).transpose()?)
    }

    async fn attempts(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError> {
        let rows = self.rows_of(ATTEMPTS, id, workspace).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let attempts = rows.iter().filter_map(|row| attempt_at(row).transpose());
        Ok(Some(attempts.collect::<Result<_, PgError>>()?))
    }

    async fn payload(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<Payload>, StoreError> {
        let rows = self.rows_of(PAYLOAD, id, workspace).await?;
        let payload = rows
            .first()
            .map(|row| value_at::<Option<Vec<u8>>>(row, 1))
            .transpose()?;
        Ok(payload
            .flatten()
            .map(|json| Payload::from_stored(json.into())))
    }
}

impl PostgresStore {
    /// The number of the delivery's row, if the workspace has it.
    pub(crate) async fn key_of(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Option<i64>, PgError> {
        let rows = self.rows_of(KEY, id, workspace).await?;
        rows.first().map(|row| value_at(row, 1)).transpose()
    }

    async fn rows_of(
        &self,
        query: &str,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Vec<Row>, PgError> {
        let low_half = i64::try_from(id.as_bits() & u128::from(u32::MAX)).unwrap_or(0);
        let parameters: [&dyn Parameter; 3] = [&Bits(id.as_bits()), &low_half, &workspace.as_str()];
        let mut rows = self.shared().lender.query(query, &parameters).await?;
        // The statement compares 32 bits of the ids; here all of them are.
        let message = rows
            .first()
            .map(|row| value_at::<Bits>(row, 0))
            .transpose()?;
        let is_its = |bits: Bits| id.ordinal(MessageId::from_bits(bits.0)).is_some();
        if !message.is_some_and(is_its) {
            rows.clear();
        }
        Ok(rows)
    }
}

/// The caller's key in a column.
fn key_at(row: &Row, column: usize) -> Result<Option<IdempotencyKey>, PgError> {
    let Some(bytes) = value_at::<Option<&[u8]>>(row, column)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).map_err(PgError::unreadable)?;
    let key = IdempotencyKey::new(text).map_err(PgError::unreadable)?;
    Ok(Some(key))
}

impl PostgresStore {
    /// The record of the delivery with that id.
    pub(crate) fn record_at(&self, id: DeliveryId, row: &Row) -> Result<DeliveryRecord, PgError> {
        let is_leased = value_at(row, 5)? || self.shared().ledger.is_being_attempted(id);
        let stored = DeliveryStatus::from_code(value_at::<i16>(row, 4)?.into())
            .ok_or_else(|| PgError::unreadable("no such status"))?;
        let created_at = instant_at(row, 10)?;
        let metadata = match value_at::<Option<&str>>(row, 3)? {
            Some(json) => serde_json::from_str(json).map_err(PgError::unreadable)?,
            None => Metadata::default(),
        };
        Ok(DeliveryRecord {
            id,
            message: MessageId::from_bits(value_at::<Bits>(row, 0)?.0),
            endpoint: parsed_at(row, 1)?,
            idempotency_key: key_at(row, 13)?.unwrap_or_else(|| IdempotencyKey::of(id)),
            event_type: maybe_parsed_at(row, 2)?,
            metadata,
            status: stored.while_leased(is_leased),
            attempts: u32::try_from(value_at::<i32>(row, 6)?).unwrap_or(0),
            first_attempt_at: maybe_instant_at(row, 7)?,
            delivered_at: maybe_instant_at(row, 8)?,
            next_retry_at: maybe_instant_at(row, 9)?
                .filter(|_| stored == DeliveryStatus::ScheduledRetry),
            has_payload: value_at(row, 12)?,
            created_at,
            updated_at: maybe_instant_at(row, 11)?.unwrap_or(created_at),
        })
    }
}

/// `None` if there is none.
fn attempt_at(row: &Row) -> Result<Option<AttemptRecord>, PgError> {
    let Some(number) = value_at::<Option<i32>>(row, 1)? else {
        return Ok(None);
    };
    let duration: i64 = value_at(row, 3)?;
    let status_code = value_at::<Option<i32>>(row, 4)?;
    Ok(Some(AttemptRecord {
        number: u32::try_from(number).unwrap_or(0),
        attempt: Attempt {
            started_at: instant_at(row, 2)?,
            duration: Duration::from_nanos(u64::try_from(duration).unwrap_or(0)),
            status_code: status_code.and_then(|code| u16::try_from(code).ok()),
            error: value_at(row, 5)?,
            response_body: value_at(row, 6)?,
        },
    }))
}
