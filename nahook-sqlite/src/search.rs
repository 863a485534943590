//! Lists of deliveries, read from an index page by page.

use std::ops::Range;

use foldhash::HashSet;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{
    DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats, DeliveryStatus, StatsQuery,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::SqliteStore;
use crate::log::record_for;
use crate::record::FreshOf;
use crate::row::{ORDINAL_BITS, delivery_key, message_at, nanos, status_codes};

/// Number of keys read at once.
const STEP: usize = 256;

/// Finds keys in the index alone.
const KEYS: &str = "SELECT key FROM nahook_delivery INDEXED BY nahook_delivery_by_status
     WHERE endpoint = ?1 AND status = ?2 AND key >= ?3 AND key < ?4 ORDER BY key DESC LIMIT ?5";

/// An event is written that soon after it was accepted; the engine's deadline is shorter.
const WRITTEN_WITHIN: i64 = 60 * 1_000_000_000;

/// So many events are looked at one by one, in whatever order they were accepted.
const LOOKED_AT: i64 = 4_096;

#[async_trait::async_trait]
impl DeliverySearch for SqliteStore {
    async fn stored_len(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        self.measure_stored(*workspace).await
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        let shared = self.shared();
        let (asked, now) = (query.clone(), shared.now());
        let place = shared
            .readers()
            .read(move |connection| place(connection, &asked));
        let Some((endpoint, range)) = place.await? else {
            return Ok(Vec::new());
        };
        // Before the file is read: what has left memory by then is found there.
        let leased = shared.queue().state().leased_of(endpoint, now);
        let query = query.clone();
        let page = shared.readers().read(move |connection| {
            Search {
                connection,
                endpoint,
                leased,
            }
            .page(&query, range)
        });
        page.await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        self.count(query).await
    }
}

/// The endpoint's row, and between which keys the deliveries are that are asked for.
fn place(
    connection: &Connection,
    query: &DeliveryQuery,
) -> rusqlite::Result<Option<(i64, Range<i64>)>> {
    let Some(endpoint) = endpoint_ever(connection, query.endpoint, query.workspace)? else {
        return Ok(None);
    };
    let first = match query.since {
        Some(since) => first_key_since(connection, since)?,
        None => 0,
    };
    let end = match query.before {
        Some(before) => place_of(connection, before)?,
        None => i64::MAX,
    };
    Ok(Some((endpoint, first..end)))
}

/// The endpoint's row, if the workspace has it or had it before it was deleted.
pub(crate) fn endpoint_ever(
    connection: &Connection,
    id: EndpointId,
    workspace: WorkspaceId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT row FROM nahook_endpoint
             WHERE id = ?1 AND workspace = (SELECT row FROM nahook_workspace WHERE id = ?2)",
        )?
        .query_row(params![id.as_str(), workspace.as_str()], |row| row.get(0))
        .optional()
}

/// The lowest key that a delivery accepted then or later may have.
///
/// Events are numbered as they are written, which is nearly the order in which they are accepted: the place is found by
/// halving what is left.
pub(crate) fn first_key_since(connection: &Connection, since: Timestamp) -> rusqlite::Result<i64> {
    let since = nanos(since).saturating_sub(WRITTEN_WITHIN);
    let ends = "SELECT coalesce((SELECT min(seq) FROM nahook_event), 0), coalesce((SELECT max(seq) FROM nahook_event), -1)";
    let (mut low, mut high) = connection.prepare_cached(ends)?.query_row([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? + 1))
    })?;
    let mut at_or_after = connection.prepare_cached(
        "SELECT seq, accepted_at FROM nahook_event WHERE seq >= ?1 ORDER BY seq LIMIT 1",
    )?;
    while high - low > LOOKED_AT {
        let middle = low + (high - low) / 2;
        let found = at_or_after.query_row([middle], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        match found.optional()? {
            Some((seq, accepted_at)) if seq < high && since > accepted_at => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low << ORDINAL_BITS)
}

/// The key of that delivery, or where it would be if it were still there.
fn place_of(connection: &Connection, id: DeliveryId) -> rusqlite::Result<i64> {
    let before = connection
        .prepare_cached("SELECT seq, id FROM nahook_event WHERE id < ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([id.as_bits().to_be_bytes().as_slice()], |row| {
            Ok((row.get::<_, i64>(0)?, message_at(row, 1)?))
        })
        .optional()?;
    Ok(before.map_or(0, |(seq, message)| {
        let ordinal = id.ordinal(message);
        let known = ordinal.and_then(|ordinal| delivery_key(seq, ordinal));
        known.unwrap_or((seq + 1) << ORDINAL_BITS)
    }))
}

/// A list in the making.
struct Search<'a> {
    connection: &'a Transaction<'a>,
    endpoint: i64,
    leased: HashSet<i64>,
}

impl Search<'_> {
    fn page(
        &self,
        query: &DeliveryQuery,
        mut rest: Range<i64>,
    ) -> rusqlite::Result<Vec<DeliveryRecord>> {
        let mut page = Vec::new();
        while page.len() < query.limit && !rest.is_empty() {
            let step = (query.limit - page.len()).clamp(STEP / 4, STEP);
            let (keys, has_more) = self.keys(query.status, &rest, step)?;
            if !has_more {
                rest.start = rest.end;
            }
            for key in keys {
                if page.len() == query.limit {
                    break;
                }
                rest.end = key;
                page.extend(self.wanted(key, query)?);
            }
        }
        Ok(page)
    }

    /// The delivery, if it is one of those that are asked for.
    fn wanted(&self, key: i64, query: &DeliveryQuery) -> rusqlite::Result<Option<DeliveryRecord>> {
        Ok(record_for(self.connection, key, self.endpoint)?
            .map(|mut record| {
                record.status = record.status.while_leased(self.leased.contains(&key));
                record
            })
            .filter(|record| query.status.is_none_or(|status| record.status == status))
            .filter(|record| query.since.is_none_or(|since| record.created_at >= since)))
    }

    /// At most so many of the highest keys in the range that may be of that status, and whether it may have others.
    fn keys(
        &self,
        status: Option<DeliveryStatus>,
        range: &Range<i64>,
        max: usize,
    ) -> rusqlite::Result<(Vec<i64>, bool)> {
        let (mut keys, mut until) = (Vec::new(), None);
        if status == Some(DeliveryStatus::Delivering) {
            keys.extend(self.leased.iter().filter(|key| range.contains(key)));
        } else {
            if status.is_none_or(|status| status == DeliveryStatus::Pending) {
                let fresh = FreshOf {
                    endpoint: self.endpoint,
                    keys: range.clone(),
                    is_newest_first: true,
                    with_submitted: true,
                };
                (keys, until) = fresh.first(self.connection, max)?;
            }
            let mut highest = self.connection.prepare_cached(KEYS)?;
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            let statuses = DeliveryStatus::ALL.into_iter();
            let wanted = statuses.filter(|it| status.is_none_or(|status| status == *it));
            for code in wanted.flat_map(status_codes) {
                let params = params![self.endpoint, code, range.start, range.end, limit];
                for key in highest.query_map(params, |row| row.get::<_, i64>(0))? {
                    keys.push(key?);
                }
            }
        }
        keys.retain(|key| until.is_none_or(|until| *key >= until));
        keys.sort_unstable_by(|one, other| other.cmp(one));
        let has_more = until.is_some() || keys.len() >= max;
        keys.truncate(max);
        Ok((keys, has_more))
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::MessageId;
    use rusqlite::StatementStatus;

    use super::*;
    use crate::row::message_at;
    use crate::schema::{empty, plan_of};

    const SECOND: i64 = 1_000_000_000;

    /// So many events, one a second, each with a delivery of one endpoint; every fiftieth is dead, and of the last three others one is pending and one fresh.
    fn with_events(count: i64) -> Connection {
        let connection = empty();
        let fill = format!(
            "INSERT INTO nahook_workspace (row, id, name, payload_len_max, created_at) VALUES (1, 'ws_a', 'a', 1, 1);
             INSERT INTO nahook_environment (row, id, workspace, name, slug, is_default, created_at, updated_at)
             VALUES (1, 'env_a', 1, 'a', 'a', 1, 1, 1);
             INSERT INTO nahook_endpoint (row, id, workspace, environment, url, kind, config, metadata, secret,
                 is_active, created_at, updated_at)
             VALUES (1, 'ep_a', 1, 1, '', 0, '{{}}', '{{}}', '', 1, 1, 1);
             CREATE TEMP TABLE n AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
                 SELECT n FROM n;
             INSERT INTO nahook_event (seq, id, workspace, accepted_at, width, payload)
             SELECT n, unhex(printf('%032x', n * 1048576)), 1, n * {SECOND}, 1, x'7b7d' FROM n;
             INSERT INTO nahook_delivery (key, endpoint, status, attempts)
             SELECT n << 20, 1, CASE WHEN n % 50 = 0 THEN 4 WHEN n = {count} - 2 THEN 0 ELSE 2 END, 1 FROM n
             WHERE n <> {count} - 1;
             INSERT INTO nahook_record VALUES ({count} - 1, '[1]');"
        );
        connection.execute_batch(&fill).unwrap();
        connection
    }

    fn id_of(connection: &Connection, seq: i64) -> DeliveryId {
        let message: MessageId = connection
            .query_row("SELECT id FROM nahook_event WHERE seq = ?1", [seq], |row| {
                message_at(row, 0)
            })
            .unwrap();
        DeliveryId::nth(message, 0)
    }

    /// The numbers of the events found, and the steps that SQLite took to find their keys.
    fn searched(connection: &Connection, query: &DeliveryQuery) -> (Vec<i64>, i32) {
        let transaction = connection.unchecked_transaction().unwrap();
        let search = Search {
            connection: &transaction,
            endpoint: 1,
            leased: HashSet::default(),
        };
        let (_, range) = place(connection, query).unwrap().unwrap();
        let keys = || connection.prepare_cached(KEYS).unwrap();
        keys().reset_status(StatementStatus::VmStep);
        let page = search.page(query, range).unwrap();
        let steps = keys().get_status(StatementStatus::VmStep);
        let seq = |record: &DeliveryRecord| i64::try_from(record.message.as_bits() >> 20).unwrap();
        (page.iter().map(seq).collect(), steps)
    }

    fn query() -> DeliveryQuery {
        DeliveryQuery {
            workspace: WorkspaceId::new("ws_a").unwrap(),
            endpoint: EndpointId::new("ep_a").unwrap(),
            status: None,
            since: None,
            before: None,
            limit: 50,
        }
    }

    #[test]
    fn keys_are_found_in_the_index_alone() {
        let plan = plan_of(&empty(), KEYS);
        let expected = "SEARCH nahook_delivery USING COVERING INDEX nahook_delivery_by_status (endpoint=? AND status=? AND rowid>? AND rowid<?)";
        assert_eq!(plan, [expected]);
    }

    #[test]
    fn what_is_read_does_not_grow_with_the_log() {
        let (small, large) = (with_events(6_000), with_events(48_000));
        let asked = |connection: &Connection, count: i64| {
            let deep = Some(id_of(connection, count / 2));
            let at = |seq: i64| Some(Timestamp::from_nanos((seq * SECOND).cast_unsigned()));
            [
                query(),
                DeliveryQuery {
                    before: deep,
                    ..query()
                },
                DeliveryQuery {
                    status: Some(DeliveryStatus::DeadLetter),
                    limit: 3,
                    ..query()
                },
                DeliveryQuery {
                    status: Some(DeliveryStatus::Pending),
                    ..query()
                },
                DeliveryQuery {
                    status: Some(DeliveryStatus::Failed),
                    ..query()
                },
                DeliveryQuery {
                    since: at(count - 5),
                    ..query()
                },
                DeliveryQuery {
                    since: at(count / 2 + 7),
                    before: deep,
                    ..query()
                },
            ]
        };
        let expected = |count: i64| -> [Vec<i64>; 7] {
            [
                (count - 49..=count).rev().collect(),
                (count / 2 - 50..count / 2).rev().collect(),
                vec![count, count - 50, count - 100],
                vec![count - 1, count - 2],
                vec![],
                (count - 5..=count).rev().collect(),
                vec![],
            ]
        };
        for ((few, many), (small_expected, large_expected)) in asked(&small, 6_000)
            .iter()
            .zip(&asked(&large, 48_000))
            .zip(expected(6_000).into_iter().zip(expected(48_000)))
        {
            let (found, steps_of_few) = searched(&small, few);
            assert_eq!(found, small_expected, "{few:?}");
            let (found, steps_of_many) = searched(&large, many);
            assert_eq!(found, large_expected, "{many:?}");
            assert!(
                steps_of_many <= 2 * steps_of_few,
                "{steps_of_many} for {many:?}, {steps_of_few} for the small log"
            );
        }
    }

    #[test]
    fn the_place_of_an_instant_and_of_what_is_gone_is_found() {
        let connection = with_events(20_000);
        let at = |seconds: i64| Timestamp::from_nanos((seconds * SECOND).cast_unsigned());
        for since in [1, 5_000, 12_345, 19_999, 30_000] {
            let first = first_key_since(&connection, at(since)).unwrap() >> ORDINAL_BITS;
            let latest = (since - 60).clamp(1, 20_001);
            assert!(
                (latest - LOOKED_AT..=latest).contains(&first),
                "{first} for {since}"
            );
        }
        let (gone, before_it) = (id_of(&connection, 700), id_of(&connection, 699));
        let place = place_of(&connection, gone).unwrap();
        connection
            .execute("DELETE FROM nahook_event WHERE seq = 700", [])
            .unwrap();
        assert_eq!(place_of(&connection, gone).unwrap(), place);
        assert_eq!(
            place_of(&connection, before_it).unwrap(),
            699 << ORDINAL_BITS
        );
        connection.execute("DELETE FROM nahook_event", []).unwrap();
        assert_eq!(place_of(&connection, gone).unwrap(), 0);
        assert_eq!(first_key_since(&connection, at(1)).unwrap(), 0);
    }
}
