//! Leasing rows: from one endpoint after the other, however many wait for any of them.

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_queue::{BatchRoom, Held, Lease, LeaseRequest, LeaseToken, LeasedDelivery};
use tokio_postgres::Row;

use super::settle::stored;
use crate::error::PgError;
use crate::leases::{Progress, Room};
use crate::lender::{Asked, Frame, Lent};
use crate::parameter::Parameter;
use crate::row::{maybe_instant_at, nanos, parsed_at, split_key, value_at};
use crate::statement::Answer;
use crate::store::PostgresStore;

/// Makes ready what was waiting for time, a bounded number at once …
pub(super) const WAKE: &str = "SELECT wake($1)";

/// … as often as that.
const PASSES_MAX: usize = 16;

/// Fresh deliveries that may be leased now, as their index has them …
macro_rules! fresh {
    () => {
        "d.status = 0 AND d.due_at IS NOT NULL AND d.wake_at IS NULL"
    };
}

pub(crate) use fresh;

/// … and what may be and is a retry.
macro_rules! again {
    () => {
        "CASE WHEN d.status = 1 AND d.wake_at IS NULL THEN d.due_at END IS NOT NULL"
    };
}

pub(crate) use again;

/// Hops from endpoint to endpoint that has something ready of a kind, behind the one served last and around, and takes the
/// first of each along. A step costs the same however much waits for an endpoint, and however many have limits of their
/// own: those are looked up in an object, where joining them would read all of them at each step. It ends once it has found
/// as many as deliveries are asked for.
///
/// A hop passes all endpoints that come next and that have no room because their workspace has none. Those in a row that
/// have some are counted; a workspace that comes once more is counted anew, and cut below.
macro_rules! ring {
    ($name:literal, $kind:expr, $order:literal) => {
        concat!(
            $name,
            " AS (
    SELECT NULL::bigint AS endpoint, $3::bigint AS place_in_ring, false AS is_around, NULL::bigint AS key,
        NULL::tid AS place, NULL::bigint AS workspace, false AS is_listed, 0::bigint AS all_max, 0::bigint AS unlisted_max,
        0::bigint AS room, 0::bigint AS useful, 0::bigint AS in_row, 0::bigint AS unlisted_in_row
    UNION ALL
    SELECT next.endpoint,
        CASE WHEN s.in_row >= l.all_max THEN
            coalesce((SELECT e.row - 1 FROM endpoint e WHERE e.row > next.endpoint AND e.workspace <> l.workspace
                ORDER BY e.row LIMIT 1), 9223372036854775807)
        WHEN NOT l.is_listed AND s.unlisted_in_row >= l.unlisted_max THEN
            coalesce((SELECT e.row - 1 FROM endpoint e WHERE e.row > next.endpoint
                AND (e.workspace <> l.workspace OR (SELECT listed FROM limits) ? e.row::text)
                ORDER BY e.row LIMIT 1), 9223372036854775807)
        ELSE next.endpoint END,
        next.is_around, next.key, next.place, l.workspace, l.is_listed, l.all_max, l.unlisted_max, r.room,
        ring.useful + r.useful, s.in_row, s.unlisted_in_row
    FROM ",
            $name,
            " ring
    CROSS JOIN LATERAL (
        (SELECT d.endpoint, ring.is_around, d.key, d.ctid AS place FROM delivery d
        WHERE ",
            $kind,
            " AND d.endpoint > ring.place_in_ring
            AND d.endpoint <= CASE WHEN ring.is_around THEN $3 ELSE 9223372036854775807 END
        ORDER BY d.endpoint, ",
            $order,
            " LIMIT 1)
        UNION ALL
        (SELECT d.endpoint, true, d.key, d.ctid FROM delivery d
        WHERE NOT ring.is_around AND ",
            $kind,
            " AND d.endpoint <= $3
        ORDER BY d.endpoint, ",
            $order,
            " LIMIT 1)
        LIMIT 1
    ) next
    LEFT JOIN endpoint ep ON ep.row = next.endpoint
    CROSS JOIN LATERAL (
        SELECT coalesce(ep.workspace, 0) AS workspace,
            coalesce((SELECT listed FROM limits) ? next.endpoint::text, false) AS is_listed,
            coalesce(((SELECT rooms FROM limits) ->> next.endpoint::text)::bigint, $4) AS bound,
            coalesce(((SELECT all_max FROM spaces) ->> ep.workspace::text)::bigint, $12) AS all_max,
            coalesce(((SELECT unlisted_max FROM spaces) ->> ep.workspace::text)::bigint, $12) AS unlisted_max
    ) l
    CROSS JOIN LATERAL (
        SELECT CASE WHEN l.workspace = ring.workspace THEN ring.in_row ELSE 0 END AS in_row,
            CASE WHEN l.workspace = ring.workspace THEN ring.unlisted_in_row ELSE 0 END AS unlisted_in_row
    ) b
    CROSS JOIN LATERAL (
        SELECT least(l.bound, l.all_max - b.in_row,
            CASE WHEN l.is_listed THEN l.bound ELSE l.unlisted_max - b.unlisted_in_row END) AS room
    ) m
    CROSS JOIN LATERAL (SELECT m.room, CASE WHEN m.room > 0 THEN 1 ELSE 0 END AS useful) r
    CROSS JOIN LATERAL (
        SELECT b.in_row + r.useful AS in_row,
            b.unlisted_in_row + CASE WHEN l.is_listed THEN 0 ELSE r.useful END AS unlisted_in_row
    ) s
    WHERE ring.useful < $5
)"
        )
    };
}

/// The oldest of a kind that an endpoint has, as many as its share.
macro_rules! oldest {
    ($is_again:literal, $kind:expr, $order:literal) => {
        concat!(
            "(SELECT d.key, d.ctid AS place, ",
            $is_again,
            " AS is_again, row_number() OVER (ORDER BY ",
            $order,
            ") AS nth
            FROM delivery d WHERE d.endpoint = t.endpoint AND ",
            $kind,
            " ORDER BY ",
            $order,
            " LIMIT t.share)"
        )
    };
}

/// Leases at most $5 deliveries. Every row also says whether its endpoint's share was cut short; whether another process was
/// faster; whether a workspace was cut that came more than once in the ring; and whether any endpoint had no room.
///
/// One ring is of fresh deliveries, one of retries; the endpoints that come first in either are served. Each one's share is
/// taken from its fresh deliveries and its retries in turn; where it is one, the rings have it already. What is chosen is
/// found again by its place in the table. $8 are tokens whose leases have all been ended here. Losing a lease to a crash of
/// the server only means that the delivery is offered again, so that nothing waits for the disk.
const CLAIM: &str = concat!(
    "
WITH RECURSIVE limits AS MATERIALIZED (
    SELECT jsonb_object_agg(e.row, l.room) AS rooms, jsonb_object_agg(e.row, 0) FILTER (WHERE l.is_listed) AS listed
    FROM unnest($1::text[], $2::bigint[], $13::boolean[]) AS l (id, room, is_listed) JOIN endpoint e ON e.id = l.id
), spaces AS MATERIALIZED (
    SELECT jsonb_object_agg(w.row, l.all_max) AS all_max, jsonb_object_agg(w.row, l.unlisted_max) AS unlisted_max
    FROM unnest($9::text[], $10::bigint[], $11::bigint[]) AS l (id, all_max, unlisted_max) JOIN workspace w ON w.id = l.id
), ",
    ring!("fresh", fresh!(), "d.key"),
    ", ",
    ring!("again", again!(), "d.due_at, d.key"),
    ", found AS MATERIALIZED (
    SELECT b.*,
        row_number() OVER (PARTITION BY b.workspace ORDER BY b.is_around, b.endpoint) > b.all_max
        OR NOT b.is_listed AND row_number() OVER (PARTITION BY b.workspace, b.is_listed
            ORDER BY b.is_around, b.endpoint) > b.unlisted_max AS is_beyond
    FROM (
        SELECT endpoint, endpoint <= $3 AS is_around, greatest(f.room, a.room) AS room,
            f.key IS NOT NULL AND a.key IS NOT NULL AS is_contested,
            a.key IS NOT NULL AND (f.key IS NULL OR endpoint = ANY ($6::bigint[])) AS is_again,
            f.key AS fresh_key, f.place AS fresh_place, a.key AS again_key, a.place AS again_place,
            coalesce(f.workspace, a.workspace) AS workspace, coalesce(f.is_listed, a.is_listed) AS is_listed,
            coalesce(f.all_max, a.all_max) AS all_max, coalesce(f.unlisted_max, a.unlisted_max) AS unlisted_max
        FROM (SELECT * FROM fresh WHERE room > 0) f FULL JOIN (SELECT * FROM again WHERE room > 0) a USING (endpoint)
    ) b
), turns AS MATERIALIZED (
    SELECT t.*, least(t.room, ($5 - 1) / count(*) OVER () + 1,
        greatest(t.all_max / count(*) OVER (PARTITION BY t.workspace), 1),
        CASE WHEN t.is_listed THEN t.room
        ELSE greatest(t.unlisted_max / count(*) OVER (PARTITION BY t.workspace, t.is_listed), 1) END) AS share
    FROM (SELECT * FROM found WHERE NOT is_beyond ORDER BY is_around, endpoint LIMIT $5) t
), chosen AS MATERIALIZED (
    SELECT t.endpoint, t.is_around, CASE WHEN t.is_again THEN t.again_key ELSE t.fresh_key END AS key,
        CASE WHEN t.is_again THEN t.again_place ELSE t.fresh_place END AS place,
        t.is_again, t.is_contested, 1 AS turn, t.room > 1 AS is_cut
    FROM turns t WHERE t.share = 1
    UNION ALL
    SELECT t.endpoint, t.is_around, c.key, c.place, c.is_again, t.is_contested, c.turn,
        c.turn = t.share AND t.share < t.room
    FROM turns t CROSS JOIN LATERAL (
        SELECT w.*, row_number() OVER (ORDER BY w.nth, w.is_again <> t.is_again) AS turn
        FROM (
            ",
    oldest!("false", fresh!(), "d.key"),
    "
            UNION ALL
            ",
    oldest!("true", again!(), "d.due_at, d.key"),
    "
        ) w
        ORDER BY turn LIMIT t.share
    ) c
    WHERE t.share > 1
    ORDER BY turn, is_around, endpoint LIMIT $5
), locked AS MATERIALIZED (
    SELECT c.* FROM chosen c JOIN delivery d ON d.ctid = c.place
    WHERE d.due_at IS NOT NULL AND d.wake_at IS NULL
    FOR NO KEY UPDATE OF d SKIP LOCKED
), drawn AS MATERIALIZED (
    SELECT CASE WHEN set_config('synchronous_commit', 'off', true) = 'off' THEN nextval('lease_token') END AS token
), leased AS (
    UPDATE delivery d SET wake_at = $7, lease_token = l.token
    FROM locked k, drawn l WHERE d.ctid = k.place
    RETURNING d.key, d.lease_token, d.attempts, k.endpoint, k.is_around, k.turn, k.is_again, k.is_contested, k.is_cut
), noted AS (
    INSERT INTO lease (token, owner, look_at, keys)
    SELECT l.lease_token, $14, $7, array_agg(l.key) FROM leased l GROUP BY l.lease_token
), over AS (
    DELETE FROM lease WHERE token = ANY ($8::bigint[])
)
SELECT l.key, l.lease_token, l.attempts, l.endpoint, e.id, l.is_again, l.is_contested, l.is_cut, c.is_short, c.is_beyond,
    c.is_blocked
FROM (SELECT (SELECT count(*) FROM chosen) > (SELECT count(*) FROM leased) AS is_short,
    (SELECT bool_or(f.is_beyond) FROM found f) AS is_beyond,
    EXISTS (SELECT FROM fresh f WHERE f.key IS NOT NULL AND f.room <= 0)
        OR EXISTS (SELECT FROM again a WHERE a.key IS NOT NULL AND a.room <= 0) AS is_blocked) c
LEFT JOIN leased l ON true LEFT JOIN endpoint e ON e.row = l.endpoint
ORDER BY l.turn, l.is_around, l.endpoint"
);

/// The first that waits for time, and the first leases to be looked at. Not `min(wake_at)`: where statistics say that hardly
/// any do, that is planned as reading all that do.
const NEXT_DUE: &str = "
SELECT least(
    (SELECT d.wake_at FROM delivery d WHERE d.wake_at IS NOT NULL AND d.lease_token IS NULL ORDER BY d.wake_at LIMIT 1),
    (SELECT l.look_at FROM lease l ORDER BY l.look_at LIMIT 1))";

/// Deliveries leased by one statement.
struct Pass {
    claims: Vec<Claim>,
    /// True if there may be more, whatever was leased.
    is_partial: bool,
    /// True if a workspace was cut.
    is_beyond: bool,
    /// True if there was no room for any of an endpoint's.
    is_blocked: bool,
    /// The row of the endpoint that it began behind.
    after: i64,
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
    /// True if the endpoint may have more.
    is_cut: bool,
}

impl PostgresStore {
    /// Leases rows that are ready, at most `max`, within the room that the batch has left. Answers true with them if there may be
    /// more to lease.
    pub(super) async fn lease_rows(
        &self,
        request: &LeaseRequest,
        max: usize,
        room: &mut BatchRoom,
    ) -> Result<(Vec<LeasedDelivery>, bool), PgError> {
        let shared = self.shared();
        let mut lent = shared.lender.lend().await?;
        let mut deliveries = Vec::new();
        let mut progress = Progress::default();
        let (mut is_partial, mut is_blocked) = (false, false);
        for _ in 0..PASSES_MAX {
            let wanted = max - deliveries.len();
            let pass = self.pass(&mut lent, request, room, wanted).await?;
            shared.ledger.set_next_row(pass.next_due);
            let expires_at = shared.clock().now().saturating_add(request.duration);
            let cut: Vec<_> = pass.claims.iter().map(|claim| claim.is_cut).collect();
            let rows: Vec<_> = pass.claims.iter().map(|claim| claim.endpoint_row).collect();
            let leased = self
                .delivered(&mut lent, request, pass.claims, expires_at)
                .await?;
            is_blocked |= pass.is_blocked;
            is_partial = pass.is_partial || pass.is_beyond && !leased.is_empty();
            for (delivery, row) in leased.iter().zip(&rows) {
                room.take(delivery.workspace, room.is_listed(&delivery.endpoint), 1);
                progress.note(delivery.workspace, *row, pass.after);
            }
            for (delivery, _) in leased.iter().zip(cut).filter(|(_, is_cut)| *is_cut) {
                let is_listed = room.is_listed(&delivery.endpoint);
                is_partial |= room.left(delivery.workspace, is_listed) > 0;
            }
            deliveries.extend(leased);
            if !is_partial || deliveries.len() >= max {
                break;
            }
        }
        shared.ledger.end_turn(room, progress);
        is_partial |= deliveries.len() >= max;
        if !is_partial {
            shared
                .ledger
                .note_all_rows_leased(request.worker, room, is_blocked);
            // In another batch there may be room for more of a workspace's.
            is_partial = is_blocked && !deliveries.is_empty();
        }
        Ok((deliveries, is_partial))
    }

    async fn pass(
        &self,
        lent: &mut Lent,
        request: &LeaseRequest,
        room: &BatchRoom,
        wanted: usize,
    ) -> Result<Pass, PgError> {
        let shared = self.shared();
        let now = shared.clock().now();
        let Room {
            endpoints,
            rooms,
            listed,
            after,
            retry_first,
        } = shared.ledger.room(request, now);
        let bounds: Vec<_> = room.workspaces().collect();
        let workspaces: Vec<_> = bounds.iter().map(|(id, ..)| id.as_str()).collect();
        let all_max: Vec<_> = bounds.iter().map(|(_, all, _)| as_number(*all)).collect();
        let unlisted = bounds.iter().map(|(.., unlisted)| as_number(*unlisted));
        let unlisted_max: Vec<_> = unlisted.collect();
        let usual_of_workspace = as_number(request.per_workspace_max);
        let endpoints: Vec<_> = endpoints.iter().map(EndpointId::as_str).collect();
        let (usual, wanted) = (as_number(request.per_endpoint_max), as_number(wanted));
        let expires_at = nanos(now.saturating_add(request.duration));
        let wake_before = nanos(now);
        let owner = shared.ledger.token().unwrap_or(0);
        let wanted_any = wanted > 0;
        let over = if wanted_any {
            shared.ledger.over()
        } else {
            Vec::new()
        };
        let over: Vec<_> = over.into_iter().map(stored).collect();
        let mut asked: Vec<Asked<'_>> = vec![(WAKE, vec![&wake_before])];
        if wanted_any {
            let parameters: Vec<&dyn Parameter> = vec![
                &endpoints,
                &rooms,
                &after,
                &usual,
                &wanted,
                &retry_first,
                &expires_at,
                &over,
                &workspaces,
                &all_max,
                &unlisted_max,
                &usual_of_workspace,
                &listed,
                &owner,
            ];
            asked.push((CLAIM, parameters));
        }
        asked.push((NEXT_DUE, Vec::new()));
        // One round trip: each sees what the one before it has done.
        let answers = lent.ask(&asked, Frame::default()).await?;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_, _>>()?;
        let (Some(woken), Some(due)) = (first_row(answers.first()), first_row(answers.last()))
        else {
            return Err(PgError::unreadable("no answer"));
        };
        let rows = answers
            .get(1)
            .filter(|_| wanted_any)
            .map_or(&[][..], |it| &it.rows);
        let mut pass = Pass {
            claims: Vec::with_capacity(rows.len()),
            is_partial: value_at(woken, 0)?,
            is_beyond: false,
            is_blocked: false,
            after,
            next_due: maybe_instant_at(due, 0)?,
        };
        for row in rows {
            pass.is_partial |= value_at::<bool>(row, 8)?;
            pass.is_beyond |= value_at::<Option<bool>>(row, 9)?.unwrap_or(false);
            pass.is_blocked |= value_at::<bool>(row, 10)?;
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
        let (token, count) = (claims.first().map(|claim| claim.token), claims.len());
        let mut deliveries = Vec::with_capacity(count);
        for claim in claims {
            let (seq, ordinal) = split_key(claim.key);
            let Some(event) = events.get(&seq) else {
                tracing::error!(seq, "a delivery's event is missing");
                continue;
            };
            let lease = Lease {
                delivery: DeliveryId::nth(event.message, ordinal),
                token: claim.token,
            };
            let delivery = event.leased(lease, claim.endpoint, claim.attempts);
            let held = Held::new(request.worker, claim.endpoint, expires_at, claim.key);
            ledger.hold(delivery.lease, held);
            deliveries.push(delivery);
        }
        if let Some(token) = token.filter(|_| deliveries.len() == count) {
            ledger.hold_together(token, count);
        }
        Ok(deliveries)
    }
}

fn as_number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn first_row(answer: Option<&Answer>) -> Option<&Row> {
    answer?.rows.first()
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
        is_cut: value_at(row, 7)?,
    }))
}
