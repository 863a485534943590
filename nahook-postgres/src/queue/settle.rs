//! Settling and extending: many leases by one statement.

use std::collections::HashSet;
use std::time::Duration;

use nahook_core::id::{DeliveryId, MessageId};
use nahook_queue::{DeliveryState, Lease, LeaseToken, Settled, Settlement};

use crate::error::PgError;
use crate::lender::Lent;
use crate::parameter::Parameter;
use crate::row::{Bits, delivery_key, nanos, value_at};
use crate::store::PostgresStore;

/// Settles deliveries: the new status by number; 0 leaves it as it is.
const SETTLE: &str = "
WITH s AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[],
        $5::bigint[], $6::bigint[], $7::integer[], $8::text[], $10::text[])
        AS s (key, token, next, retry_at, started_at, duration, status_code, error, response_body)
), done AS (
    UPDATE delivery d SET
        status = CASE s.next WHEN 0 THEN d.status ELSE s.next END,
        due_at = CASE s.next WHEN 0 THEN d.due_at WHEN 1 THEN s.retry_at END,
        wake_at = CASE s.next WHEN 1 THEN s.retry_at END,
        lease_token = NULL,
        attempts = d.attempts + CASE WHEN s.started_at IS NULL THEN 0 ELSE 1 END,
        first_attempt_at = coalesce(d.first_attempt_at,
            CASE WHEN s.error LIKE 'not attempted: %' THEN NULL ELSE s.started_at END),
        delivered_at = CASE s.next WHEN 2 THEN $9::bigint END,
        updated_at = CASE WHEN s.next = 0 AND s.started_at IS NULL THEN d.updated_at ELSE $9::bigint END
    FROM s
    WHERE d.key = s.key AND d.lease_token = s.token AND d.due_at IS NOT NULL
    RETURNING d.key, d.attempts, s.started_at, s.duration, s.status_code, s.error, s.response_body
), attempted AS (
    INSERT INTO attempt (delivery, number, started_at, duration, status_code, error, response_body)
    SELECT d.key, d.attempts, d.started_at, d.duration, d.status_code, d.error, d.response_body
    FROM done d WHERE d.started_at IS NOT NULL
)
SELECT d.key FROM done d";

/// Postpones the check for expired leases, if all leases taken together that are left were extended.
const EXTEND: &str = "
WITH later AS (
    UPDATE lease e SET look_at = CASE WHEN EXISTS (
            SELECT FROM unnest(e.keys) AS k (key) JOIN delivery d ON d.key = k.key
            WHERE d.lease_token = e.token AND d.wake_at IS NOT NULL AND (d.wake_at <= $4 OR d.key <> ALL ($1)))
        THEN least(e.look_at, $3) ELSE $3 END
    FROM (SELECT DISTINCT u.token FROM unnest($2::bigint[]) AS u (token)) t WHERE e.token = t.token
)
UPDATE delivery d SET wake_at = $3
FROM unnest($1::bigint[], $2::bigint[]) AS l (key, token)
WHERE d.key = l.key AND d.lease_token = l.token AND d.wake_at > $4 AND d.due_at IS NOT NULL
    AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
RETURNING d.key";

/// The events whose deliveries' ids follow their own, for leases that this process does not remember.
const EVENTS: &str = "
SELECT l.place, e.seq, e.id
FROM unnest($1::uuid[]) WITH ORDINALITY AS l (id, place)
CROSS JOIN LATERAL (SELECT seq, id FROM event WHERE id < l.id ORDER BY id DESC LIMIT 1) e";

impl PostgresStore {
    pub(super) async fn settle_leases(
        &self,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, PgError> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let shared = self.shared();
        let mut lent = shared.lender.lend().await?;
        let leases: Vec<_> = settlements
            .iter()
            .map(|settlement| settlement.lease)
            .collect();
        let keys = self.keys(&mut lent, &leases).await?;
        let mut batch = Batch::default();
        for (settlement, key) in settlements.iter().zip(&keys) {
            if let Some(key) = key {
                batch.add(*key, settlement);
            }
        }
        let now = nanos(shared.clock().now());
        let rows = lent.query(SETTLE, &batch.parameters(&now)).await?;
        let mut done = HashSet::with_capacity(rows.len());
        for row in &rows {
            done.insert(value_at::<i64>(row, 0)?);
        }
        let mut is_news = false;
        let mut settled = Vec::with_capacity(settlements.len());
        for (settlement, key) in settlements.iter().zip(keys) {
            shared.ledger.end(settlement.lease);
            // Each row once: of two settlements of one lease the second has lost it.
            let is_done = key.is_some_and(|key| done.remove(&key));
            is_news |= is_done
                && !settlement
                    .next
                    .state()
                    .is_some_and(DeliveryState::has_ended);
            settled.push(if is_done {
                Settled::Done
            } else {
                Settled::LeaseLost
            });
        }
        if is_news {
            shared.signals.queue_has_changed();
        } else {
            // There is room for another of the same endpoints' deliveries, here.
            shared.signals.wake();
        }
        Ok(settled)
    }

    pub(super) async fn extend_leases(
        &self,
        leases: &[Lease],
        duration: Duration,
    ) -> Result<Vec<bool>, PgError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let shared = self.shared();
        let mut lent = shared.lender.lend().await?;
        let keys = self.keys(&mut lent, leases).await?;
        let found = keys
            .iter()
            .zip(leases)
            .filter_map(|(key, lease)| Some(((*key)?, lease)));
        let (rows, tokens): (Vec<i64>, Vec<i64>) =
            found.map(|(key, lease)| (key, stored(lease.token))).unzip();
        let now = shared.clock().now();
        let expires_at = now.saturating_add(duration);
        let parameters: [&dyn Parameter; 4] = [&rows, &tokens, &nanos(expires_at), &nanos(now)];
        let rows = lent.query(EXTEND, &parameters).await?;
        let mut extended = HashSet::with_capacity(rows.len());
        for row in &rows {
            extended.insert(value_at::<i64>(row, 0)?);
        }
        Ok(leases
            .iter()
            .zip(keys)
            .map(|(lease, key)| {
                let is_held = key.is_some_and(|key| extended.contains(&key));
                if is_held {
                    shared.ledger.extend(*lease, expires_at);
                }
                is_held
            })
            .collect())
    }

    /// The leases' rows, as far as there are any.
    async fn keys(&self, lent: &mut Lent, leases: &[Lease]) -> Result<Vec<Option<i64>>, PgError> {
        let ledger = &self.shared().ledger;
        let mut keys: Vec<_> = leases.iter().map(|lease| ledger.key(*lease)).collect();
        let unknown: Vec<_> = (0..leases.len()).filter(|at| keys[*at].is_none()).collect();
        if unknown.is_empty() {
            return Ok(keys);
        }
        let ids: Vec<_> = unknown
            .iter()
            .map(|at| Bits(leases[*at].delivery.as_bits()))
            .collect();
        for row in &lent.query(EVENTS, &[&ids]).await? {
            let place: i64 = value_at(row, 0)?;
            let message = MessageId::from_bits(value_at::<Bits>(row, 2)?.0);
            let at = usize::try_from(place - 1)
                .ok()
                .and_then(|place| unknown.get(place));
            if let Some(at) = at {
                keys[*at] = key_of(leases[*at].delivery, message, value_at(row, 1)?);
            }
        }
        Ok(keys)
    }
}

fn key_of(delivery: DeliveryId, message: MessageId, seq: i64) -> Option<i64> {
    delivery_key(seq, delivery.ordinal(message)?)
}

/// A token as it is stored.
pub(super) fn stored(token: LeaseToken) -> i64 {
    // One that we have not given is nobody's.
    i64::try_from(token.0).unwrap_or(-1)
}

/// Settlements by column.
#[derive(Default)]
struct Batch<'a> {
    added: HashSet<(i64, i64)>,
    keys: Vec<i64>,
    tokens: Vec<i64>,
    nexts: Vec<i16>,
    retries: Vec<Option<i64>>,
    starts: Vec<Option<i64>>,
    durations: Vec<Option<i64>>,
    status_codes: Vec<Option<i32>>,
    errors: Vec<Option<&'a str>>,
    bodies: Vec<Option<&'a str>>,
}

impl<'a> Batch<'a> {
    fn add(&mut self, key: i64, settlement: &'a Settlement) {
        let token = stored(settlement.lease.token);
        if !self.added.insert((key, token)) {
            return;
        }
        let state = settlement.next.state();
        let attempt = settlement.attempt.as_ref();
        self.keys.push(key);
        self.tokens.push(token);
        self.nexts
            .push(state.map_or(0, |state| i16::from(state.code())));
        self.retries
            .push(state.and_then(DeliveryState::retry_at).map(nanos));
        self.starts
            .push(attempt.map(|attempt| nanos(attempt.started_at)));
        self.durations.push(
            attempt.map(|attempt| i64::try_from(attempt.duration.as_nanos()).unwrap_or(i64::MAX)),
        );
        self.status_codes
            .push(attempt.and_then(|attempt| attempt.status_code.map(i32::from)));
        self.errors
            .push(attempt.and_then(|attempt| attempt.error.as_deref()));
        self.bodies
            .push(attempt.and_then(|attempt| attempt.response_body.as_deref()));
    }

    fn parameters<'b>(&'b self, now: &'b i64) -> [&'b dyn Parameter; 10] {
        [
            &self.keys,
            &self.tokens,
            &self.nexts,
            &self.retries,
            &self.starts,
            &self.durations,
            &self.status_codes,
            &self.errors,
            now,
            &self.bodies,
        ]
    }
}
