//! One statement for everything that is sent to single endpoints; one for each where it fails.

use nahook_core::{
    DeliveryId, DirectOutcome, FailureKind, IdempotencyKey, MessageId, Outcome, Timestamp,
};
use tokio::time::{Instant, timeout};

use super::direct_job::{DirectJob, DirectSlot};
use super::group::{BUDGET, Failed, GRACE, WriterConnection, unsent};
use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{Bits, nanos, value_at};

/// Writes events and deliveries of endpoints that exist, for each key once; answers, slot by slot, counted from 1, whose
/// endpoint exists, which message its key stands for.
///
/// A key that stands for something is written as it was, which locks it and answers with it: also where another
/// transaction has claimed it since this statement began. Keys are claimed in one order, so that no two statements wait
/// for one another.
pub(super) const SEND: &str = "
WITH s AS MATERIALIZED (
    SELECT u.n, u.message, u.key, u.accepted_at, u.payload, w.row AS workspace, p.row AS endpoint
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::bytea[])
        WITH ORDINALITY AS u (message, workspace, endpoint, key, accepted_at, payload, n)
    JOIN workspace w ON w.id = u.workspace
    JOIN endpoint p ON p.id = u.endpoint AND p.workspace = w.row AND p.deleted_at IS NULL
), c AS (
    INSERT INTO idempotency_key AS i (endpoint, key, message, claimed_at)
    SELECT DISTINCT ON (s.endpoint, s.key) s.endpoint, s.key, s.message, $7::bigint
    FROM s WHERE s.key IS NOT NULL ORDER BY s.endpoint, s.key, s.n
    ON CONFLICT (endpoint, key) DO UPDATE SET
        message = CASE WHEN i.claimed_at > $8::bigint THEN i.message ELSE excluded.message END,
        claimed_at = CASE WHEN i.claimed_at > $8::bigint THEN i.claimed_at ELSE excluded.claimed_at END
    RETURNING i.endpoint, i.key, i.message
), e AS MATERIALIZED (
    SELECT nextval('event_seq') AS seq, s.message, s.workspace, s.accepted_at, s.payload, s.key, s.endpoint
    FROM s LEFT JOIN c ON c.endpoint = s.endpoint AND c.key = s.key
    WHERE c.message IS NULL OR c.message = s.message
), written AS (
    INSERT INTO event (seq, id, workspace, accepted_at, payload, idempotency_key)
    SELECT e.seq, e.message, e.workspace, e.accepted_at, e.payload, e.key FROM e
), queued AS (
    INSERT INTO delivery (key, endpoint, due_at, attempts, status)
    SELECT e.seq << 20, e.endpoint, e.accepted_at, 0, 0 FROM e
)
SELECT s.n, coalesce(c.message, s.message)
FROM s LEFT JOIN c ON c.endpoint = s.endpoint AND c.key = s.key";

impl WriterConnection {
    /// Writes the jobs, and answers every one of them.
    pub(super) async fn send(&mut self, jobs: Vec<DirectJob>, started: Instant) {
        let slots: Vec<&DirectSlot> = jobs.iter().flat_map(|job| &job.slots).collect();
        if slots.is_empty() {
            return;
        }
        let outcomes = match self.send_together(&slots).await {
            Ok(outcomes) => outcomes,
            Err(Failed {
                outcome,
                retry: None,
            }) => vec![failed(outcome); slots.len()],
            Err(before) => self.send_alone(&slots, before, started).await,
        };
        let mut outcomes = outcomes.into_iter();
        for job in jobs {
            let its = outcomes.by_ref().take(job.slots.len()).collect();
            job.answer(its);
        }
    }

    /// Writes the slots one by one, as long as there is time to wait for what they have failed with before.
    async fn send_alone(
        &mut self,
        slots: &[&DirectSlot],
        mut before: Failed,
        started: Instant,
    ) -> Vec<DirectOutcome> {
        let mut outcomes = Vec::with_capacity(slots.len());
        for slot in slots {
            let patience = before.retry.unwrap_or_default();
            if started.elapsed() + patience > BUDGET {
                outcomes.push(failed(before.outcome));
                continue;
            }
            match self.send_together(&[slot]).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) => {
                    outcomes.push(failed(error.outcome));
                    if error.retry.is_some() {
                        before = error;
                    }
                }
            }
        }
        outcomes
    }

    async fn send_together(&mut self, slots: &[&DirectSlot]) -> Result<Vec<DirectOutcome>, Failed> {
        let text = |of: fn(&DirectSlot) -> &str| slots.iter().map(|s| of(s)).collect::<Vec<_>>();
        let messages: Vec<_> = slots.iter().map(|s| Bits(s.event.id.as_bits())).collect();
        let workspaces = text(|slot| slot.event.workspace.as_str());
        let endpoints = text(|slot| slot.endpoint.as_str());
        let keys: Vec<Option<&[u8]>> = slots
            .iter()
            .map(|slot| slot.event.idempotency_key.as_ref())
            .map(|key| key.map(|key| key.as_str().as_bytes()))
            .collect();
        let accepted: Vec<_> = slots.iter().map(|s| nanos(s.event.accepted_at)).collect();
        let payloads: Vec<&[u8]> = slots
            .iter()
            .map(|slot| &slot.event.payload.as_bytes()[..])
            .collect();
        let now = self.clock.now();
        let Some(open) = self
            .open
            .as_ref()
            .filter(|open| !open.link.client.is_closed())
        else {
            return Err(unsent());
        };
        let parameters: [&dyn Parameter; 8] = [
            &messages,
            &workspaces,
            &endpoints,
            &keys,
            &accepted,
            &payloads,
            &nanos(now),
            &over_before(now),
        ];
        let asked = open.link.query(&open.send, &parameters);
        let rows = self.concluded(timeout(self.statement_timeout + GRACE, asked).await)?;
        let mut outcomes = vec![DirectOutcome::Failed(FailureKind::EndpointGone); slots.len()];
        for row in &rows {
            let outcome = outcome_at(row, slots, &mut outcomes);
            // It was written, which of it cannot be said.
            outcome.map_err(|_| Failed {
                outcome: Outcome::Failed(FailureKind::Internal),
                retry: None,
            })?;
        }
        Ok(outcomes)
    }
}

fn outcome_at(
    row: &tokio_postgres::Row,
    slots: &[&DirectSlot],
    outcomes: &mut [DirectOutcome],
) -> Result<(), PgError> {
    let place = usize::try_from(value_at::<i64>(row, 0)? - 1).map_err(PgError::unreadable)?;
    let message = MessageId::from_bits(value_at::<Bits>(row, 1)?.0);
    if let (Some(slot), Some(outcome)) = (slots.get(place), outcomes.get_mut(place)) {
        *outcome = if message == slot.event.id {
            DirectOutcome::Published
        } else {
            DirectOutcome::Replayed(DeliveryId::nth(message, 0))
        };
    }
    Ok(())
}

fn failed(outcome: Outcome) -> DirectOutcome {
    match outcome {
        Outcome::Failed(kind) => DirectOutcome::Failed(kind),
        Outcome::Published => DirectOutcome::Published,
    }
}

/// Keys claimed then or before have run out at `now`.
pub(crate) fn over_before(now: Timestamp) -> i64 {
    let window = u64::try_from(IdempotencyKey::WINDOW.as_nanos()).unwrap_or(u64::MAX);
    let before = now.as_nanos().checked_sub(window);
    // Within a day of 1970: no key can have been claimed a day before.
    before.map_or(-1, |before| nanos(Timestamp::from_nanos(before)))
}
