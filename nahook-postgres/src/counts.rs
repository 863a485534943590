//! Counts over time.

use nahook_core::StoreError;
use nahook_core::id::EndpointId;
use nahook_queue::{Counts, CountsQuery, DeliveryCounts, RollUp};

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{instant_at, nanos, value_at};
use crate::store::PostgresStore;

/// Adds to the counts of the workspaces $1 and the endpoints $2 in the periods $3 that begin at $4: the numbers $5, of which $6 belong
/// to each. In the order of keys, so that several processes wait for each other and never in a circle.
const ADD: &str = "
INSERT INTO counts AS c (workspace, endpoint, period, start, counts)
SELECT w.row, coalesce(p.row, 0), u.period, u.start, ($5::bigint[])[(u.place - 1) * $6::bigint + 1 : u.place * $6::bigint]
FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[]) WITH ORDINALITY
    AS u (workspace, endpoint, period, start, place)
JOIN workspace w ON w.id = u.workspace
LEFT JOIN endpoint p ON p.id = u.endpoint AND p.workspace = w.row
WHERE u.endpoint IS NULL OR p.row IS NOT NULL
ORDER BY 1, 2, 3, 4
ON CONFLICT (workspace, endpoint, period, start) DO UPDATE SET counts = (
    SELECT array_agg(coalesce(n.known, 0) + coalesce(n.more, 0) ORDER BY n.place)
    FROM unnest(c.counts, excluded.counts) WITH ORDINALITY AS n (known, more, place))
RETURNING 1";

const COUNTS: &str = "
SELECT c.start, c.counts FROM counts c
WHERE c.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1)
    AND c.endpoint = CASE WHEN $2::text IS NULL THEN 0 ELSE (SELECT p.row FROM endpoint p WHERE p.id = $2) END
    AND c.period = $3 AND c.start >= $4
ORDER BY c.start";

#[async_trait::async_trait]
impl DeliveryCounts for PostgresStore {
    async fn add_counts(&self, roll_ups: &[RollUp]) -> Result<(), StoreError> {
        if roll_ups.is_empty() {
            return Ok(());
        }
        let workspaces: Vec<_> = roll_ups.iter().map(|it| it.workspace.as_str()).collect();
        let endpoints: Vec<_> = roll_ups
            .iter()
            .map(|it| it.endpoint.as_ref().map(EndpointId::as_str))
            .collect();
        let periods: Vec<_> = roll_ups
            .iter()
            .map(|it| i16::from(it.period.code()))
            .collect();
        let starts: Vec<_> = roll_ups.iter().map(|it| nanos(it.start)).collect();
        let numbers = roll_ups.iter().flat_map(|it| it.counts.to_numbers());
        let numbers: Vec<_> = numbers
            .map(|number| i64::try_from(number).unwrap_or(i64::MAX))
            .collect();
        let len = i64::try_from(Counts::LEN).unwrap_or(i64::MAX);
        let parameters: [&dyn Parameter; 6] =
            [&workspaces, &endpoints, &periods, &starts, &numbers, &len];
        self.shared().lender.query(ADD, &parameters).await?;
        Ok(())
    }

    async fn counts(&self, query: &CountsQuery) -> Result<Vec<RollUp>, StoreError> {
        let endpoint = query.endpoint.as_ref().map(EndpointId::as_str);
        let (period, since) = (i16::from(query.period.code()), nanos(query.since));
        let parameters: [&dyn Parameter; 4] =
            [&query.workspace.as_str(), &endpoint, &period, &since];
        let rows = self.shared().lender.query(COUNTS, &parameters).await?;
        let roll_ups = rows.iter().map(|row| {
            let numbers: Vec<i64> = value_at(row, 1)?;
            let numbers = numbers
                .into_iter()
                .map(|number| u64::try_from(number).unwrap_or(0));
            Ok::<_, PgError>(RollUp {
                workspace: query.workspace,
                endpoint: query.endpoint,
                period: query.period,
                start: instant_at(row, 0)?,
                counts: Counts::from_numbers(numbers),
            })
        });
        Ok(roll_ups.collect::<Result<_, _>>()?)
    }
}
