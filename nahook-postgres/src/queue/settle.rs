//! Settling and extending: many leases by one statement.

use std::collections::HashSet;
use std::time::Duration;

use nahook_core::id::{DeliveryId, MessageId};
use nahook_queue::{DeliveryState, Lease, LeaseToken, Next, Settled, Settlement};

use crate::error::PgError;
use crate::leases::LeaseLedger;
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

/// Makes rows of deliveries of the process $1, settled: what [`SETTLE`] would make of rows that were never attempted. Those that
/// are rows already stay as they are: nobody makes rows of what it has in hand meanwhile. Answers which it has made; a row without
/// a key says that the process is not known.
///
/// The lock on the process keeps others from taking over what it has in hand meanwhile.
const SETTLE_IN_HAND: &str = "
WITH me AS MATERIALIZED (
    SELECT p.token FROM process p WHERE p.token = $1 FOR KEY SHARE
), s AS MATERIALIZED (
    SELECT s.* FROM me CROSS JOIN unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::integer[], $10::text[], $11::text[])
        AS s (key, endpoint, accepted_at, next, retry_at, started_at, duration, status_code, error, response_body)
    WHERE NOT EXISTS (SELECT FROM delivery d WHERE d.key = s.key)
), done AS (
    INSERT INTO delivery (key, endpoint, due_at, wake_at, first_attempt_at, delivered_at, updated_at, attempts, status)
    SELECT s.key, s.endpoint, CASE s.next WHEN 0 THEN s.accepted_at WHEN 1 THEN s.retry_at END,
        CASE s.next WHEN 1 THEN s.retry_at END,
        CASE WHEN s.error LIKE 'not attempted: %' THEN NULL ELSE s.started_at END,
        CASE s.next WHEN 2 THEN $12::bigint END, $12::bigint, CASE WHEN s.started_at IS NULL THEN 0 ELSE 1 END, s.next
    FROM s
), attempted AS (
    INSERT INTO attempt (delivery, number, started_at, duration, status_code, error, response_body)
    SELECT s.key, 1, s.started_at, s.duration, s.status_code, s.error, s.response_body FROM s WHERE s.started_at IS NOT NULL
)
SELECT s.key FROM s UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM me)";

/// Makes rows that wait of the process's deliveries $2, for the endpoints $3 and due at $4, and removes the finished records $5.
/// Answers nothing if the process is not known.
///
/// Rows wait for the disk: nothing here remembers them after that, and their record goes once all of it are rows. A record that a crash
/// of the server brings back is removed again.
const PUT_ROWS: &str = "
WITH me AS MATERIALIZED (
    SELECT p.token FROM process p WHERE p.token = $1
        AND (cardinality($2::bigint[]) > 0 OR set_config('synchronous_commit', 'off', true) = 'off') FOR KEY SHARE
), put AS (
    INSERT INTO delivery (key, endpoint, due_at, attempts, status)
    SELECT u.key, u.endpoint, u.due_at, 0, 0
    FROM me CROSS JOIN unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS u (key, endpoint, due_at)
    ON CONFLICT (key) DO NOTHING
), gone AS (
    DELETE FROM record r USING me WHERE r.key = ANY ($5::bigint[]) AND r.owner = me.token
)
SELECT me.token FROM me";

/// Leases of deliveries in hand that are being settled. Those that are left when this is dropped are as before.
struct Settling<'a> {
    ledger: &'a LeaseLedger,
    leases: Vec<Lease>,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.ledger.with_taken(|taken| {
            for lease in &self.leases {
                taken.stop_settling(*lease);
            }
        });
    }
}

impl PostgresStore {
    pub(super) async fn settle_leases(
        &self,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, PgError> {
        let ledger = &self.shared().ledger;
        let mut settled = vec![Settled::LeaseLost; settlements.len()];
        let (mut in_hand, mut of_rows) = (Vec::new(), Vec::new());
        ledger.with_taken(|taken| {
            for (place, settlement) in settlements.iter().enumerate() {
                let lease = settlement.lease;
                let is_release = settlement.next == Next::Release && settlement.attempt.is_none();
                if !taken.holds(lease) {
                    of_rows.push(place);
                } else if !taken.begin_settling(lease) {
                    // Somebody is settling it.
                } else if is_release {
                    taken.release(lease);
                    settled[place] = Settled::Done;
                } else {
                    in_hand.push(place);
                }
            }
        });
        let are_released = settled.contains(&Settled::Done);
        if !in_hand.is_empty() {
            self.settle_in_hand(settlements, &in_hand, &mut settled)
                .await?;
        }
        if !of_rows.is_empty() {
            self.settle_rows(settlements, &of_rows, &mut settled)
                .await?;
        }
        if ledger.are_rows_blocked() {
            self.shared().signals.wake();
        } else if are_released || !in_hand.is_empty() {
            // There is room for another of the same endpoints' deliveries, here.
            self.shared().signals.wake_for_room();
        }
        Ok(settled)
    }

    async fn settle_in_hand(
        &self,
        settlements: &[Settlement],
        places: &[usize],
        settled: &mut [Settled],
    ) -> Result<(), PgError> {
        let shared = self.shared();
        let ledger = &shared.ledger;
        let leases = places.iter().map(|place| settlements[*place].lease);
        let mut settling = Settling {
            ledger,
            leases: leases.collect(),
        };
        let token = ledger.token().unwrap_or(0);
        let (mut batch, mut endpoints, mut accepted) = (Batch::default(), Vec::new(), Vec::new());
        let mut keys = Vec::with_capacity(places.len());
        ledger.with_taken(|taken| {
            for place in places {
                let settlement = &settlements[*place];
                if let Some(of) = taken.get(settlement.lease.delivery) {
                    keys.push((*place, of.key));
                    batch.add(of.key, settlement);
                    endpoints.push(of.endpoint_row);
                    accepted.push(nanos(of.event.accepted_at));
                }
            }
        });
        let now = nanos(shared.clock().now());
        let parameters: [&dyn Parameter; 12] = [
            &token,
            &batch.keys,
            &endpoints,
            &accepted,
            &batch.nexts,
            &batch.retries,
            &batch.starts,
            &batch.durations,
            &batch.status_codes,
            &batch.errors,
            &batch.bodies,
            &now,
        ];
        let rows = shared.lender.query(SETTLE_IN_HAND, &parameters).await?;
        let mut done = HashSet::with_capacity(rows.len());
        for row in &rows {
            let Some(key) = value_at::<Option<i64>>(row, 0)? else {
                ledger.lose(token);
                return Ok(());
            };
            done.insert(key);
        }
        ledger.with_taken(|taken| {
            for lease in settling.leases.drain(..) {
                taken.is_row(lease.delivery);
            }
        });
        for (place, key) in keys {
            if done.contains(&key) {
                settled[place] = Settled::Done;
                match settlements[place].next {
                    Next::Retry(at) => ledger.note_next_row(at),
                    Next::Release => shared.signals.rows_have_changed(),
                    _ => {}
                }
            }
        }
        if batch.retries.iter().any(Option::is_some) {
            shared.signals.records_have_come();
        }
        Ok(())
    }

    /// Makes rows of what cannot wait in hand any longer. Removes finished records where there are so many.
    pub(super) async fn put_rows(&self, finished_min: usize) -> Result<(), PgError> {
        let shared = self.shared();
        let (ledger, now) = (&shared.ledger, shared.clock().now());
        let Some(token) = ledger.token() else {
            return Ok(());
        };
        let (mut keys, mut endpoints, mut due) = (Vec::new(), Vec::new(), Vec::new());
        let (leaving, finished) = ledger.with_taken(|taken| {
            let leaving = taken.leaving(now);
            for of in leaving.iter().filter_map(|id| taken.get(*id)) {
                keys.push(of.key);
                endpoints.push(of.endpoint_row);
                due.push(nanos(of.event.accepted_at));
            }
            (leaving, taken.finished())
        });
        if leaving.is_empty() && finished.len() < finished_min {
            return Ok(());
        }
        let parameters: [&dyn Parameter; 5] = [&token, &keys, &endpoints, &due, &finished];
        let answer = shared.lender.query(PUT_ROWS, &parameters).await?;
        if answer.is_empty() {
            ledger.lose(token);
            return Ok(());
        }
        ledger.with_taken(|taken| {
            for id in &leaving {
                taken.is_row(*id);
            }
            taken.forget_finished(&finished);
        });
        if !leaving.is_empty() {
            shared.signals.rows_have_changed();
        }
        Ok(())
    }

    async fn settle_rows(
        &self,
        settlements: &[Settlement],
        places: &[usize],
        settled: &mut [Settled],
    ) -> Result<(), PgError> {
        let shared = self.shared();
        let mut lent = shared.lender.lend().await?;
        let leases = places.iter().map(|place| settlements[*place].lease);
        let keys = self.keys(&mut lent, &leases.collect::<Vec<_>>()).await?;
        let mut batch = Batch::default();
        for (place, key) in places.iter().zip(&keys) {
            if let Some(key) = key {
                batch.add(*key, &settlements[*place]);
            }
        }
        let now = nanos(shared.clock().now());
        let rows = lent.query(SETTLE, &batch.parameters(&now)).await?;
        let mut done = HashSet::with_capacity(rows.len());
        for row in &rows {
            done.insert(value_at::<i64>(row, 0)?);
        }
        let mut is_news = false;
        for (place, key) in places.iter().zip(keys) {
            let settlement = &settlements[*place];
            shared.ledger.end(settlement.lease);
            // Each row once: of two settlements of one lease the second has lost it.
            if key.is_some_and(|key| done.remove(&key)) {
                settled[*place] = Settled::Done;
                let state = settlement.next.state();
                is_news |= !state.is_some_and(DeliveryState::has_ended);
            }
        }
        if is_news {
            shared.signals.rows_have_changed();
        } else {
            // There is room for another of the same endpoints' deliveries, here.
            shared.signals.wake();
        }
        Ok(())
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
        let now = shared.clock().now();
        let expires_at = now.saturating_add(duration);
        let mut extended: Vec<_> = shared.ledger.with_taken(|taken| {
            let leases = leases.iter();
            leases
                .map(|lease| taken.extend(*lease, expires_at))
                .collect()
        });
        let of_rows: Vec<_> = (0..leases.len()).filter(|at| !extended[*at]).collect();
        if of_rows.is_empty() {
            return Ok(extended);
        }
        let mut lent = shared.lender.lend().await?;
        let asked: Vec<_> = of_rows.iter().map(|at| leases[*at]).collect();
        let keys = self.keys(&mut lent, &asked).await?;
        let found = keys
            .iter()
            .zip(&asked)
            .filter_map(|(key, lease)| Some(((*key)?, lease)));
        let (rows, tokens): (Vec<i64>, Vec<i64>) =
            found.map(|(key, lease)| (key, stored(lease.token))).unzip();
        let parameters: [&dyn Parameter; 4] = [&rows, &tokens, &nanos(expires_at), &nanos(now)];
        let rows = lent.query(EXTEND, &parameters).await?;
        let mut held = HashSet::with_capacity(rows.len());
        for row in &rows {
            held.insert(value_at::<i64>(row, 0)?);
        }
        for (at, key) in of_rows.into_iter().zip(keys) {
            if key.is_some_and(|key| held.contains(&key)) {
                shared.ledger.extend(leases[at], expires_at);
                extended[at] = true;
            }
        }
        Ok(extended)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_a_lease_in_hand_is_no_rows() {
        // Those of rows are drawn from 1 on.
        assert_eq!(stored(LeaseToken(1)), 1);
        for in_hand in [1 << 63, u64::MAX] {
            assert_eq!(stored(LeaseToken(in_hand)), -1);
        }
    }
}
