//! Writing what a manifest changes, row by row but many at a time.

use futures_util::future::join_all;
use nahook_core::{
    ApiKeyRecord, CatalogError, Change, EndpointRecord, EnvironmentRecord, EventTypeRecord,
    ManagementTokenRecord, ManifestError, PublicationRecord, Record, StoreError,
    SubscriptionRecord, Verb, WorkspaceRecord,
};
use tokio_postgres::types::ToSql;

use super::Failure;
use super::row::{kind_code, rate_columns, state_code};
use crate::connection::Lent;
use crate::error::PgError;
use crate::row::nanos;

/// How many statements are underway at a time.
const PIPELINE: usize = 256;

/// A statement with its parameters. Statements that refer to other rows write nothing where one of those is missing.
struct Write {
    statement: &'static str,
    parameters: Vec<Box<dyn ToSql + Send + Sync>>,
}

macro_rules! write_of {
    ($statement:expr, $($parameter:expr),+ $(,)?) => {
        Write { statement: $statement, parameters: vec![$(Box::new($parameter)),+] }
    };
}

/// Writes the changes, in their order.
pub(super) async fn write(lent: &mut Lent, changes: &[Change]) -> Result<(), Failure> {
    for chunk in changes.chunks(PIPELINE) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|change| (change.verb, &change.record))
            .collect();
        write_chunk(lent, &rows).await?;
    }
    Ok(())
}

async fn write_chunk(lent: &mut Lent, rows: &[(Verb, &Record)]) -> Result<(), Failure> {
    let mut prepared = Vec::with_capacity(rows.len());
    for (verb, record) in rows {
        let write = statement(*verb, record);
        prepared.push((lent.prepare(write.statement).await?, write.parameters));
    }
    let client = lent.begin()?;
    // Sent in this order, without waiting for one another's answers.
    let written = join_all(prepared.iter().map(|(statement, parameters)| async move {
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|value| &**value as _).collect();
        client.execute(statement, &parameters).await
    }))
    .await;
    for ((_, record), written) in rows.iter().zip(written) {
        check(record, written.map_err(PgError::from))?;
    }
    Ok(())
}

/// Writes one row.
pub(super) async fn write_one(lent: &mut Lent, verb: Verb, record: &Record) -> Result<(), Failure> {
    write_chunk(lent, &[(verb, record)]).await
}

fn check(record: &Record, written: Result<u64, PgError>) -> Result<(), Failure> {
    let (what, name) = described(record);
    match written {
        Ok(0) => Err(CatalogError::Store(StoreError::internal(format!(
            "nothing was written for {what} {name:?}"
        )))
        .into()),
        Ok(_) => Ok(()),
        Err(error) if error.is_taken() => {
            let name = name.to_owned();
            Err(CatalogError::Manifest(ManifestError::Taken { what, name }).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn described(record: &Record) -> (&'static str, &str) {
    match record {
        Record::ApiKey(row) => ("API key", &row.name),
        Record::Endpoint(row) => ("endpoint", row.id.as_str()),
        Record::Environment(row) => ("environment", &row.slug),
        Record::EventType(row) => ("event type", row.name.as_str()),
        Record::ManagementToken(row) => ("management token", &row.name),
        Record::Publication(row) => ("publication", row.event_type.as_str()),
        Record::Subscription(row) => ("subscription", row.id.as_str()),
        Record::Workspace(row) => ("workspace", &row.name),
    }
}

fn statement(verb: Verb, record: &Record) -> Write {
    match record {
        Record::ApiKey(row) => api_key(verb, row),
        Record::Endpoint(row) => endpoint(verb, row),
        Record::Environment(row) => environment(verb, row),
        Record::EventType(row) => event_type(verb, row),
        Record::ManagementToken(row) => management_token(verb, row),
        Record::Publication(row) => publication(verb, *row),
        Record::Subscription(row) => subscription(verb, *row),
        Record::Workspace(row) => workspace(verb, row),
    }
}

fn workspace(verb: Verb, row: &WorkspaceRecord) -> Write {
    let (workspace_interval, workspace_burst) = rate_columns(row.plan.workspace_rate);
    let (key_interval, key_burst) = rate_columns(row.plan.key_rate);
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO workspace (id, name, payload_len_max, workspace_rate_interval,
                 workspace_rate_burst, key_rate_interval, key_rate_burst, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        } else {
            "UPDATE workspace SET name = $2, payload_len_max = $3, workspace_rate_interval = $4,
                 workspace_rate_burst = $5, key_rate_interval = $6, key_rate_burst = $7, created_at = $8
             WHERE id = $1"
        },
        row.id.as_str().to_owned(),
        row.name.clone(),
        i64::try_from(row.plan.payload_len_max).unwrap_or(i64::MAX),
        workspace_interval,
        workspace_burst,
        key_interval,
        key_burst,
        nanos(row.created_at),
    )
}

fn environment(verb: Verb, row: &EnvironmentRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO environment (id, workspace, name, slug, is_default, created_at, updated_at)
             SELECT $1, w.row, $3, $4, $5, $6, $7 FROM workspace w WHERE w.id = $2"
        } else {
            "UPDATE environment n SET name = $3, slug = $4, is_default = $5, created_at = $6, updated_at = $7
             FROM workspace w WHERE n.id = $1 AND w.id = $2 AND n.workspace = w.row"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.name.clone(),
        row.slug.clone(),
        row.is_default,
        nanos(row.created_at),
        nanos(row.updated_at),
    )
}

fn event_type(verb: Verb, row: &EventTypeRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO event_type (id, workspace, name, description, created_at)
             SELECT $1, w.row, $3, $4, $5 FROM workspace w WHERE w.id = $2"
        } else {
            "UPDATE event_type t SET name = $3, description = $4, created_at = $5
             FROM workspace w WHERE t.id = $1 AND w.id = $2 AND t.workspace = w.row"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.name.as_str().to_owned(),
        row.description.clone(),
        nanos(row.created_at),
    )
}

fn endpoint(verb: Verb, row: &EndpointRecord) -> Write {
    let auth = row.auth.as_ref();
    let json = |value: serde_json::Result<String>| value.unwrap_or_else(|_| "{}".to_owned());
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO endpoint (id, workspace, environment, url, kind, config, metadata, description,
                 auth_username, auth_password, secret, is_active, created_at, updated_at)
             SELECT $1, w.row, n.row, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
             FROM workspace w JOIN environment n ON n.id = $3 AND n.workspace = w.row WHERE w.id = $2"
        } else {
            // One that is enabled again starts afresh: its old failures must not disable it at the next one.
            "WITH afresh AS (
                 DELETE FROM endpoint_health h USING endpoint e
                 WHERE e.id = $1 AND h.endpoint = e.row AND $12 AND NOT e.is_active
             )
             UPDATE endpoint e SET environment = n.row, url = $4, kind = $5, config = $6, metadata = $7,
                 description = $8, auth_username = $9, auth_password = $10, secret = $11, is_active = $12,
                 created_at = $13, updated_at = $14
             FROM workspace w JOIN environment n ON n.id = $3 AND n.workspace = w.row
             WHERE e.id = $1 AND w.id = $2 AND e.workspace = w.row"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.environment.as_str().to_owned(),
        row.url.clone(),
        kind_code(row.kind),
        json(serde_json::to_string(&row.config)),
        json(serde_json::to_string(&row.metadata)),
        row.description.clone(),
        auth.map(|auth| auth.username.clone()),
        auth.map(|auth| auth.password.expose().to_owned()),
        row.secret.expose().to_owned(),
        row.is_active,
        nanos(row.created_at),
        nanos(row.updated_at),
    )
}

fn subscription(verb: Verb, row: SubscriptionRecord) -> Write {
    if verb == Verb::Remove {
        return write_of!(
            "DELETE FROM subscription WHERE id = $1",
            row.id.as_str().to_owned()
        );
    }
    write_of!(
        "INSERT INTO subscription (id, workspace, endpoint, event_type, created_at)
         SELECT $1, w.row, e.row, t.row, $5 FROM workspace w
         JOIN endpoint e ON e.id = $3 AND e.workspace = w.row
         JOIN event_type t ON t.id = $4 AND t.workspace = w.row WHERE w.id = $2",
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.endpoint.as_str().to_owned(),
        row.event_type.as_str().to_owned(),
        nanos(row.created_at),
    )
}

fn publication(verb: Verb, row: PublicationRecord) -> Write {
    write_of!(
        if verb == Verb::Remove {
            "DELETE FROM publication p USING workspace w, environment n, event_type t
             WHERE w.id = $1 AND n.id = $2 AND t.id = $3
                 AND p.workspace = w.row AND p.environment = n.row AND p.event_type = t.row"
        } else {
            "INSERT INTO publication (workspace, environment, event_type)
             SELECT w.row, n.row, t.row FROM workspace w
             JOIN environment n ON n.id = $2 AND n.workspace = w.row
             JOIN event_type t ON t.id = $3 AND t.workspace = w.row WHERE w.id = $1"
        },
        row.workspace.as_str().to_owned(),
        row.environment.as_str().to_owned(),
        row.event_type.as_str().to_owned(),
    )
}

fn api_key(verb: Verb, row: &ApiKeyRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO api_key (id, workspace, environment, endpoint, name, hash, state, created_at)
             SELECT $1, w.row, n.row, e.row, $5, $6, $7, $8 FROM workspace w
             LEFT JOIN environment n ON n.id = $3 AND n.workspace = w.row
             LEFT JOIN endpoint e ON e.id = $4 AND e.workspace = w.row
             WHERE w.id = $2 AND ($3::text IS NULL) = (n.row IS NULL) AND ($4::text IS NULL) = (e.row IS NULL)"
        } else {
            "UPDATE api_key k SET environment = n.row, endpoint = e.row, name = $5, hash = $6, state = $7, created_at = $8
             FROM workspace w
             LEFT JOIN environment n ON n.id = $3 AND n.workspace = w.row
             LEFT JOIN endpoint e ON e.id = $4 AND e.workspace = w.row
             WHERE k.id = $1 AND w.id = $2 AND k.workspace = w.row
                 AND ($3::text IS NULL) = (n.row IS NULL) AND ($4::text IS NULL) = (e.row IS NULL)"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.environment.map(|id| id.as_str().to_owned()),
        row.endpoint.map(|id| id.as_str().to_owned()),
        row.name.clone(),
        row.hash.as_bytes().to_vec(),
        state_code(row.state),
        nanos(row.created_at),
    )
}

fn management_token(verb: Verb, row: &ManagementTokenRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO management_token (id, workspace, name, hash, state, created_at)
             SELECT $1, w.row, $3, $4, $5, $6 FROM workspace w WHERE w.id = $2"
        } else {
            "UPDATE management_token t SET name = $3, hash = $4, state = $5, created_at = $6
             FROM workspace w WHERE t.id = $1 AND w.id = $2 AND t.workspace = w.row"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.name.clone(),
        row.hash.as_bytes().to_vec(),
        state_code(row.state),
        nanos(row.created_at),
    )
}
