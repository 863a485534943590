//! Columns of each kind of row, and the record made of them.

use std::collections::BTreeMap;

use nahook_control::{
    ApiKeyRecord, ApplicationRecord, EndpointKind, EndpointRecord, EnvironmentRecord,
    EventTypeRecord, KeyHash, KeyState, ManagementTokenRecord, PatternRecord, PublicationRecord,
    RetiredSecret, SecretText, SubscriberRecord, SubscriptionRecord, WorkspaceRecord,
};
use nahook_core::id::WorkspaceId;
use rusqlite::Row;
use serde_json::{Map, Value};

use crate::endpoints::auth_at;
use crate::row::{
    coded_at, instant_at, json_at, maybe_instant_at, maybe_parsed_at, parsed_at, plan_at,
    plan_columns,
};

pub(super) const WORKSPACE: &str = concat!(
    "SELECT row, id, name, created_at, ",
    plan_columns!(),
    " FROM nahook_workspace"
);

pub(super) fn workspace_at(row: &Row<'_>) -> rusqlite::Result<WorkspaceRecord> {
    Ok(WorkspaceRecord {
        id: parsed_at(row, 1)?,
        name: row.get(2)?,
        plan: plan_at(row, 4)?,
        created_at: instant_at(row, 3)?,
    })
}

pub(super) const ENVIRONMENT: &str =
    "SELECT id, name, slug, is_default, created_at, updated_at FROM nahook_environment";

pub(super) fn environment_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<EnvironmentRecord> {
    Ok(EnvironmentRecord {
        id: parsed_at(row, 0)?,
        workspace,
        name: row.get(1)?,
        slug: row.get(2)?,
        is_default: row.get(3)?,
        created_at: instant_at(row, 4)?,
        updated_at: instant_at(row, 5)?,
    })
}

pub(super) const EVENT_TYPE: &str =
    "SELECT id, name, description, created_at, row FROM nahook_event_type";

pub(super) fn event_type_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<EventTypeRecord> {
    Ok(EventTypeRecord {
        id: parsed_at(row, 0)?,
        workspace,
        name: parsed_at(row, 1)?,
        description: row.get(2)?,
        created_at: instant_at(row, 3)?,
    })
}

pub(super) const APPLICATION: &str = "SELECT id, external_id, name, metadata, max_endpoints,
    show_event_types, created_at, updated_at FROM nahook_application";

pub(super) fn application_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<ApplicationRecord> {
    Ok(ApplicationRecord {
        id: parsed_at(row, 0)?,
        workspace,
        external_id: row.get(1)?,
        name: row.get(2)?,
        metadata: json_at(row, 3)?,
        max_endpoints: row.get(4)?,
        show_event_types: row.get(5)?,
        created_at: instant_at(row, 6)?,
        updated_at: instant_at(row, 7)?,
    })
}

pub(super) const ENDPOINT: &str = "SELECT endpoint.id, environment.id, application.id, url, kind,
    config, endpoint.metadata, description, auth_username, auth_password, secret, previous_secret,
    previous_secret_until, is_active, endpoint.created_at, endpoint.updated_at
    FROM nahook_endpoint AS endpoint JOIN nahook_environment AS environment ON environment.row = endpoint.environment
    LEFT JOIN nahook_application AS application ON application.row = endpoint.application";

pub(super) fn endpoint_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<EndpointRecord> {
    let config: Map<String, Value> = json_at(row, 5)?;
    let metadata: BTreeMap<String, String> = json_at(row, 6)?;
    let previous: Option<String> = row.get(11)?;
    let signs_until = maybe_instant_at(row, 12)?;
    Ok(EndpointRecord {
        id: parsed_at(row, 0)?,
        workspace,
        environment: parsed_at(row, 1)?,
        application: maybe_parsed_at(row, 2)?,
        url: row.get(3)?,
        kind: coded_at(row, 4, EndpointKind::from_code)?,
        config,
        metadata,
        description: row.get(7)?,
        auth: auth_at(row, 8)?,
        secret: SecretText::new(row.get::<_, String>(10)?),
        previous_secret: previous
            .zip(signs_until)
            .map(|(secret, signs_until)| RetiredSecret {
                secret: SecretText::new(secret),
                signs_until,
            }),
        is_active: row.get(13)?,
        created_at: instant_at(row, 14)?,
        updated_at: instant_at(row, 15)?,
    })
}

pub(super) const SUBSCRIPTION: &str = "SELECT subscription.id, endpoint.id, event_type.id,
    subscription.created_at
    FROM nahook_subscription AS subscription JOIN nahook_endpoint AS endpoint ON endpoint.row = subscription.endpoint
    JOIN nahook_event_type AS event_type ON event_type.row = subscription.event_type";

pub(super) fn subscription_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<SubscriptionRecord> {
    Ok(SubscriptionRecord {
        id: parsed_at(row, 0)?,
        workspace,
        endpoint: parsed_at(row, 1)?,
        event_type: parsed_at(row, 2)?,
        created_at: instant_at(row, 3)?,
    })
}

pub(super) const SUBSCRIBER: &str = "SELECT event_type.id, endpoint.id
    FROM nahook_subscription AS subscription JOIN nahook_endpoint AS endpoint ON endpoint.row = subscription.endpoint
    JOIN nahook_event_type AS event_type ON event_type.row = subscription.event_type";

pub(super) fn subscriber_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<SubscriberRecord> {
    Ok(SubscriberRecord {
        workspace,
        event_type: parsed_at(row, 0)?,
        endpoint: parsed_at(row, 1)?,
    })
}

pub(super) const PATTERN: &str = "SELECT pattern.id, endpoint.id, pattern.pattern,
    pattern.created_at
    FROM nahook_pattern AS pattern JOIN nahook_endpoint AS endpoint ON endpoint.row = pattern.endpoint";

pub(super) fn pattern_at(row: &Row<'_>, workspace: WorkspaceId) -> rusqlite::Result<PatternRecord> {
    Ok(PatternRecord {
        id: parsed_at(row, 0)?,
        workspace,
        endpoint: parsed_at(row, 1)?,
        pattern: parsed_at(row, 2)?,
        created_at: instant_at(row, 3)?,
    })
}

pub(super) const PUBLICATION: &str = "SELECT environment.id, event_type.id
    FROM nahook_publication AS publication JOIN nahook_environment AS environment ON environment.row = publication.environment
    JOIN nahook_event_type AS event_type ON event_type.row = publication.event_type";

pub(super) fn publication_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<PublicationRecord> {
    Ok(PublicationRecord {
        workspace,
        environment: parsed_at(row, 0)?,
        event_type: parsed_at(row, 1)?,
    })
}

pub(super) const API_KEY: &str = "SELECT api_key.id, environment.id, endpoint.id, api_key.name,
    hash, state, api_key.created_at
    FROM nahook_api_key AS api_key LEFT JOIN nahook_environment AS environment ON environment.row = api_key.environment
    LEFT JOIN nahook_endpoint AS endpoint ON endpoint.row = api_key.endpoint";

pub(super) fn api_key_at(row: &Row<'_>, workspace: WorkspaceId) -> rusqlite::Result<ApiKeyRecord> {
    Ok(ApiKeyRecord {
        id: parsed_at(row, 0)?,
        workspace,
        environment: maybe_parsed_at(row, 1)?,
        endpoint: maybe_parsed_at(row, 2)?,
        name: row.get(3)?,
        hash: KeyHash::from_bytes(row.get(4)?),
        state: coded_at(row, 5, KeyState::from_code)?,
        created_at: instant_at(row, 6)?,
    })
}

pub(super) const MANAGEMENT_TOKEN: &str =
    "SELECT id, name, hash, state, created_at, is_read_only FROM nahook_management_token";

pub(super) fn management_token_at(
    row: &Row<'_>,
    workspace: WorkspaceId,
) -> rusqlite::Result<ManagementTokenRecord> {
    Ok(ManagementTokenRecord {
        id: parsed_at(row, 0)?,
        workspace,
        name: row.get(1)?,
        hash: KeyHash::from_bytes(row.get(2)?),
        state: coded_at(row, 3, KeyState::from_code)?,
        created_at: instant_at(row, 4)?,
        is_read_only: row.get(5)?,
    })
}
