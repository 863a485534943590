//! One statement for everything that has an idempotency key; one for each where it fails.

use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{FailureKind, IdempotencyKey, Outcome, Timestamp};
use tokio::time::{Instant, timeout};

use super::{BUDGET, Failed, GRACE, WriterConnection, unsent};
use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{Bits, nanos, value_at};
use crate::writer::{PublishJob, Written};

/// Writes events and records of deliveries to endpoints that exist, for each key once; answers, slot by slot, counted from 1, whose
/// endpoint exists, which message its key stands for.
///
/// A key that stands for something is written as it was, which locks it and answers with it: also where another
/// transaction has claimed it since this statement began. Keys are claimed in one order, so that no two statements wait
/// for one another.
pub(super) const PUBLISH_KEYED: &str = "
WITH s AS MATERIALIZED (
    SELECT u.n, u.message, u.key, u.accepted_at, u.payload, w.row AS workspace, p.row AS endpoint
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::bytea[])
        WITH ORDINALITY AS u (message, workspace, endpoint, key, accepted_at, payload, n)
    JOIN workspace w ON w.id = u.workspace
    JOIN endpoint p ON p.id = u.endpoint AND p.workspace = w.row AND p.deleted_at IS NULL
), c AS (
    INSERT INTO idempotency_key AS i (endpoint, key, message, claimed_at)
    SELECT DISTINCT ON (s.endpoint, s.key) s.endpoint, s.key, s.message, $7::bigint
    FROM s ORDER BY s.endpoint, s.key, s.n
    ON CONFLICT (endpoint, key) DO UPDATE SET
        message = CASE WHEN i.claimed_at > $8::bigint THEN i.message ELSE excluded.message END,
        claimed_at = CASE WHEN i.claimed_at > $8::bigint THEN i.claimed_at ELSE excluded.claimed_at END
    RETURNING i.endpoint, i.key, i.message
), e AS MATERIALIZED (
    SELECT nextval('event_seq') AS seq, s.message, s.workspace, s.accepted_at, s.payload, s.key, s.endpoint
    FROM s JOIN c ON c.endpoint = s.endpoint AND c.key = s.key
    WHERE c.message = s.message
), written AS (
    INSERT INTO event (seq, id, workspace, accepted_at, payload, idempotency_key)
    SELECT e.seq, e.message, e.workspace, e.accepted_at, e.payload, e.key FROM e
), queued AS (
    INSERT INTO record (key, workspace, due_at, audience, width, endpoints)
    SELECT e.seq << 20, e.workspace, e.accepted_at, e.endpoint, 1, ARRAY[e.endpoint] FROM e
)
SELECT s.n, c.message
FROM s JOIN c ON c.endpoint = s.endpoint AND c.key = s.key";

impl WriterConnection {
    /// Writes the jobs, each of which has a key, and answers every one of them.
    pub(super) async fn publish_keyed(&mut self, jobs: Vec<PublishJob>, started: Instant) {
        // Whatever is no key's one delivery is refused.
        let (jobs, empty): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| job.slots.len() == 1);
        for job in empty {
            job.refuse();
        }
        if jobs.is_empty() {
            return;
        }
        let mut before = match self.write_keyed(&jobs).await {
            Ok(outcomes) => return answer(jobs, outcomes),
            Err(failed) => failed,
        };
        // One by one, as long as there is time to wait for what they have failed with before.
        for job in jobs {
            let may_retry = before
                .retry
                .is_some_and(|patience| started.elapsed() + patience <= BUDGET);
            if !may_retry {
                job.answer(Written::all(before.outcome));
                continue;
            }
            let job = [job];
            match self.write_keyed(&job).await {
                Ok(outcomes) => answer(job, outcomes),
                Err(error) => {
                    answer(job, [error.outcome]);
                    if error.retry.is_some() {
                        before = error;
                    }
                }
            }
        }
    }

    async fn write_keyed(&mut self, jobs: &[PublishJob]) -> Result<Vec<Outcome>, Failed> {
        let messages: Vec<_> = jobs
            .iter()
            .map(|job| Bits(job.event.id.as_bits()))
            .collect();
        let workspaces: Vec<_> = jobs
            .iter()
            .map(|job| job.event.workspace.as_str())
            .collect();
        let endpoints: Vec<_> = jobs.iter().map(|job| job.slots[0].1.as_str()).collect();
        let keys: Vec<Option<&[u8]>> = jobs.iter().map(PublishJob::key).collect();
        let accepted: Vec<_> = jobs
            .iter()
            .map(|job| nanos(job.event.accepted_at))
            .collect();
        let payloads: Vec<&[u8]> = jobs
            .iter()
            .map(|job| &job.event.payload.as_bytes()[..])
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
        let asked = open.link.query(&open.publish_keyed, &parameters);
        let rows = self.concluded(timeout(self.statement_timeout + GRACE, asked).await)?;
        let mut outcomes = vec![Outcome::Failed(FailureKind::EndpointGone); jobs.len()];
        for row in &rows {
            let outcome = outcome_at(row, jobs, &mut outcomes);
            // It was written, which of it cannot be said.
            outcome.map_err(|_| Failed {
                outcome: Outcome::Failed(FailureKind::Internal),
                retry: None,
            })?;
        }
        Ok(outcomes)
    }
}

fn answer(jobs: impl IntoIterator<Item = PublishJob>, outcomes: impl IntoIterator<Item = Outcome>) {
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        job.answer(Written::all(outcome));
    }
}

fn outcome_at(
    row: &tokio_postgres::Row,
    jobs: &[PublishJob],
    outcomes: &mut [Outcome],
) -> Result<(), PgError> {
    let place = usize::try_from(value_at::<i64>(row, 0)? - 1).map_err(PgError::unreadable)?;
    let message = MessageId::from_bits(value_at::<Bits>(row, 1)?.0);
    if let (Some(job), Some(outcome)) = (jobs.get(place), outcomes.get_mut(place)) {
        *outcome = if message == job.event.id {
            Outcome::Published
        } else {
            Outcome::Replayed(DeliveryId::nth(message, 0))
        };
    }
    Ok(())
}

/// Keys claimed then or before have run out at `now`.
pub(crate) fn over_before(now: Timestamp) -> i64 {
    let window = u64::try_from(IdempotencyKey::WINDOW.as_nanos()).unwrap_or(u64::MAX);
    let before = now.as_nanos().checked_sub(window);
    // Within a day of 1970: no key can have been claimed a day before.
    before.map_or(-1, |before| nanos(Timestamp::from_nanos(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_runs_out_a_day_after_it_was_claimed() {
        const DAY: u64 = 86_400_000_000_000;
        for (now, before) in [
            (0, -1),
            (DAY - 1, -1),
            (DAY, 0),
            (3 * DAY + 7, 2 * DAY.cast_signed() + 7),
        ] {
            assert_eq!(over_before(Timestamp::from_nanos(now)), before, "{now}");
        }
    }
}
