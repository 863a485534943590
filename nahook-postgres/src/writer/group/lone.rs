//! The statement for a trigger that shares it with nobody.

use std::collections::HashSet;

use tokio::time::timeout;

use super::{Failed, GRACE, WriterConnection, places, unsent};
use crate::parameter::Parameter;
use crate::row::{Bits, nanos};
use crate::writer::PublishJob;

/// The same as [`PUBLISH`](super::together::PUBLISH) for one event, in fewer steps: most of what a narrow one costs is
/// setting up the plan.
///
/// Without its workspace or its event type there is no `k`, and no endpoint is found either: then all places are answered.
pub(super) const PUBLISH_LONE: &str = "
WITH k AS MATERIALIZED (
    SELECT w.row AS workspace, t.row AS event_type, nextval('event_seq') AS seq
    FROM workspace w LEFT JOIN event_type t ON t.id = $3::text
    WHERE w.id = $2::text AND ($3::text IS NULL OR t.row IS NOT NULL)
), p AS MATERIALIZED (
    SELECT u.place, u.ordinal, (
        SELECT p.row FROM endpoint p WHERE p.id = u.id AND p.deleted_at IS NULL
            AND p.workspace + 0 = (SELECT k.workspace FROM k)
    ) AS row
    FROM unnest($7::integer[], $8::text[]) WITH ORDINALITY AS u (ordinal, id, place)
), written AS (
    INSERT INTO event (seq, id, workspace, event_type, accepted_at, metadata, payload)
    SELECT k.seq, $1::uuid, k.workspace, k.event_type, $4::bigint, $5::text, $6::bytea
    FROM k WHERE EXISTS (SELECT FROM p WHERE p.row IS NOT NULL)
), queued AS (
    INSERT INTO delivery (key, endpoint, due_at, attempts, status)
    SELECT k.seq << 20 | p.ordinal, p.row, $4::bigint, 0, 0
    FROM k CROSS JOIN p WHERE p.row IS NOT NULL
)
SELECT p.place::integer FROM p WHERE p.row IS NULL";

impl WriterConnection {
    /// Writes the job; answers the places, counted from 1 among its deliveries, of those that it has left out.
    pub(super) async fn write_lone(&mut self, job: &PublishJob) -> Result<HashSet<i32>, Failed> {
        let ordinals: Vec<_> = job.slots.iter().map(|slot| slot.0).collect();
        let endpoints: Vec<_> = job.slots.iter().map(|slot| slot.1.as_str()).collect();
        let event = &job.event;
        let Some(open) = &self.open else {
            return Err(unsent());
        };
        let parameters: [&dyn Parameter; 8] = [
            &Bits(event.id.as_bits()),
            &event.workspace.as_str(),
            &job.event_type(),
            &nanos(event.accepted_at),
            &job.metadata,
            &&event.payload.as_bytes()[..],
            &ordinals,
            &endpoints,
        ];
        let asked = open.link.query(&open.publish_lone, &parameters);
        places(&self.concluded(timeout(self.statement_timeout + GRACE, asked).await)?)
    }
}
