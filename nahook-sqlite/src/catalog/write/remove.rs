//! Removing what has a history: the row stays and is marked, what makes no sense without it goes.

use nahook_control::KeyState;
use nahook_core::Timestamp;
use rusqlite::{Connection, params};

use super::{Written, application_row, endpoint_row, environment_row, event_type_row};
use crate::row::nanos;

pub(super) fn application(
    connection: &Connection,
    id: &str,
    workspace: i64,
    now: Timestamp,
) -> Written {
    let row = application_row(connection, id, workspace)?;
    let mark = "UPDATE nahook_application SET deleted_at = ?2 WHERE row = ?1";
    execute(connection, mark, params![row, nanos(now)])?;
    let sessions = "DELETE FROM nahook_portal_session WHERE application = ?1";
    execute(connection, sessions, [row])?;
    let endpoints: Vec<i64> = connection
        .prepare_cached(
            "SELECT row FROM nahook_endpoint WHERE application = ?1 AND deleted_at IS NULL",
        )?
        .query_map([row], |found| found.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for endpoint in endpoints {
        remove_endpoint(connection, endpoint, now)?;
    }
    Ok(())
}

pub(super) fn endpoint(
    connection: &Connection,
    id: &str,
    workspace: i64,
    now: Timestamp,
) -> Written {
    let row = endpoint_row(connection, id, workspace)?;
    Ok(remove_endpoint(connection, row, now)?)
}

pub(super) fn environment(
    connection: &Connection,
    id: &str,
    workspace: i64,
    now: Timestamp,
) -> Written {
    let row = environment_row(connection, id, workspace)?;
    let mark = "UPDATE nahook_environment SET deleted_at = ?2 WHERE row = ?1";
    execute(connection, mark, params![row, nanos(now)])?;
    let publications = "DELETE FROM nahook_publication WHERE environment = ?1";
    execute(connection, publications, [row])?;
    let keys = "UPDATE nahook_api_key SET state = ?2 WHERE environment = ?1";
    execute(connection, keys, params![row, revoked()])?;
    Ok(())
}

pub(super) fn event_type(
    connection: &Connection,
    id: &str,
    workspace: i64,
    now: Timestamp,
) -> Written {
    let row = event_type_row(connection, id, workspace)?;
    let mark = "UPDATE nahook_event_type SET deleted_at = ?2 WHERE row = ?1";
    execute(connection, mark, params![row, nanos(now)])?;
    let subscriptions = "DELETE FROM nahook_subscription WHERE event_type = ?1";
    execute(connection, subscriptions, [row])?;
    let publications = "DELETE FROM nahook_publication WHERE event_type = ?1";
    execute(connection, publications, [row])?;
    Ok(())
}

fn remove_endpoint(connection: &Connection, row: i64, now: Timestamp) -> rusqlite::Result<()> {
    // Its secrets are of no use to anybody any more; a Slack endpoint's URL is one.
    let mark = "UPDATE nahook_endpoint SET deleted_at = ?2, secret = '', previous_secret = NULL,
             previous_secret_until = NULL, auth_password = NULL, config = '{}',
             url = CASE kind WHEN 1 THEN '' ELSE url END
         WHERE row = ?1";
    execute(connection, mark, params![row, nanos(now)])?;
    let patterns = "DELETE FROM nahook_pattern WHERE endpoint = ?1";
    execute(connection, patterns, [row])?;
    let subscriptions = "DELETE FROM nahook_subscription WHERE endpoint = ?1";
    execute(connection, subscriptions, [row])?;
    let keys = "UPDATE nahook_api_key SET state = ?2 WHERE endpoint = ?1";
    execute(connection, keys, params![row, revoked()])
}

fn execute(
    connection: &Connection,
    statement: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute(params)?;
    Ok(())
}

fn revoked() -> u8 {
    KeyState::Revoked.code()
}
