//! Counts over time.

use nahook_core::StoreError;
use nahook_core::id::EndpointId;
use nahook_queue::{Counts, CountsQuery, DeliveryCounts, RollUp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::SqliteStore;
use crate::row::{instant_at, nanos};
use crate::writer::Session;

/// The counts of a workspace or an endpoint in its times. The endpoint 0 stands for the whole workspace.
const COUNTS: &str = "SELECT counts.start, counts.counts FROM nahook_counts AS counts
     WHERE counts.workspace = (SELECT row FROM nahook_workspace WHERE id = ?1)
         AND counts.endpoint = CASE WHEN ?2 IS NULL THEN 0 ELSE (SELECT row FROM nahook_endpoint WHERE id = ?2) END
         AND counts.period = ?3 AND counts.start >= ?4
     ORDER BY counts.start";

#[async_trait::async_trait]
impl DeliveryCounts for SqliteStore {
    async fn add_counts(&self, roll_ups: &[RollUp]) -> Result<(), StoreError> {
        if roll_ups.is_empty() {
            return Ok(());
        }
        let roll_ups = roll_ups.to_vec();
        let work = move |session: &mut Session| roll_ups.iter().try_for_each(|it| add(session, it));
        self.shared().writer().run(work).await
    }

    async fn counts(&self, query: &CountsQuery) -> Result<Vec<RollUp>, StoreError> {
        let query = *query;
        let readers = self.shared().readers();
        readers
            .read(move |connection| find(connection, &query))
            .await
    }
}

fn find(connection: &Connection, query: &CountsQuery) -> rusqlite::Result<Vec<RollUp>> {
    let endpoint = query.endpoint.as_ref().map(EndpointId::as_str);
    connection
        .prepare_cached(COUNTS)?
        .query_map(
            params![
                query.workspace.as_str(),
                endpoint,
                query.period.code(),
                nanos(query.since)
            ],
            |row| {
                Ok(RollUp {
                    workspace: query.workspace,
                    endpoint: query.endpoint,
                    period: query.period,
                    start: instant_at(row, 0)?,
                    counts: counts_at(row, 1)?,
                })
            },
        )?
        .collect()
}

fn add(session: &mut Session, roll_up: &RollUp) -> rusqlite::Result<()> {
    let Some(workspace) = session.workspace(roll_up.workspace)? else {
        return Ok(());
    };
    let endpoint = match roll_up.endpoint {
        None => 0,
        Some(id) => match session.endpoint_ever(id, workspace)? {
            Some(row) => row,
            None => return Ok(()),
        },
    };
    let place = params![
        workspace,
        endpoint,
        roll_up.period.code(),
        nanos(roll_up.start)
    ];
    let connection = session.connection();
    let known = connection
        .prepare_cached(
            "SELECT counts FROM nahook_counts WHERE workspace = ?1 AND endpoint = ?2 AND period = ?3 AND start = ?4",
        )?
        .query_row(place, |row| counts_at(row, 0))
        .optional()?;
    let mut counts = known.unwrap_or_default();
    counts.add(&roll_up.counts);
    let bytes: Vec<u8> = counts
        .to_numbers()
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    connection
        .prepare_cached(
            "INSERT INTO nahook_counts (workspace, endpoint, period, start, counts) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (workspace, endpoint, period, start) DO UPDATE SET counts = excluded.counts",
        )?
        .execute(params![workspace, endpoint, roll_up.period.code(), nanos(roll_up.start), bytes])?;
    Ok(())
}

fn counts_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Counts> {
    let bytes = row.get_ref(column)?.as_blob()?;
    let numbers = bytes.as_chunks::<8>().0.iter();
    Ok(Counts::from_numbers(
        numbers.map(|number| u64::from_le_bytes(*number)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{empty, plan_of};

    #[test]
    fn counts_are_found_by_their_index() {
        let plan = plan_of(&empty(), COUNTS).join("\n");
        let search = "SEARCH counts USING INDEX sqlite_autoindex_nahook_counts_1 (workspace=? AND endpoint=? AND period=? AND start>?)";
        assert!(
            plan.contains(search) && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }
}
