//! Rows that are new or take another's place. A new row may take the place of a deleted one with its id: what was
//! declared with an id of its own can be declared again.

use nahook_control::{
    ApiKeyRecord, ApplicationRecord, EndpointRecord, EnvironmentRecord, EventTypeRecord,
    ManagementTokenRecord, PortalSessionRecord, PublicationRecord, Record, Verb, WorkspaceRecord,
};

use super::{Write, subscription, write_of};
use crate::catalog::row::rate_columns;
use crate::row::nanos;

pub(super) fn statement(verb: Verb, record: &Record) -> Write {
    match record {
        Record::ApiKey(row) => api_key(verb, row),
        Record::Application(row) => application(verb, row),
        Record::Endpoint(row) => endpoint(verb, row),
        Record::Environment(row) => environment(verb, row),
        Record::EventType(row) => event_type(verb, row),
        Record::ManagementToken(row) => management_token(verb, row),
        Record::Pattern(row) => subscription::pattern(verb, row),
        Record::PortalSession(row) => portal_session(row),
        Record::Publication(row) => publication(*row),
        Record::Subscription(row) => subscription::subscription(*row),
        Record::Workspace(row) => workspace(verb, row),
    }
}

fn workspace(verb: Verb, row: &WorkspaceRecord) -> Write {
    let (workspace_interval, workspace_burst) = rate_columns(row.plan.workspace_rate);
    let (key_interval, key_burst) = rate_columns(row.plan.key_rate);
    let (delivery_interval, delivery_burst) = rate_columns(row.plan.delivery_rate);
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO workspace (id, name, payload_len_max, workspace_rate_interval,
                 workspace_rate_burst, key_rate_interval, key_rate_burst, created_at,
                 delivery_rate_interval, delivery_rate_burst, pending_max, stored_len_max, endpoints_max)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        } else {
            "UPDATE workspace SET name = $2, payload_len_max = $3, workspace_rate_interval = $4,
                 workspace_rate_burst = $5, key_rate_interval = $6, key_rate_burst = $7, created_at = $8,
                 delivery_rate_interval = $9, delivery_rate_burst = $10, pending_max = $11,
                 stored_len_max = $12, endpoints_max = $13
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
        delivery_interval,
        delivery_burst,
        i64::from(row.plan.pending_max),
        i64::try_from(row.plan.stored_len_max).unwrap_or(i64::MAX),
        i64::from(row.plan.endpoints_max),
    )
}

fn environment(verb: Verb, row: &EnvironmentRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO environment AS n (id, workspace, name, slug, is_default, created_at, updated_at)
             SELECT $1, w.row, $3, $4, $5, $6, $7 FROM workspace w WHERE w.id = $2
             ON CONFLICT (id) DO UPDATE SET name = $3, slug = $4, is_default = $5, created_at = $6,
                 updated_at = $7, deleted_at = NULL
             WHERE n.deleted_at IS NOT NULL AND n.workspace = excluded.workspace"
        } else {
            "UPDATE environment n SET name = $3, slug = $4, is_default = $5, created_at = $6, updated_at = $7
             FROM workspace w
             WHERE n.id = $1 AND w.id = $2 AND n.workspace = w.row AND n.deleted_at IS NULL"
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
    if verb == Verb::Create {
        return subscription::new_event_type(row);
    }
    write_of!(
        "UPDATE event_type t SET name = $3, description = $4, created_at = $5
         FROM workspace w
         WHERE t.id = $1 AND w.id = $2 AND t.workspace = w.row AND t.deleted_at IS NULL",
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.name.as_str().to_owned(),
        row.description.clone(),
        nanos(row.created_at),
    )
}

fn application(verb: Verb, row: &ApplicationRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO application AS a (id, workspace, external_id, name, metadata, max_endpoints,
                 show_event_types, created_at, updated_at)
             SELECT $1, w.row, $3, $4, $5, $6, $7, $8, $9 FROM workspace w WHERE w.id = $2
             ON CONFLICT (id) DO UPDATE SET external_id = $3, name = $4, metadata = $5, max_endpoints = $6,
                 show_event_types = $7, created_at = $8, updated_at = $9, deleted_at = NULL
             WHERE a.deleted_at IS NOT NULL AND a.workspace = excluded.workspace"
        } else {
            "UPDATE application a SET external_id = $3, name = $4, metadata = $5, max_endpoints = $6,
                 show_event_types = $7, created_at = $8, updated_at = $9
             FROM workspace w
             WHERE a.id = $1 AND w.id = $2 AND a.workspace = w.row AND a.deleted_at IS NULL"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.external_id.clone(),
        row.name.clone(),
        json(serde_json::to_string(&row.metadata)),
        row.max_endpoints.map(i64::from),
        row.show_event_types,
        nanos(row.created_at),
        nanos(row.updated_at),
    )
}

fn endpoint(verb: Verb, row: &EndpointRecord) -> Write {
    let auth = row.auth.as_ref();
    let previous = row.previous_secret.as_ref();
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO endpoint AS e (id, workspace, environment, application, url, kind, config, metadata,
                 description, auth_username, auth_password, secret, previous_secret, previous_secret_until,
                 is_active, created_at, updated_at)
             SELECT $1, w.row, n.row, a.row, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
             FROM workspace w
             JOIN environment n ON n.id = $3 AND n.workspace = w.row AND n.deleted_at IS NULL
             LEFT JOIN application a ON a.id = $4 AND a.workspace = w.row AND a.deleted_at IS NULL
             WHERE w.id = $2 AND ($4::text IS NULL) = (a.row IS NULL)
             ON CONFLICT (id) DO UPDATE SET environment = excluded.environment,
                 application = excluded.application, url = $5, kind = $6, config = $7, metadata = $8,
                 description = $9, auth_username = $10, auth_password = $11, secret = $12, previous_secret = $13,
                 previous_secret_until = $14, is_active = $15, created_at = $16, updated_at = $17,
                 deleted_at = NULL
             WHERE e.deleted_at IS NOT NULL AND e.workspace = excluded.workspace"
        } else {
            // One that is enabled again starts afresh: its old failures must not disable it at the next one.
            "WITH afresh AS (
                 DELETE FROM endpoint_health h USING endpoint e
                 WHERE e.id = $1 AND h.endpoint = e.row AND $15 AND NOT e.is_active
             )
             UPDATE endpoint e SET environment = n.row, application = a.row, url = $5, kind = $6, config = $7,
                 metadata = $8, description = $9, auth_username = $10, auth_password = $11, secret = $12,
                 previous_secret = $13, previous_secret_until = $14, is_active = $15, created_at = $16,
                 updated_at = $17
             FROM workspace w
             JOIN environment n ON n.id = $3 AND n.workspace = w.row
             LEFT JOIN application a ON a.id = $4 AND a.workspace = w.row
             WHERE e.id = $1 AND w.id = $2 AND e.workspace = w.row AND e.deleted_at IS NULL
                 AND ($4::text IS NULL) = (a.row IS NULL)"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.environment.as_str().to_owned(),
        row.application.map(|id| id.as_str().to_owned()),
        row.url.clone(),
        i16::from(row.kind.code()),
        json(serde_json::to_string(&row.config)),
        json(serde_json::to_string(&row.metadata)),
        row.description.clone(),
        auth.map(|auth| auth.username.clone()),
        auth.map(|auth| auth.password.expose().to_owned()),
        row.secret.expose().to_owned(),
        previous.map(|retired| retired.secret.expose().to_owned()),
        previous.map(|retired| nanos(retired.signs_until)),
        row.is_active,
        nanos(row.created_at),
        nanos(row.updated_at),
    )
}

fn publication(row: PublicationRecord) -> Write {
    write_of!(
        "INSERT INTO publication (workspace, environment, event_type)
         SELECT w.row, n.row, t.row FROM workspace w
         JOIN environment n ON n.id = $2 AND n.workspace = w.row AND n.deleted_at IS NULL
         JOIN event_type t ON t.id = $3 AND t.workspace = w.row AND t.deleted_at IS NULL
         WHERE w.id = $1",
        row.workspace.as_str().to_owned(),
        row.environment.as_str().to_owned(),
        row.event_type.as_str().to_owned(),
    )
}

fn portal_session(row: &PortalSessionRecord) -> Write {
    write_of!(
        "INSERT INTO portal_session (code, application, role, metadata, code_expires_at, expires_at, created_at)
         SELECT $1, a.row, $4, $5, $6, $7, $8 FROM workspace w
         JOIN application a ON a.id = $3 AND a.workspace = w.row AND a.deleted_at IS NULL
         WHERE w.id = $2",
        row.code.as_bytes().to_vec(),
        row.workspace.as_str().to_owned(),
        row.application.as_str().to_owned(),
        i16::from(row.role.code()),
        json(serde_json::to_string(&row.metadata)),
        nanos(row.code_expires_at),
        nanos(row.expires_at),
        nanos(row.created_at),
    )
}

fn api_key(verb: Verb, row: &ApiKeyRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO api_key (id, workspace, environment, endpoint, name, hash, state, created_at)
             SELECT $1, w.row, n.row, e.row, $5, $6, $7, $8 FROM workspace w
             LEFT JOIN environment n ON n.id = $3 AND n.workspace = w.row AND n.deleted_at IS NULL
             LEFT JOIN endpoint e ON e.id = $4 AND e.workspace = w.row AND e.deleted_at IS NULL
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
        i16::from(row.state.code()),
        nanos(row.created_at),
    )
}

fn management_token(verb: Verb, row: &ManagementTokenRecord) -> Write {
    write_of!(
        if verb == Verb::Create {
            "INSERT INTO management_token (id, workspace, name, hash, state, created_at, is_read_only)
             SELECT $1, w.row, $3, $4, $5, $6, $7 FROM workspace w WHERE w.id = $2"
        } else {
            "UPDATE management_token t SET name = $3, hash = $4, state = $5, created_at = $6, is_read_only = $7
             FROM workspace w WHERE t.id = $1 AND w.id = $2 AND t.workspace = w.row"
        },
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.name.clone(),
        row.hash.as_bytes().to_vec(),
        i16::from(row.state.code()),
        nanos(row.created_at),
        row.is_read_only,
    )
}

fn json(text: serde_json::Result<String>) -> String {
    text.unwrap_or_else(|_| "{}".to_owned())
}
