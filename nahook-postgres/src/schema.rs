//! The schema and how an older one is brought up to date.

use nahook_core::Metadata;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::connection::Link;
use crate::statement::{Opening, quoted};
use crate::{ConnectError, PostgresSettings};

/// Each brings the schema from one version to the next; the first makes it. Only ever appended to.
const MIGRATIONS: &[&[&str]] = &[
    &[
        include_str!("schema/1_tables.sql"),
        include_str!("schema/2_functions.sql"),
        include_str!("schema/publish.sql"),
        include_str!("schema/3_recorder.sql"),
        include_str!("schema/4_leases.sql"),
        include_str!("schema/5_trigger.sql"),
    ],
    &[
        // The recorder takes an entry without a request for no first attempt: its functions are replaced.
        include_str!("schema/3_recorder.sql"),
        // List cursors need no key any more.
        "DROP TABLE {schema}.sealing_key;",
    ],
    &[
        // The function `trigger` has the bounds of labels.
        include_str!("schema/5_trigger.sql"),
    ],
    &[
        // An endpoint subscribes to names, and to patterns of them.
        include_str!("schema/6_patterns.sql"),
    ],
    &[
        // Secrets may be sealed, and go when nobody needs them any more.
        include_str!("schema/7_secrets.sql"),
    ],
    &[include_str!("schema/8_page_sessions.sql")],
    &[
        // Plans limit work, and what a workspace has is counted.
        include_str!("schema/9_plans.sql"),
    ],
    &[
        // The start of a receiver's answer is kept.
        include_str!("schema/10_response_body.sql"),
        include_str!("schema/3_recorder.sql"),
    ],
    &[include_str!("schema/11_counts.sql")],
    &[include_str!("schema/12_event_by_key.sql")],
    &[
        // A fan-out is one record, whatever its width.
        include_str!("schema/13_records.sql"),
        include_str!("schema/publish.sql"),
        include_str!("schema/3_recorder.sql"),
    ],
];

/// The first half of the advisory locks that we take: "nahk".
pub(crate) const LOCK_CLASS: i32 = 0x6e61_686b;

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    // With E'' a backslash means the same whatever the server's settings.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Refuses a name that cannot stand for itself in every statement of ours.
pub(crate) fn check_name(schema: &str) -> Result<(), ConnectError> {
    let is_usable = (1..=63).contains(&schema.len()) && !schema.contains(['$', '{', '}', '\0']);
    is_usable.then_some(()).ok_or(ConnectError::SchemaName)
}

/// Makes the schema what this program needs, or says why it is not.
///
/// Safe from any number of processes at once: all but one wait. All of it is one transaction.
pub(crate) async fn prepare(link: &Link, settings: &PostgresSettings) -> Result<(), ConnectError> {
    // A transaction also because a pooler's session is ours for no longer.
    link.begin(LOOK).await?;
    check_server(&link.client).await?;
    let is_current = is_current(&link.client, settings, MIGRATIONS).await?;
    link.client.batch_execute("COMMIT").await?;
    if is_current {
        return Ok(());
    }
    let migrated = migrate(link, &settings.schema, MIGRATIONS).await;
    if migrated.is_err() {
        // The connection is given up in any case; a failed roll-back changes nothing.
        let _ = link.client.batch_execute("ROLLBACK").await;
    }
    migrated
}

/// Without writing: the usual case also works on a server that only reads.
const LOOK: Opening = Opening {
    begin: "BEGIN READ ONLY",
    further: "",
};

const MIGRATE: Opening = Opening {
    begin: "BEGIN",
    further: "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'; \
        SET LOCAL enable_seqscan = on",
};

async fn check_server(client: &Client) -> Result<(), ConnectError> {
    let query =
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let row = client.query_typed_one(query, &[]).await?;
    if row.try_get::<_, i32>(0)? < 130_000 {
        return Err(ConnectError::ServerTooOld);
    }
    if row.try_get::<_, &str>(1)? != "UTF8" {
        return Err(ConnectError::Encoding);
    }
    Ok(())
}

/// Returns true if the schema is what this program needs, and false if it has to be made so.
async fn is_current(
    client: &Client,
    settings: &PostgresSettings,
    migrations: &[&[&str]],
) -> Result<bool, ConnectError> {
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found = version(client, &settings.schema).await?;
    if found > known {
        return Err(ConnectError::NewerSchema { found, known });
    }
    if found < known && !settings.migrate {
        return Err(ConnectError::OutdatedSchema { found, known });
    }
    Ok(found == known)
}

async fn migrate(link: &Link, schema: &str, migrations: &[&[&str]]) -> Result<(), ConnectError> {
    link.begin(MIGRATE).await?;
    let client = &link.client;
    client
        .query_typed(
            "SELECT pg_advisory_xact_lock($1, hashtext($2))",
            &[(&LOCK_CLASS, Type::INT4), (&schema, Type::TEXT)],
        )
        .await?;
    // Read under the lock: another process may just have done the same.
    let found = version(client, schema).await?;
    let name = quoted(schema);
    if found == 0 {
        // Not IF NOT EXISTS where it exists: that needs the right to create all the same.
        if !exists(
            client,
            "SELECT FROM pg_namespace WHERE nspname = $1",
            schema,
        )
        .await?
        {
            client
                .batch_execute(&format!("CREATE SCHEMA {name}"))
                .await?;
        }
        client
            .batch_execute(&format!(
                "CREATE TABLE {name}.migration (
                     version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            ))
            .await?;
    }
    for (version, migration) in (1i32..).zip(migrations) {
        if u32::try_from(version).is_ok_and(|version| version <= found) {
            continue;
        }
        for part in *migration {
            client.batch_execute(&filled_in(part, schema)).await?;
        }
        let note = format!("INSERT INTO {name}.migration (version) VALUES ($1)");
        client
            .execute_typed(&note, &[(&version, Type::INT4)])
            .await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// The statements with the schema's name and the bounds of labels in them. Bounds that change need a further migration.
fn filled_in(template: &str, schema: &str) -> String {
    let name = quoted(schema);
    template
        .replace(
            "'{schema}.event_seq'",
            &literal(&format!("{name}.event_seq")),
        )
        .replace("{channel}", &literal(schema))
        .replace("{labels_max}", &Metadata::KEYS_MAX.to_string())
        .replace("{label_key_len_max}", &Metadata::KEY_LEN_MAX.to_string())
        .replace(
            "{label_value_len_max}",
            &Metadata::VALUE_LEN_MAX.to_string(),
        )
        .replace("{schema}", &name)
}

/// The schema's version; 0 if there is none.
async fn version(client: &Client, schema: &str) -> Result<u32, tokio_postgres::Error> {
    let table = "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = 'migration'";
    if !exists(client, table, schema).await? {
        return Ok(0);
    }
    let name = quoted(schema);
    let query = format!("SELECT coalesce(max(version), 0) FROM {name}.migration");
    let row = client.query_typed_one(&query, &[]).await?;
    Ok(u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0))
}

/// Returns true if the system catalog has such a row. Asks the tables themselves: `to_regclass` may answer from the
/// session's cache of before it waited for the lock.
async fn exists(client: &Client, query: &str, schema: &str) -> Result<bool, tokio_postgres::Error> {
    let query = format!("SELECT EXISTS ({query})");
    let row = client
        .query_typed_one(&query, &[(&schema, Type::TEXT)])
        .await?;
    row.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Databases keep the functions that the latest migration made.
    #[test]
    fn bounds_of_labels_are_those_of_the_latest_migration() {
        let bounds = (
            Metadata::KEYS_MAX,
            Metadata::KEY_LEN_MAX,
            Metadata::VALUE_LEN_MAX,
        );
        assert_eq!(
            (bounds, MIGRATIONS.len()),
            ((5, 128, 1_024), 11),
            "append a migration that makes `trigger` again"
        );
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b\\"), "E'a\\'b\\\\'");
        assert!(check_name("it's \"odd\"").is_ok());
        for name in ["", "a$b", "{", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
