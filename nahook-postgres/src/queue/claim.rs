//! Leasing: from one endpoint after the other, however much waits for any of them.

use std::sync::Arc;

use nahook_core::{
    DeliveryId, EndpointId, Lease, LeaseBatch, LeaseRequest, LeaseToken, LeasedDelivery, Timestamp,
};
use tokio::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::events::KnownEvent;
use super::ledger::{Held, Room};
use crate::connection::Lent;
use crate::error::PgError;
use crate::row::{instant_at, nanos, parsed_at, split_key, value_at};
use crate::store::PostgresStore;

/// Makes ready what was waiting for time: retries that are due, leases that have expired. At most so many at once …
const WAKE: &str = "
UPDATE delivery SET wake_at = NULL
WHERE key = ANY (ARRAY(
    SELECT d.key FROM delivery d WHERE d.wake_at <= $1
    ORDER BY d.wake_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
)) AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'";

/// … as often as that.
const PASSES_MAX: usize = 16;

/// Leases at most $5 deliveries. Every row also says whether there may be more: an endpoint's share was cut short, or
/// another process was faster.
///
/// `ring` hops from endpoint to endpoint that has something ready, behind the one served last and around: a step costs
/// the same however much waits for an endpoint, and however many have limits of their own: those are looked up in an
/// object, where joining them would read all of them at each step. It ends once it has found as many as deliveries are asked for. Each
/// endpoint's share is taken from its fresh deliveries and its retries in turn. Losing a lease to a crash of the
/// server only means that the delivery is offered again, so that nothing waits for the disk.
const CLAIM: &str = "
WITH RECURSIVE limits AS MATERIALIZED (
    SELECT jsonb_object_agg(e.row, l.room) AS rooms
    FROM unnest($1::text[], $2::bigint[]) AS l (id, room) JOIN endpoint e ON e.id = l.id
), ring AS (
    SELECT $3::bigint AS endpoint, false AS is_around, 0::bigint AS room, 0::bigint AS useful, 0 AS place
    UNION ALL
    SELECT next.endpoint, next.is_around, l.room, ring.useful + CASE WHEN l.room > 0 THEN 1 ELSE 0 END, ring.place + 1
    FROM ring
    CROSS JOIN LATERAL (
        (SELECT d.endpoint, ring.is_around FROM delivery d
        WHERE d.due_at IS NOT NULL AND d.wake_at IS NULL AND d.endpoint > ring.endpoint
            AND d.endpoint <= CASE WHEN ring.is_around THEN $3 ELSE 9223372036854775807 END
        ORDER BY d.endpoint LIMIT 1)
        UNION ALL
        (SELECT d.endpoint, true FROM delivery d
        WHERE NOT ring.is_around AND d.due_at IS NOT NULL AND d.wake_at IS NULL AND d.endpoint <= $3
        ORDER BY d.endpoint LIMIT 1)
        LIMIT 1
    ) next
    CROSS JOIN LATERAL (
        SELECT coalesce(((SELECT rooms FROM limits) ->> next.endpoint::text)::bigint, $4) AS room
    ) l
    WHERE ring.useful < $5
), turns AS MATERIALIZED (
    SELECT r.endpoint, r.place, r.room, least(r.room, ($5 - 1) / count(*) OVER () + 1) AS share,
        r.endpoint = ANY ($6::bigint[]) AS retry_first
    FROM ring r WHERE r.place > 0 AND r.room > 0
), chosen AS MATERIALIZED (
    SELECT t.endpoint, t.place, c.key, c.status, c.turn, c.kinds, c.turn = t.share AND t.share < t.room AS is_cut
    FROM turns t CROSS JOIN LATERAL (
        SELECT w.key, w.status, count(*) FILTER (WHERE w.nth = 1) OVER () AS kinds,
            row_number() OVER (ORDER BY w.nth, (w.status = 1) <> t.retry_first) AS turn
        FROM (
            (SELECT d.key, d.status, row_number() OVER (ORDER BY d.key) AS nth FROM delivery d
            WHERE d.endpoint = t.endpoint AND d.status = 0 AND d.due_at IS NOT NULL AND d.wake_at IS NULL
                AND CASE d.status WHEN 0 THEN 0::bigint ELSE d.due_at END = 0
            ORDER BY d.key LIMIT t.share)
            UNION ALL
            (SELECT d.key, d.status,
                row_number() OVER (ORDER BY CASE d.status WHEN 0 THEN 0::bigint ELSE d.due_at END, d.key) AS nth
            FROM delivery d
            WHERE d.endpoint = t.endpoint AND d.status = 1 AND d.due_at IS NOT NULL AND d.wake_at IS NULL
            ORDER BY CASE d.status WHEN 0 THEN 0::bigint ELSE d.due_at END, d.key LIMIT t.share)
        ) w
        ORDER BY turn LIMIT t.share
    ) c
    ORDER BY c.turn, t.place LIMIT $5
), locked AS MATERIALIZED (
    SELECT c.* FROM chosen c JOIN delivery d ON d.key = c.key
    WHERE d.due_at IS NOT NULL AND d.wake_at IS NULL
    FOR NO KEY UPDATE OF d SKIP LOCKED
), lease AS MATERIALIZED (
    SELECT CASE WHEN set_config('synchronous_commit', 'off', true) = 'off' THEN nextval('lease_token') END AS token
), leased AS (
    UPDATE delivery d SET wake_at = $7, lease_token = l.token
    FROM locked k, lease l WHERE d.key = k.key
    RETURNING d.key, d.lease_token, d.attempts, k.endpoint, k.place, k.turn, k.status, k.kinds
)
SELECT l.key, l.lease_token, l.attempts, l.endpoint, e.id, l.status = 1, l.kinds > 1, c.is_partial
FROM (SELECT bool_or(c.is_cut) OR count(*) > (SELECT count(*) FROM leased) AS is_partial FROM chosen c) c
LEFT JOIN leased l ON true LEFT JOIN endpoint e ON e.row = l.endpoint
ORDER BY l.turn, l.place";

/// The first of those that wait for time. Not `min(wake_at)`: where statistics say that hardly any do, that is planned as
/// reading all that do.
const NEXT_DUE: &str =
    "SELECT wake_at FROM delivery WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1";

/// What one statement has leased.
struct Pass {
    claims: Vec<Claim>,
    /// Whether there may be more.
    is_partial: bool,
    next_due: Option<Timestamp>,
}

struct Claim {
    key: i64,
    token: LeaseToken,
    attempts: u32,
    endpoint_row: i64,
    endpoint: EndpointId,
    is_retry: bool,
    is_contested: bool,
}

impl PostgresStore {
    pub(super) async fn claim(&self, request: &LeaseRequest) -> Result<LeaseBatch, PgError> {
        let shared = self.shared();
        // Read first: what changes from here on is then told by `changed`.
        let generation = shared.signals.generation();
        let mut lent = shared.lender.lend().await?;
        let mut deliveries = Vec::new();
        let mut next_due = None;
        for _ in 0..PASSES_MAX {
            let wanted = request.max - deliveries.len();
            let pass = self.pass(&mut lent, request, wanted).await?;
            next_due = pass.next_due;
            let expires_at = shared.clock().now().saturating_add(request.duration);
            deliveries.extend(
                self.delivered(&mut lent, request, pass.claims, expires_at)
                    .await?,
            );
            if !pass.is_partial || deliveries.len() >= request.max {
                break;
            }
        }
        Ok(LeaseBatch {
            deliveries,
            next_due,
            generation,
        })
    }

    async fn pass(
        &self,
        lent: &mut Lent,
        request: &LeaseRequest,
        wanted: usize,
    ) -> Result<Pass, PgError> {
        let shared = self.shared();
        let now = shared.clock().now();
        let Room {
            endpoints,
            rooms,
            after,
            retry_first,
        } = shared.ledger.room(request, now);
        let endpoints: Vec<_> = endpoints.iter().map(EndpointId::as_str).collect();
        let usual = i64::try_from(request.per_endpoint_max).unwrap_or(i64::MAX);
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let expires_at = nanos(now.saturating_add(request.duration));
        let wake = lent.prepare(WAKE).await?;
        let claim = lent.prepare(CLAIM).await?;
        let next = lent.prepare(NEXT_DUE).await?;
        let client = lent.begin()?;
        let (wake_before, wanted_any) = (nanos(now), wanted > 0);
        let claiming = async {
            if wanted_any {
                let parameters: [&(dyn ToSql + Sync); 7] = [
                    &endpoints,
                    &rooms,
                    &after,
                    &usual,
                    &wanted,
                    &retry_first,
                    &expires_at,
                ];
                client.query(&claim, &parameters).await
            } else {
                Ok(Vec::new())
            }
        };
        // One round trip: each sees what the one before it has done.
        let wake_parameters: [&(dyn ToSql + Sync); 1] = [&wake_before];
        let (woken, rows, due) = try_join!(
            client.execute(&wake, &wake_parameters),
            claiming,
            client.query_opt(&next, &[]),
        )?;
        lent.end();
        let mut pass = Pass {
            claims: Vec::with_capacity(rows.len()),
            is_partial: woken == 1000,
            next_due: due.as_ref().map(|row| instant_at(row, 0)).transpose()?,
        };
        for row in &rows {
            pass.is_partial |= value_at::<Option<bool>>(row, 7)?.unwrap_or(false);
            pass.claims.extend(claim_at(row)?);
        }
        Ok(pass)
    }

    /// Notes the claims and puts their events to them.
    async fn delivered(
        &self,
        lent: &mut Lent,
        request: &LeaseRequest,
        claims: Vec<Claim>,
        expires_at: Timestamp,
    ) -> Result<Vec<LeasedDelivery>, PgError> {
        let ledger = &self.shared().ledger;
        for claim in &claims {
            ledger.served(claim.endpoint_row, claim.is_retry, claim.is_contested);
        }
        let numbers = claims.iter().map(|claim| split_key(claim.key).0);
        let events = ledger.events.find(lent, numbers).await?;
        let mut deliveries = Vec::with_capacity(claims.len());
        for claim in claims {
            let (seq, ordinal) = split_key(claim.key);
            let Some(event) = events.get(&seq) else {
                tracing::error!(seq, "a delivery's event is missing");
                continue;
            };
            let delivery = leased(&claim, event, ordinal);
            let held = Held {
                key: claim.key,
                worker: request.worker,
                endpoint: claim.endpoint,
                expires_at,
            };
            ledger.hold(delivery.lease, held);
            deliveries.push(delivery);
        }
        Ok(deliveries)
    }
}

fn leased(claim: &Claim, event: &Arc<KnownEvent>, ordinal: u32) -> LeasedDelivery {
    LeasedDelivery {
        lease: Lease {
            delivery: DeliveryId::nth(event.message, ordinal),
            token: claim.token,
        },
        message: event.message,
        workspace: event.workspace,
        endpoint: claim.endpoint,
        event_type: event.event_type.clone(),
        payload: event.payload.clone(),
        attempts: claim.attempts,
        accepted_at: event.accepted_at,
    }
}

/// `None` if there is none: one row comes in any case.
fn claim_at(row: &Row) -> Result<Option<Claim>, PgError> {
    let Some(token) = value_at::<Option<i64>>(row, 1)? else {
        return Ok(None);
    };
    Ok(Some(Claim {
        key: value_at(row, 0)?,
        token: LeaseToken(token.unsigned_abs()),
        attempts: u32::try_from(value_at::<i32>(row, 2)?).unwrap_or(0),
        endpoint_row: value_at(row, 3)?,
        endpoint: parsed_at(row, 4)?,
        is_retry: value_at(row, 5)?,
        is_contested: value_at(row, 6)?,
    }))
}
