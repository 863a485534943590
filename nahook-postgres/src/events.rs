//! Lists of events: the table's events from the last one on, as many as one page looks at.

use nahook_core::id::{DeliveryId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{Metadata, StoreError, Timestamp};
use nahook_queue::{
    DeliveryRecord, EventPage, EventQuery, EventRecord, EventSearch, LOOKED_AT_MAX,
};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::log::{deliveries, record_columns};
use crate::parameter::Parameter;
use crate::row::{Bits, instant_at, maybe_parsed_at, split_key, value_at};
use crate::store::PostgresStore;

/// Events before the number $1, at most $2 of them; of these the ones of the workspace $3, of the type $4 and with one of the labels $5, at
/// most $7, of whose deliveries at most $8 are counted. They are read until there are enough of them. If there are not, the number of
/// all that were looked at comes with each row, and the time of the last one; a row without an id says only that.
///
/// Most labels are passed over without being parsed: JSON that escapes nothing has a value as it is, as the patterns $6 say. An event with a
/// label that has a NUL is not found by labels: Postgres reads no such JSON.
macro_rules! events {
    ($condition:literal) => {
        concat!("
WITH page AS MATERIALIZED (
    SELECT l.* FROM (
        SELECT e.seq, e.id, e.workspace, e.event_type, e.accepted_at, e.metadata FROM event e
        WHERE e.seq < $1", $condition, " ORDER BY e.seq DESC LIMIT $2
    ) l
    WHERE l.workspace = (SELECT w.row FROM workspace w WHERE w.id = $3)
        AND ($4::text IS NULL OR l.event_type = (SELECT t.row FROM event_type t WHERE t.id = $4))
        AND ($5::text[] IS NULL
            OR CASE WHEN (l.metadata LIKE ANY ($6::text[]) OR strpos(l.metadata, chr(92)) > 0)
                    AND strpos(l.metadata, chr(92) || 'u0000') = 0
                THEN l.metadata::jsonb @> ANY ($5::text[]::jsonb[]) END)
    ORDER BY l.seq DESC LIMIT $7
), ends AS MATERIALIZED (
    SELECT count(*) AS looked_at, min(l.accepted_at) AS oldest FROM (
        SELECT e.accepted_at FROM event e
        WHERE e.seq < $1", $condition, " ORDER BY e.seq DESC
        LIMIT CASE WHEN (SELECT count(*) FROM page) < $7 THEN $2 ELSE 0 END
    ) l
)
SELECT p.id, t.id, p.metadata, p.accepted_at, c.deliveries, c.delivered, c.given_up, n.looked_at, n.oldest
FROM ends n LEFT JOIN page p ON true LEFT JOIN event_type t ON t.row = p.event_type
LEFT JOIN LATERAL (
    SELECT count(*) AS deliveries, count(*) FILTER (WHERE d.status = 2) AS delivered,
        count(*) FILTER (WHERE d.status IN (3, 4)) AS given_up
    FROM (SELECT o.status FROM ", deliveries!("p.seq << 20", "(p.seq + 1) << 20"), " o LIMIT $8) d
) c ON true
ORDER BY p.seq DESC")
    };
}

const EVENTS: &str = events!("");

/// The same of those that were sent with the key $9, however old they are.
const EVENTS_BY_KEY: &str = events!(" AND e.idempotency_key = $9::bytea");

/// The deliveries of the event $1 of the workspace $2, at most $3.
const DELIVERIES: &str = concat!(
    "SELECT ",
    record_columns!(),
    ", d.key FROM event e JOIN workspace w ON w.row = e.workspace AND w.id = $2
    JOIN LATERAL ",
    deliveries!("e.seq << 20", "(e.seq + 1) << 20"),
    " d ON true
    JOIN endpoint p ON p.row = d.endpoint LEFT JOIN event_type t ON t.row = e.event_type
    WHERE e.id = $1 ORDER BY d.key LIMIT $3"
);

/// The event with that id, or the one before.
const PLACE: &str = "SELECT e.seq, e.id FROM event e WHERE e.id <= $1 ORDER BY e.id DESC LIMIT 1";

#[async_trait::async_trait]
impl EventSearch for PostgresStore {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        Ok(self.event_page(query).await?)
    }

    async fn event_deliveries(
        &self,
        event: MessageId,
        workspace: &WorkspaceId,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parameters: [&dyn Parameter; 3] = [&Bits(event.as_bits()), &workspace.as_str(), &limit];
        let rows = self.shared().lender.query(DELIVERIES, &parameters).await?;
        let record = |row: &Row| {
            let (_, ordinal) = split_key(value_at(row, 14)?);
            self.record_at(DeliveryId::nth(event, ordinal), row)
        };
        let records: Result<_, PgError> = rows.iter().map(record).collect();
        Ok(records?)
    }
}

impl PostgresStore {
    async fn event_page(&self, query: &EventQuery) -> Result<EventPage, PgError> {
        let before = match query.before {
            Some(before) => self.event_place_of(before).await?,
            None => i64::MAX,
        };
        let (labels, patterns) = conditions(&query.labels);
        if labels.as_ref().is_some_and(Vec::is_empty) {
            return Ok(EventPage::default());
        }
        let event_type = query.event_type.as_ref().map(EventTypeId::as_str);
        let (looked_at_max, counted_max) = (
            i64::from(LOOKED_AT_MAX),
            i64::from(EventRecord::COUNTED_MAX),
        );
        // One more than is shown says whether there is a next page.
        let limit = i64::try_from(query.limit + 1).unwrap_or(i64::MAX);
        let parameters: [&dyn Parameter; 8] = [
            &before,
            &looked_at_max,
            &query.workspace.as_str(),
            &event_type,
            &labels,
            &patterns,
            &limit,
            &counted_max,
        ];
        let lender = &self.shared().lender;
        let rows = match &query.idempotency_key {
            None => lender.query(EVENTS, &parameters).await?,
            Some(key) => {
                let key = key.as_str().as_bytes();
                let [
                    before,
                    max,
                    workspace,
                    event_type,
                    labels,
                    patterns,
                    limit,
                    counted,
                ] = parameters;
                let parameters = [
                    before, max, workspace, event_type, labels, patterns, limit, counted, &key,
                ];
                lender.query(EVENTS_BY_KEY, &parameters).await?
            }
        };
        let mut page = EventPage::default();
        for row in &rows {
            page.events.extend(event_at(row)?);
        }
        if page.events.len() > query.limit {
            page.events.truncate(query.limit);
            page.next = page.events.last().map(|event| event.id);
        } else if let Some(row) = rows.first()
            && value_at::<i64>(row, 7)? == looked_at_max
        {
            // Made of the time alone: it may be another workspace's.
            page.next = Some(MessageId::from_parts(instant_at(row, 8)?, 0));
        }
        Ok(page)
    }

    /// The number of that event, or one above that of the event with the next smaller id.
    async fn event_place_of(&self, id: MessageId) -> Result<i64, PgError> {
        let lender = &self.shared().lender;
        let rows = lender.query(PLACE, &[&Bits(id.as_bits())]).await?;
        let Some(row) = rows.first() else {
            return Ok(0);
        };
        let is_it = value_at::<Bits>(row, 1)?.0 == id.as_bits();
        Ok(value_at::<i64>(row, 0)? + i64::from(!is_it))
    }
}

/// Labels as JSON, each an object of its own, and patterns that match JSON with one of their values; nothing if any event is meant. Those with
/// a NUL, which no event is found by, are left out.
fn conditions(labels: &[(String, String)]) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if labels.is_empty() {
        return (None, None);
    }
    let has_nul = |(key, value): &&(String, String)| key.contains('\0') || value.contains('\0');
    let labels: Vec<_> = labels.iter().filter(|label| !has_nul(label)).collect();
    let json = labels
        .iter()
        .map(|(key, value)| serde_json::json!({ key: value }).to_string());
    let mut patterns: Vec<_> = labels.iter().map(|(_, value)| pattern(value)).collect();
    patterns.sort_unstable();
    patterns.dedup();
    (Some(json.collect()), Some(patterns))
}

/// A pattern of `LIKE` for texts that contain this one.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// `None` if the row is of no event.
fn event_at(row: &Row) -> Result<Option<EventRecord>, PgError> {
    let Some(Bits(bits)) = value_at::<Option<Bits>>(row, 0)? else {
        return Ok(None);
    };
    let metadata = match value_at::<Option<&str>>(row, 2)? {
        Some(json) => serde_json::from_str(json).map_err(PgError::unreadable)?,
        None => Metadata::default(),
    };
    let count = |column| {
        let count = value_at::<i64>(row, column)?;
        Ok::<_, PgError>(u32::try_from(count).unwrap_or(0))
    };
    let accepted_at: Timestamp = instant_at(row, 3)?;
    Ok(Some(EventRecord {
        id: MessageId::from_bits(bits),
        event_type: maybe_parsed_at(row, 1)?,
        metadata,
        accepted_at,
        deliveries: count(4)?,
        delivered: count(5)?,
        given_up: count(6)?,
    }))
}
