//! Queueing again what was given up.

use nahook_core::StoreError;
use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_queue::{DeliveryLog, Redelivered, Redelivery, RedeliveryRequest};

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{nanos, value_at};
use crate::store::PostgresStore;

/// Number of deliveries queued again by one statement.
const STEP: usize = 1_000;

/// Queues deliveries again. Those that a queue elsewhere has given up are this queue's from then on.
const REDELIVER: &str = "
UPDATE delivery d SET status = CASE d.attempts WHEN 0 THEN 0 ELSE 1 END, due_at = $2, wake_at = NULL,
    lease_token = NULL, recorded_retry_at = NULL, updated_at = $2
WHERE d.key = $1 AND d.status IN (3, 4)
    AND EXISTS (SELECT FROM event e WHERE e.seq = d.key >> 20 AND e.payload IS NOT NULL)
RETURNING d.key";

/// Of the endpoint $1 of the workspace $2, accepted since $3, which have keys from $6 on, at most $4; due at $5. Answers how many were found and how many
/// of them nobody else has queued meanwhile.
const REDELIVER_SINCE: &str = "
WITH whose AS MATERIALIZED (
    SELECT p.row FROM endpoint p JOIN workspace w ON w.row = p.workspace WHERE p.id = $1 AND w.id = $2
), given_up AS MATERIALIZED (
    SELECT n.key FROM unnest('{3,4}'::smallint[]) AS s (shown) CROSS JOIN LATERAL (
        SELECT d.key FROM delivery d
        WHERE d.endpoint = (SELECT o.row FROM whose o)
            AND CASE WHEN d.wake_at IS NOT NULL AND d.lease_token IS NOT NULL THEN 5::smallint ELSE d.status END
                = s.shown
            AND (d.status <> 0 OR d.due_at IS NULL OR CASE WHEN d.wake_at IS NULL THEN false ELSE true END)
            AND d.key >= $6 AND (SELECT e.accepted_at >= $3 AND e.payload IS NOT NULL FROM event e WHERE e.seq = d.key >> 20)
        ORDER BY d.key LIMIT $4) n
    ORDER BY n.key LIMIT $4
), again AS (
    UPDATE delivery d SET status = CASE d.attempts WHEN 0 THEN 0 ELSE 1 END, due_at = $5, wake_at = NULL,
        lease_token = NULL, recorded_retry_at = NULL, updated_at = $5
    WHERE d.key = ANY (ARRAY(SELECT g.key FROM given_up g)) AND d.status IN (3, 4)
    RETURNING d.key
)
SELECT (SELECT count(*) FROM given_up), (SELECT count(*) FROM again)";

#[async_trait::async_trait]
impl Redelivery for PostgresStore {
    async fn redeliver(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Redelivered, StoreError> {
        let Some(key) = self.key_of(id, workspace).await? else {
            return Ok(Redelivered::NotFound);
        };
        let now = nanos(self.shared().clock().now());
        let queued = self.shared().lender.query(REDELIVER, &[&key, &now]).await?;
        if !queued.is_empty() {
            self.shared().signals.rows_have_changed();
            return Ok(Redelivered::Queued);
        }
        // Gone meanwhile, if it is not there.
        let record = self.delivery(id, workspace).await?;
        Ok(record.map_or(Redelivered::NotFound, |record| {
            Redelivered::NotGivenUp(record.status)
        }))
    }

    /// A thousand at a time: what was queued before a failure stays queued.
    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError> {
        let mut queued = 0;
        while queued < request.limit {
            let wanted = STEP.min(request.limit - queued);
            let (found, again) = self.redeliver_some(request, wanted).await?;
            queued += again;
            if again > 0 {
                self.shared().signals.rows_have_changed();
            }
            if found < wanted {
                break;
            }
        }
        Ok(queued)
    }
}

impl PostgresStore {
    async fn redeliver_some(
        &self,
        request: &RedeliveryRequest,
        wanted: usize,
    ) -> Result<(usize, usize), PgError> {
        let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
        let now = nanos(self.shared().clock().now());
        let first = self.first_key_since(request.since).await?;
        let parameters: [&dyn Parameter; 6] = [
            &request.endpoint.as_str(),
            &request.workspace.as_str(),
            &nanos(request.since),
            &limit,
            &now,
            &first,
        ];
        let lender = &self.shared().lender;
        let rows = lender.query(REDELIVER_SINCE, &parameters).await?;
        let Some(row) = rows.first() else {
            return Ok((0, 0));
        };
        let count = |column| {
            let count: i64 = value_at(row, column)?;
            Ok::<_, PgError>(usize::try_from(count).unwrap_or(0))
        };
        Ok((count(0)?, count(1)?))
    }
}
