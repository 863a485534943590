//! The file's schema and how an older one is brought up to date.

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

/// Each brings the schema from one version to the next; the first makes it. Only ever appended to.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    // List cursors need no key any more.
    "DROP TABLE sealing_key",
    // An endpoint subscribes to names, and to patterns of them.
    include_str!("patterns.sql"),
];

/// Marks the file as ours: "nhk1" in SQLite's header.
const APPLICATION_ID: i32 = 0x6e68_6b31;

/// State of a file's schema before it can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SchemaState {
    /// Nothing.
    Current,
    /// It is new, or was written by an older program.
    Outdated,
}

/// Looks at the schema without changing anything.
pub(crate) fn inspect(
    connection: &Connection,
    migrations: &[&str],
) -> Result<SchemaState, OpenError> {
    let found = version(connection)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || found != 0 || tables != 0) {
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
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", found + 1)?;
        transaction.commit()?;
    }
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
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

    const SECOND: &str =
        "ALTER TABLE workspace ADD COLUMN note TEXT; UPDATE workspace SET note = 'old'";
    const BROKEN: &str = "CREATE TABLE half (a); INSERT INTO missing VALUES (1)";

    fn with_a_workspace() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &MIGRATIONS[..1]).unwrap();
        connection
            .execute(
                "INSERT INTO workspace (id, name, payload_len_max, created_at) VALUES ('ws', 'w', 1, 1)",
                [],
            )
            .unwrap();
        connection
    }

    #[test]
    fn every_version_leads_to_the_newest() {
        let newest = u32::try_from(MIGRATIONS.len()).unwrap();
        for from in 0..=MIGRATIONS.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, &MIGRATIONS[..from]).unwrap();
            let expected = if from == MIGRATIONS.len() {
                SchemaState::Current
            } else {
                SchemaState::Outdated
            };
            assert_eq!(inspect(&connection, MIGRATIONS).unwrap(), expected);
            migrate(&mut connection, MIGRATIONS).unwrap();
            assert_eq!(version(&connection).unwrap(), newest);
            assert_eq!(
                inspect(&connection, MIGRATIONS).unwrap(),
                SchemaState::Current
            );
        }
    }

    #[test]
    fn a_further_version_keeps_what_is_there() {
        let mut connection = with_a_workspace();
        let migrations = [MIGRATIONS[0], SECOND];
        assert_eq!(
            inspect(&connection, &migrations).unwrap(),
            SchemaState::Outdated
        );
        migrate(&mut connection, &migrations).unwrap();
        let note: String = connection
            .query_row("SELECT note FROM workspace WHERE id = 'ws'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(note, "old");
        assert!(matches!(
            inspect(&connection, &MIGRATIONS[..1]),
            Err(OpenError::NewerSchema { found: 2, known: 1 })
        ));
    }

    #[test]
    fn subscriptions_from_before_patterns_are_by_name() {
        let mut connection = with_a_workspace();
        let old = "INSERT INTO environment VALUES (1, 'env', 1, 'p', 'p', 1, 1, 1, NULL);
            INSERT INTO event_type VALUES (1, 'evt', 1, 'order.paid', NULL, 1, NULL);
            INSERT INTO endpoint (row, id, workspace, environment, url, kind, config, metadata, secret, is_active, created_at,
                updated_at) VALUES (1, 'ep', 1, 1, 'u', 0, '{}', '{}', 's', 1, 1, 1);
            INSERT INTO subscription VALUES (1, 'sub', 1, 1, 1, 1)";
        connection.execute_batch(old).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let named = "SELECT is_named FROM subscription";
        let named: bool = connection.query_row(named, [], |row| row.get(0)).unwrap();
        assert!(named);
    }

    #[test]
    fn a_version_that_fails_leaves_no_trace() {
        let mut connection = with_a_workspace();
        assert!(migrate(&mut connection, &[MIGRATIONS[0], BROKEN]).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        let halves: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name = 'half'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(halves, 0);
    }
}
