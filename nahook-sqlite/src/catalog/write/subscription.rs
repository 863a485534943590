//! Subscriptions by name and by pattern. The table `subscription` has a row for each endpoint that an event type fans out to; those
//! that patterns alone gave are not named.

use nahook_control::{EventTypeRecord, PatternRecord, SubscriptionRecord, Verb, pattern_prefixes};
use rusqlite::{Connection, Params, params};

use super::{Written, endpoint_row, event_type_row, json, one, workspace_row};
use crate::row::nanos;

/// True if the pattern `p` matches the event type `t`: `EventTypePattern::matches`.
macro_rules! matches {
    () => {
        "substr(t.name, 1, length(p.prefix)) = p.prefix
         AND (p.is_deep OR instr(substr(t.name, length(p.prefix) + 1), '.') = 0)"
    };
}

/// True if the name of the event type `t` begins with the prefix of the pattern `p`, as an index of the names finds: all of their
/// characters sort before `~`.
macro_rules! is_below {
    () => {
        "t.name >= p.prefix AND t.name < p.prefix || '~'"
    };
}

/// True if a pattern of the endpoint of the subscription `s` matches its event type.
macro_rules! is_matched {
    () => {
        concat!(
            "EXISTS (SELECT 1 FROM nahook_pattern AS p JOIN nahook_event_type AS t ON t.row = s.event_type
                     WHERE p.endpoint = s.endpoint AND ",
            matches!(),
            ")"
        )
    };
}

/// Subscriptions that patterns alone give. Nobody sees their ids; both numbers make them unique.
macro_rules! subscribe {
    ($condition:literal) => {
        concat!(
            "INSERT INTO nahook_subscription (id, workspace, endpoint, event_type, created_at, is_named)
             SELECT 'sub_' || p.endpoint || '_' || t.row, p.workspace, p.endpoint, t.row, ?2, 0
             FROM nahook_pattern AS p JOIN nahook_event_type AS t
                 ON t.workspace = p.workspace AND t.deleted_at IS NULL AND ",
            is_below!(),
            " AND ",
            matches!(),
            " WHERE ",
            $condition,
            " ORDER BY p.row, t.row
             ON CONFLICT (endpoint, event_type) DO NOTHING"
        )
    };
}

pub(super) fn subscription(
    connection: &Connection,
    verb: Verb,
    row: SubscriptionRecord,
) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    if verb == Verb::Remove {
        let params = params![row.id.as_str(), workspace];
        let unnamed = concat!(
            "UPDATE nahook_subscription AS s SET is_named = 0 WHERE s.id = ?1 AND s.workspace = ?2 AND ",
            is_matched!()
        );
        if execute(connection, unnamed, params)? > 0 {
            return Ok(());
        }
        let statement = "DELETE FROM nahook_subscription WHERE id = ?1 AND workspace = ?2";
        return one(connection, "subscription", statement, params);
    }
    let endpoint = endpoint_row(connection, row.endpoint.as_str(), workspace)?;
    let event_type = event_type_row(connection, row.event_type.as_str(), workspace)?;
    super::put(
        connection,
        verb,
        "subscription",
        "INSERT INTO nahook_subscription AS s (id, workspace, endpoint, event_type, created_at, is_named)
         VALUES (?1, ?2, ?3, ?4, ?5, 1)
         ON CONFLICT (endpoint, event_type) DO UPDATE SET id = ?1, created_at = ?5, is_named = 1
         WHERE NOT s.is_named",
        params![
            row.id.as_str(),
            workspace,
            endpoint,
            event_type,
            nanos(row.created_at),
        ],
    )
}

pub(super) fn pattern(connection: &Connection, verb: Verb, row: &PatternRecord) -> Written {
    let workspace = workspace_row(connection, row.workspace)?;
    let endpoint = endpoint_row(connection, row.endpoint.as_str(), workspace)?;
    let id = row.id.as_str();
    if verb == Verb::Remove {
        let statement =
            "DELETE FROM nahook_pattern WHERE id = ?1 AND workspace = ?2 AND endpoint = ?3";
        one(
            connection,
            "pattern",
            statement,
            params![id, workspace, endpoint],
        )?;
        let ended = concat!(
            "DELETE FROM nahook_subscription AS s WHERE s.endpoint = ?1 AND NOT s.is_named
             AND s.event_type IN (
                 SELECT t.row FROM (SELECT ?3 AS prefix) AS p JOIN nahook_event_type AS t
                     ON t.workspace = ?2 AND t.deleted_at IS NULL AND ",
            is_below!(),
            ") AND NOT ",
            is_matched!()
        );
        let params = params![endpoint, workspace, row.pattern.prefix()];
        execute(connection, ended, params)?;
        return Ok(());
    }
    let created_at = nanos(row.created_at);
    one(
        connection,
        "pattern",
        "INSERT INTO nahook_pattern (id, workspace, endpoint, pattern, prefix, is_deep, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            id,
            workspace,
            endpoint,
            row.pattern.as_str(),
            row.pattern.prefix(),
            row.pattern.is_deep(),
            created_at,
        ],
    )?;
    execute(connection, subscribe!("p.id = ?1"), params![id, created_at])?;
    Ok(())
}

/// Subscribes the endpoints whose patterns match the event type ?1, which is new, by what its name can begin with.
pub(crate) const SUBSCRIBE_MATCHING: &str =
    subscribe!("t.id = ?1 AND p.prefix IN (SELECT value FROM json_each(?3))");

/// Subscribes the endpoints whose patterns match the event type, which is new.
pub(super) fn matching(connection: &Connection, event_type: &EventTypeRecord) -> Written {
    let prefixes = json(&pattern_prefixes(&event_type.name))?;
    let created_at = nanos(event_type.created_at);
    let params = params![event_type.id.as_str(), created_at, prefixes];
    execute(connection, SUBSCRIBE_MATCHING, params)?;
    Ok(())
}

fn execute(
    connection: &Connection,
    statement: &str,
    params: impl Params,
) -> rusqlite::Result<usize> {
    connection.prepare_cached(statement)?.execute(params)
}
