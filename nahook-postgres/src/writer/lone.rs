//! The statement for a trigger that shares it with nobody.

use std::collections::HashSet;

use tokio::time::timeout;
use tokio_postgres::types::ToSql;

use super::PublishJob;
use super::group::{Failed, GRACE, Session, places, unsent};
use crate::row::{Bits, nanos};

/// The same as [`PUBLISH`](super::together::PUBLISH) for one event, in fewer steps: most of what a narrow one costs is
/// setting up the plan.
pub(super) const PUBLISH_LONE: &str = "
WITH p AS MATERIALIZED (
    SELECT u.place, u.ordinal, p.row
    FROM unnest($7::integer[], $8::text[]) WITH ORDINALITY AS u (ordinal, id, place)
    LEFT JOIN LATERAL (
        SELECT p.row FROM endpoint p WHERE p.id = u.id AND p.deleted_at IS NULL
            AND p.workspace + 0 = (SELECT w.row FROM workspace w WHERE w.id = $2::text)
        LIMIT 1
    ) p ON true
), written AS (
    INSERT INTO event (seq, id, workspace, event_type, accepted_at, metadata, payload)
    SELECT nextval('event_seq'), $1::uuid, w.row, (SELECT t.row FROM event_type t WHERE t.id = $3::text),
        $4::bigint, $5::text, $6::bytea
    FROM workspace w
    WHERE w.id = $2::text AND EXISTS (SELECT FROM p WHERE p.row IS NOT NULL)
        AND ($3::text IS NULL OR EXISTS (SELECT FROM event_type t WHERE t.id = $3::text))
    RETURNING seq
), queued AS (
    INSERT INTO delivery (key, endpoint, due_at, attempts, status)
    SELECT w.seq << 20 | p.ordinal, p.row, $4::bigint, 0, 0
    FROM written w CROSS JOIN p WHERE p.row IS NOT NULL
)
SELECT p.place::integer FROM p WHERE p.row IS NULL OR NOT EXISTS (SELECT FROM written)";

impl Session {
    /// Writes the job; answers the places, counted from 1 among its deliveries, of those that it has left out.
    pub(super) async fn write_lone(&mut self, job: &PublishJob) -> Result<HashSet<i32>, Failed> {
        let ordinals: Vec<_> = job.slots.iter().map(|slot| slot.0).collect();
        let endpoints: Vec<_> = job.slots.iter().map(|slot| slot.1.as_str()).collect();
        let event = &job.event;
        let Some(open) = &self.open else {
            return Err(unsent());
        };
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &Bits(event.id.as_bits()),
            &event.workspace.as_str(),
            &job.event_type(),
            &nanos(event.accepted_at),
            &job.metadata,
            &&event.payload.as_bytes()[..],
            &ordinals,
            &endpoints,
        ];
        let asked = open.client.query(&open.publish_lone, &parameters);
        places(&self.concluded(timeout(self.statement_timeout + GRACE, asked).await)?)
    }
}
