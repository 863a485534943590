//! Lists of events: the file's events from the last one on, as many as one page looks at.

use nahook_core::StoreError;
use nahook_core::id::{EventTypeId, MessageId, WorkspaceId};
use nahook_queue::{
    DeliveryRecord, EventPage, EventQuery, EventRecord, EventSearch, LOOKED_AT_MAX,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::log::{metadata_at, record_for};
use crate::record;
use crate::row::{ORDINAL_BITS, instant_at, message_at, parsed_at};

/// The events before a number, all of them: the caller picks, so that what is looked at is bounded.
const EVENTS: &str =
    "SELECT seq, id, workspace, event_type, accepted_at, metadata FROM nahook_event
     WHERE seq < ?1 AND width > 0 ORDER BY seq DESC LIMIT ?2";

/// Those that were sent with a key, however old they are.
const EVENTS_BY_KEY: &str =
    "SELECT seq, id, workspace, event_type, accepted_at, metadata FROM nahook_event
     WHERE seq < ?1 AND width > 0 AND idempotency_key = ?3 ORDER BY seq DESC LIMIT ?2";

/// Counts those of an event's deliveries that are rows, up to a number of them.
const COUNTS: &str = "SELECT count(*), count(*) FILTER (WHERE status IN (2, 7)),
         count(*) FILTER (WHERE status IN (3, 4, 8, 9))
     FROM (SELECT status FROM nahook_delivery WHERE key >= ?1 << 20 AND key < (?1 + 1) << 20 LIMIT ?2)";

/// Counts the others, up to a number of them.
const FRESH_COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM nahook_fresh WHERE event = ?1 LIMIT ?2)";

#[async_trait::async_trait]
impl EventSearch for SqliteStore {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let query = query.clone();
        let readers = self.shared().readers();
        readers
            .read(move |connection| page(connection, &query))
            .await
    }

    async fn event_deliveries(
        &self,
        event: MessageId,
        workspace: &WorkspaceId,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let workspace = *workspace;
        let shared = self.shared();
        let found = shared.readers().read(move |connection| {
            let keys = keys(connection, event, workspace, limit)?;
            let records = keys
                .into_iter()
                .map(|(endpoint, key)| Ok((key, record_for(connection, key, endpoint)?)));
            records.collect::<rusqlite::Result<Vec<_>>>()
        });
        let found = found.await?;
        let (state, now) = (shared.queue().state(), shared.now());
        let shown = found.into_iter().filter_map(|(key, record)| {
            let mut record = record?;
            record.status = record.status.while_leased(state.is_leased(key, now));
            Some(record)
        });
        Ok(shown.collect())
    }
}

fn page(connection: &Connection, query: &EventQuery) -> rusqlite::Result<EventPage> {
    let mut page = EventPage::default();
    let Some(workspace) = workspace_row(connection, query.workspace)? else {
        return Ok(page);
    };
    let event_type = match query.event_type {
        Some(id) => match event_type_row(connection, id, workspace)? {
            Some(row) => Some(row),
            None => return Ok(page),
        },
        None => None,
    };
    let before = match query.before {
        Some(before) => place_of(connection, before)?,
        None => i64::MAX,
    };
    let key = query.idempotency_key.as_ref();
    let mut events = connection.prepare_cached(key.map_or(EVENTS, |_| EVENTS_BY_KEY))?;
    let mut rows = match key {
        Some(key) => events.query(params![before, LOOKED_AT_MAX, key.as_str().as_bytes()])?,
        None => events.query(params![before, LOOKED_AT_MAX])?,
    };
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        if page.events.len() == query.limit {
            page.next = page.events.last().map(|event| event.id);
            break;
        }
        looked_at += 1;
        let (id, accepted_at) = (message_at(row, 1)?, instant_at(row, 4)?);
        let is_asked_for = row.get::<_, i64>(2)? == workspace
            && (event_type.is_none() || row.get::<_, Option<i64>>(3)? == event_type);
        if is_asked_for {
            let metadata = metadata_at(row, 5)?;
            if query.labels.is_empty() || metadata.has_any(&query.labels) {
                let (deliveries, delivered, given_up) = counts(connection, row.get(0)?)?;
                page.events.push(EventRecord {
                    id,
                    event_type: event_type_id(connection, row.get(3)?)?,
                    metadata,
                    accepted_at,
                    deliveries,
                    delivered,
                    given_up,
                });
            }
        }
        if looked_at == LOOKED_AT_MAX {
            // Made of the time alone: it may be another workspace's.
            page.next = Some(MessageId::from_parts(accepted_at, 0));
        }
    }
    Ok(page)
}

fn counts(connection: &Connection, seq: i64) -> rusqlite::Result<(u32, u32, u32)> {
    let (rows, delivered, given_up): (u32, u32, u32) = connection
        .prepare_cached(COUNTS)?
        .query_row(params![seq, EventRecord::COUNTED_MAX], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let left = EventRecord::COUNTED_MAX.saturating_sub(rows);
    let fresh: u32 = connection
        .prepare_cached(FRESH_COUNT)?
        .query_row(params![seq, left], |row| row.get(0))?;
    Ok((rows + fresh, delivered, given_up))
}

/// The number of that event, or one above that of the event with the next smaller id.
fn place_of(connection: &Connection, id: MessageId) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached("SELECT seq, id FROM nahook_event WHERE id <= ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([id.as_bits().to_be_bytes().as_slice()], |row| {
            Ok((row.get::<_, i64>(0)?, message_at(row, 1)?))
        })
        .optional()?;
    Ok(found.map_or(0, |(seq, found)| seq + i64::from(found != id)))
}

/// Endpoints and keys of the event's first deliveries.
fn keys(
    connection: &Connection,
    event: MessageId,
    workspace: WorkspaceId,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let seq = connection
        .prepare_cached(
            "SELECT seq FROM nahook_event AS event JOIN nahook_workspace AS workspace ON workspace.row = event.workspace
             WHERE event.id = ?1 AND workspace.id = ?2",
        )?
        .query_row(
            params![event.as_bits().to_be_bytes().as_slice(), workspace.as_str()],
            |row| row.get::<_, i64>(0),
        )
        .optional()?;
    let Some(seq) = seq else {
        return Ok(Vec::new());
    };
    let (first, end) = (seq << ORDINAL_BITS, (seq + 1) << ORDINAL_BITS);
    let mut keys = record::fresh(connection, seq, limit)?;
    let max = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = connection.prepare_cached(
        "SELECT endpoint, key FROM nahook_delivery WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
    )?;
    for row in rows.query_map([first, end, max], |row| Ok((row.get(0)?, row.get(1)?)))? {
        keys.push(row?);
    }
    keys.sort_unstable_by_key(|(_, key)| *key);
    keys.truncate(limit);
    Ok(keys)
}

fn workspace_row(connection: &Connection, id: WorkspaceId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT row FROM nahook_workspace WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()
}

fn event_type_row(
    connection: &Connection,
    id: EventTypeId,
    workspace: i64,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT row FROM nahook_event_type WHERE id = ?1 AND workspace = ?2")?
        .query_row(params![id.as_str(), workspace], |row| row.get(0))
        .optional()
}

fn event_type_id(
    connection: &Connection,
    row: Option<i64>,
) -> rusqlite::Result<Option<EventTypeId>> {
    let Some(row) = row else { return Ok(None) };
    connection
        .prepare_cached("SELECT id FROM nahook_event_type WHERE row = ?1")?
        .query_row([row], |row| parsed_at(row, 0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{empty, plan_of};

    #[test]
    fn every_statement_goes_by_an_index_in_the_order_asked_for() {
        let connection = empty();
        for (statement, index) in [
            (
                EVENTS,
                "SEARCH nahook_event USING INTEGER PRIMARY KEY (rowid<?)",
            ),
            (
                EVENTS_BY_KEY,
                "SEARCH nahook_event USING INDEX nahook_event_by_key (idempotency_key=? AND rowid<?)",
            ),
            (
                COUNTS,
                "SEARCH nahook_delivery USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            ),
        ] {
            let plan = plan_of(&connection, statement).join("\n");
            let is_sorted = !plan.contains("TEMP B-TREE");
            assert!(plan.contains(index) && is_sorted, "{statement}\n{plan}");
        }
    }
}
