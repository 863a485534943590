//! The file's schema and how an older one is brought up to date.

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

/// The statements that lead on from each version, by its number: a new file begins with 0. Only ever appended to.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("schema/schema.sql"),
    // List cursors need no key any more.
    "DROP TABLE sealing_key",
    // An endpoint subscribes to names, and to patterns of them.
    include_str!("schema/3_patterns.sql"),
    include_str!("schema/4_prefix.sql"),
    include_str!("schema/5_submission.sql"),
    include_str!("schema/6_payload_len_max.sql"),
    // Secrets may be sealed, and go when nobody needs them any more.
    include_str!("schema/7_secrets.sql"),
    include_str!("schema/8_page_sessions.sql"),
    include_str!("schema/9_plans.sql"),
    include_str!("schema/10_labels.sql"),
    include_str!("schema/11_response_body.sql"),
    include_str!("schema/12_counts.sql"),
    include_str!("schema/13_event_by_key.sql"),
    include_str!("schema/14_changed_in.sql"),
    include_str!("schema/15_records.sql"),
    include_str!("schema/16_audiences.sql"),
];

/// The first version that notes its number in a table of its own. Files before it are the store's alone: they note it in
/// `user_version`, and a new file begins with this one.
const FIRST_OF_TABLE: u32 = 4;

/// Marks a file of an earlier version as ours: "nhk1" in SQLite's header.
const APPLICATION_ID: i32 = 0x6e68_6b31;

/// State of a file's schema before it can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SchemaState {
    /// Nothing.
    Current,
    /// It is new, or was written by an older program.
    Outdated,
}

/// Looks at the schema without changing anything. A file with other tables and none of ours is refused, unless
/// `shares_file`.
pub(crate) fn inspect(
    connection: &Connection,
    migrations: &[&str],
    shares_file: bool,
) -> Result<SchemaState, OpenError> {
    let found = version(connection)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found == 0 && !shares_file && is_in_use(connection)? {
        return Err(OpenError::Foreign);
    }
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    Ok(if found == known {
        SchemaState::Current
    } else {
        SchemaState::Outdated
    })
}

/// Brings the schema up to date, each version in a transaction of its own: interrupted, it goes on where it was.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read under the lock: another process may just have done the same.
        let found = version(&transaction)?;
        let Some(migration) = migrations.get(usize::try_from(found).unwrap_or(usize::MAX)) else {
            return Ok(());
        };
        transaction.execute_batch(migration)?;
        if found >= FIRST_OF_TABLE {
            transaction.execute("UPDATE nahook_schema SET version = ?1", [found + 1])?;
        } else if found > 0 {
            // Also for programs that look nowhere else: they refuse what is newer than they are.
            transaction.pragma_update(None, "user_version", found + 1)?;
        }
        transaction.commit()?;
    }
}

/// Returns the version of the schema; 0 if the file has none.
fn version(connection: &Connection) -> rusqlite::Result<u32> {
    if connection.table_exists(None, "nahook_schema")? {
        let statement = "SELECT version FROM nahook_schema";
        return connection.query_row(statement, [], |row| row.get(0));
    }
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION_ID {
        return connection.pragma_query_value(None, "user_version", |row| row.get(0));
    }
    Ok(0)
}

/// Returns true if another program has written to the file.
fn is_in_use(connection: &Connection) -> rusqlite::Result<bool> {
    let header = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application = header("application_id")?;
    let is_ours = application == i64::from(APPLICATION_ID);
    Ok(tables != 0 || header("user_version")? != 0 || (application != 0 && !is_ours))
}

/// An empty file of the newest schema, in memory.
#[cfg(test)]
pub(crate) fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS).unwrap();
    connection
}

/// The steps by which SQLite answers a statement.
#[cfg(test)]
pub(crate) fn plan_of(connection: &Connection, statement: &str) -> Vec<String> {
    let mut explained = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
        .unwrap();
    let steps = explained.raw_query().mapped(|row| row.get("detail"));
    steps.collect::<Result<_, _>>().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "ALTER TABLE nahook_workspace ADD COLUMN note TEXT; UPDATE nahook_workspace SET note = 'old'";
    const BROKEN: &str = "CREATE TABLE half (a); INSERT INTO missing VALUES (1)";

    /// The newest schema and one more.
    fn with_one_more(next: &'static str) -> Vec<&'static str> {
        MIGRATIONS.iter().copied().chain([next]).collect()
    }

    fn with_a_workspace() -> Connection {
        let connection = empty();
        connection
            .execute(
                "INSERT INTO nahook_workspace (id, name, payload_len_max, created_at) VALUES ('ws', 'w', 1, 1)",
                [],
            )
            .unwrap();
        connection
    }

    /// A file of a version before the table of versions, with an event and its delivery.
    fn old(version: usize) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(include_str!("schema/old_1.sql"))
            .unwrap();
        for migration in &MIGRATIONS[1..version] {
            connection.execute_batch(migration).unwrap();
        }
        let fill = format!(
            "PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {version};
             INSERT INTO event (seq, id, workspace, accepted_at, width) VALUES (1, x'07', 1, 1, 1);
             INSERT INTO delivery (key, endpoint, attempts) VALUES (1 << 20, 1, 0);"
        );
        connection.execute_batch(&fill).unwrap();
        connection
    }

    /// Everything that the file has, in one spelling.
    fn objects(connection: &Connection) -> Vec<String> {
        let statement = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name";
        let mut found = connection.prepare(statement).unwrap();
        let found = found.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let spelled = |sql: String| {
            let lines = sql
                .lines()
                .map(|line| line.split("--").next().unwrap_or(""));
            lines.collect::<String>().replace([' ', '"'], "")
        };
        found.map(|sql| spelled(sql.unwrap())).collect()
    }

    #[test]
    fn every_version_leads_to_the_newest() {
        let newest = u32::try_from(MIGRATIONS.len()).unwrap();
        for from in [1, 2, 3] {
            let mut connection = old(from);
            let before = inspect(&connection, MIGRATIONS, false).unwrap();
            assert_eq!(before, SchemaState::Outdated);
            migrate(&mut connection, MIGRATIONS).unwrap();
            assert_eq!(version(&connection).unwrap(), newest);
            let after = inspect(&connection, MIGRATIONS, false).unwrap();
            assert_eq!(after, SchemaState::Current);
            assert_eq!(objects(&connection), objects(&empty()), "from {from}");
            let kept = "SELECT count(*) FROM nahook_fresh JOIN nahook_event ON seq = event";
            let kept: i64 = connection.query_row(kept, [], |row| row.get(0)).unwrap();
            assert_eq!(kept, 1);
            // An older program looks here, and refuses what is newer than it is.
            let header = connection.pragma_query_value(None, "user_version", |row| row.get(0));
            assert!(header.is_ok_and(|version: u32| version > 3));
        }
    }

    #[test]
    fn file_of_an_app_keeps_what_is_the_apps() {
        let mut connection = Connection::open_in_memory().unwrap();
        let theirs = "CREATE TABLE event (a); CREATE INDEX delivery_fresh ON event (a);
             CREATE TABLE workspace (b); PRAGMA user_version = 7; PRAGMA application_id = 9";
        connection.execute_batch(theirs).unwrap();
        let before = objects(&connection);
        assert!(matches!(
            inspect(&connection, MIGRATIONS, false),
            Err(OpenError::Foreign)
        ));
        let state = inspect(&connection, MIGRATIONS, true).unwrap();
        assert_eq!(state, SchemaState::Outdated);
        migrate(&mut connection, MIGRATIONS).unwrap();
        let after = objects(&connection);
        assert!(before.iter().all(|object| after.contains(object)));
        for (pragma, expected) in [("user_version", 7), ("application_id", 9)] {
            let kept = connection.pragma_query_value(None, pragma, |row| row.get(0));
            assert_eq!(kept, Ok(expected));
        }
        // Once the store is in it, it is known without being told.
        let state = inspect(&connection, MIGRATIONS, false).unwrap();
        assert_eq!(state, SchemaState::Current);
    }

    #[test]
    fn everything_in_the_file_has_the_prefix() {
        let statement = "SELECT count(*) FROM sqlite_schema
             WHERE name NOT GLOB 'nahook_*' AND name NOT GLOB 'sqlite_autoindex_nahook_*'";
        let others: i64 = empty().query_row(statement, [], |row| row.get(0)).unwrap();
        assert_eq!(others, 0);
    }

    #[test]
    fn a_further_version_keeps_what_is_there() {
        let mut connection = with_a_workspace();
        let migrations = with_one_more(NEXT);
        let before = inspect(&connection, &migrations, false).unwrap();
        assert_eq!(before, SchemaState::Outdated);
        migrate(&mut connection, &migrations).unwrap();
        let note: String = connection
            .query_row(
                "SELECT note FROM nahook_workspace WHERE id = 'ws'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(note, "old");
        let newer = version(&connection).unwrap();
        assert!(matches!(
            inspect(&connection, MIGRATIONS, false),
            Err(OpenError::NewerSchema { found, .. }) if found == newer
        ));
    }

    #[test]
    fn subscriptions_from_before_patterns_are_by_name() {
        let mut connection = old(2);
        let rows = "INSERT INTO workspace (row, id, name, payload_len_max, created_at) VALUES (1, 'ws', 'w', 1, 1);
            INSERT INTO environment VALUES (1, 'env', 1, 'p', 'p', 1, 1, 1, NULL);
            INSERT INTO event_type VALUES (1, 'evt', 1, 'order.paid', NULL, 1, NULL);
            INSERT INTO endpoint (row, id, workspace, environment, url, kind, config, metadata, secret, is_active, created_at,
                updated_at) VALUES (1, 'ep', 1, 1, 'u', 0, '{}', '{}', 's', 1, 1, 1);
            INSERT INTO subscription VALUES (1, 'sub', 1, 1, 1, 1)";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let named = "SELECT is_named FROM nahook_subscription";
        let named: bool = connection.query_row(named, [], |row| row.get(0)).unwrap();
        assert!(named);
        // What was there before is counted as well.
        let counted = "SELECT group_concat(kind || rows, ' ') FROM nahook_row_count ORDER BY kind";
        let counted: String = connection.query_row(counted, [], |row| row.get(0)).unwrap();
        assert_eq!(counted, "endpoint1 event_type1 subscription1");
    }

    #[test]
    fn deliveries_that_were_fresh_before_records_are_in_one_or_pending() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &MIGRATIONS[..14]).unwrap();
        let rows = "INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES
                 (1048576, 5, NULL, 0), (1048577, 6, NULL, 0), (1048578, 7, 1, 1), (1048579, 8, 2, 1),
                 (2097152, 5, 2, 1), (2097153, 6, NULL, 0), (2097154, 7, NULL, 0), (3145728, 9, NULL, 0);
             INSERT INTO nahook_submission (event) VALUES (3);
             INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 1), (2, x'02', 1, 1, 1), (3, x'03', 1, 1, 1)";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let text =
            |sql: &str| -> String { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        let rows = "SELECT group_concat((key >> 20) || '/' || endpoint || ':' || status, ' ') FROM nahook_delivery";
        assert_eq!(text(rows), "1/7:1 1/8:2 2/5:2 2/6:0 2/7:0");
        let records = "SELECT group_concat(event || endpoints, ' ') FROM nahook_record";
        assert_eq!(text(records), "1[5,6] 3[9]");
        let members = "SELECT group_concat(audience || '.' || ordinal || ':' || endpoint, ' ') FROM nahook_member";
        assert_eq!(text(members), "1.0:5 1.1:6 2.0:9");
        let fresh = "SELECT group_concat((key >> 20) || '.' || (key & 1048575) || ':' || endpoint, ' ') FROM nahook_fresh";
        assert_eq!(text(fresh), "1.0:5 1.1:6 3.0:9");
        // What was to be adopted still is.
        let submissions = "SELECT group_concat(event, ' ') FROM nahook_submission";
        assert_eq!(text(submissions), "3");
    }

    #[test]
    fn a_version_that_fails_leaves_no_trace() {
        let mut connection = with_a_workspace();
        let newest = version(&connection).unwrap();
        assert!(migrate(&mut connection, &with_one_more(BROKEN)).is_err());
        assert_eq!(version(&connection).unwrap(), newest);
        assert!(!connection.table_exists(None, "half").unwrap());
    }
}
