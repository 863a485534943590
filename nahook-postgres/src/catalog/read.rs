//! Reading what exists.

use nahook_control::{
    ApiKeyRecord, ApplicationRecord, BasicAuth, EndpointKind, EndpointRecord, EnvironmentRecord,
    EventTypeRecord, KeyState, ManagementTokenRecord, PatternRecord, PublicationRecord,
    RetiredSecret, SecretText, Snapshot, SubscriberRecord, SubscriptionRecord, WorkspaceRecord,
};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::columns;
use super::row::{hash_at, plan_at};
use crate::error::PgError;
use crate::lender::{Lender, Lent};
use crate::row::{coded_at, instant_at, maybe_instant_at, maybe_parsed_at, parsed_at, value_at};

/// The rows of the workspaces $1 of one kind, by its table's alias, of which the rest is true, the oldest first.
macro_rules! of_workspaces {
    ($kind:ident, $alias:literal, $rest:literal) => {
        columns::$kind!(
            "w.id",
            "JOIN workspace w ON w.row = ",
            $alias,
            ".workspace WHERE w.id = ANY($1) ",
            $rest,
            " ORDER BY ",
            $alias,
            ".row"
        )
    };
}

const ENVIRONMENTS: &str = of_workspaces!(environments, "n", "AND n.deleted_at IS NULL");
const EVENT_TYPES: &str = of_workspaces!(event_types, "t", "AND t.deleted_at IS NULL");
const APPLICATIONS: &str = of_workspaces!(applications, "a", "AND a.deleted_at IS NULL");
const ENDPOINTS: &str = of_workspaces!(endpoints, "e", "AND e.deleted_at IS NULL");
const SUBSCRIPTIONS: &str = of_workspaces!(subscriptions, "s", "AND s.is_named");
const PATTERNS: &str = of_workspaces!(patterns, "p", "");
const PUBLICATIONS: &str = of_workspaces!(publications, "p", "");
const API_KEYS: &str = of_workspaces!(api_keys, "k", "");
const MANAGEMENT_TOKENS: &str = of_workspaces!(management_tokens, "t", "");

pub(super) async fn workspaces(lender: &Lender) -> Result<Vec<WorkspaceRecord>, PgError> {
    let rows = lender
        .query(columns::workspaces!("ORDER BY w.row"), &[])
        .await?;
    rows.iter().map(workspace_at).collect()
}

/// Reads the records of the workspaces with these names or ids.
pub(super) async fn snapshot(
    lent: &mut Lent,
    names: &[&str],
    ids: &[&str],
) -> Result<Snapshot, PgError> {
    let query = columns::workspaces!("WHERE w.name = ANY($1) OR w.id = ANY($2) ORDER BY w.row");
    let workspaces = lent.query(query, &[&names, &ids]).await?;
    let workspaces = workspaces
        .iter()
        .map(workspace_at)
        .collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<_> = workspaces
        .iter()
        .map(|row| row.id.as_str().to_owned())
        .collect();
    Ok(Snapshot {
        workspaces,
        environments: all(lent, ENVIRONMENTS, &ids, environment_at).await?,
        event_types: all(lent, EVENT_TYPES, &ids, event_type_at).await?,
        endpoints: all(lent, ENDPOINTS, &ids, endpoint_at).await?,
        subscriptions: all(lent, SUBSCRIPTIONS, &ids, subscription_at).await?,
        patterns: all(lent, PATTERNS, &ids, pattern_at).await?,
        publications: all(lent, PUBLICATIONS, &ids, publication_at).await?,
        api_keys: all(lent, API_KEYS, &ids, api_key_at).await?,
        management_tokens: all(lent, MANAGEMENT_TOKENS, &ids, management_token_at).await?,
        applications: all(lent, APPLICATIONS, &ids, application_at).await?,
        ..Snapshot::default()
    })
}

async fn all<T>(
    lent: &mut Lent,
    query: &str,
    workspaces: &[String],
    read: fn(&Row) -> Result<T, PgError>,
) -> Result<Vec<T>, PgError> {
    let rows = lent.query(query, &[&workspaces]).await?;
    rows.iter().map(read).collect()
}

pub(super) fn workspace_at(row: &Row) -> Result<WorkspaceRecord, PgError> {
    Ok(WorkspaceRecord {
        id: parsed_at(row, 0)?,
        name: value_at(row, 1)?,
        created_at: instant_at(row, 2)?,
        plan: plan_at(row, 3)?,
    })
}

pub(super) fn environment_at(row: &Row) -> Result<EnvironmentRecord, PgError> {
    Ok(EnvironmentRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        name: value_at(row, 2)?,
        slug: value_at(row, 3)?,
        is_default: value_at(row, 4)?,
        created_at: instant_at(row, 5)?,
        updated_at: instant_at(row, 6)?,
    })
}

pub(super) fn event_type_at(row: &Row) -> Result<EventTypeRecord, PgError> {
    Ok(EventTypeRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        name: parsed_at(row, 2)?,
        description: value_at(row, 3)?,
        created_at: instant_at(row, 4)?,
    })
}

pub(super) fn application_at(row: &Row) -> Result<ApplicationRecord, PgError> {
    Ok(ApplicationRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        external_id: value_at(row, 2)?,
        name: value_at(row, 3)?,
        metadata: json_at(row, 4)?,
        max_endpoints: value_at::<Option<i64>>(row, 5)?
            .map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
        show_event_types: value_at(row, 6)?,
        created_at: instant_at(row, 7)?,
        updated_at: instant_at(row, 8)?,
    })
}

pub(super) fn endpoint_at(row: &Row) -> Result<EndpointRecord, PgError> {
    let username: Option<String> = value_at(row, 8)?;
    let password: Option<String> = value_at(row, 9)?;
    let previous: Option<&str> = value_at(row, 15)?;
    Ok(EndpointRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        environment: parsed_at(row, 2)?,
        application: maybe_parsed_at(row, 14)?,
        url: value_at(row, 3)?,
        kind: coded_at(row, 4, EndpointKind::from_code)?,
        config: json_at(row, 5)?,
        metadata: json_at(row, 6)?,
        description: value_at(row, 7)?,
        auth: username
            .zip(password)
            .map(|(username, password)| BasicAuth {
                username,
                password: SecretText::new(password),
            }),
        secret: SecretText::new(value_at::<&str>(row, 10)?),
        previous_secret: previous
            .zip(maybe_instant_at(row, 16)?)
            .map(|(secret, signs_until)| RetiredSecret {
                secret: SecretText::new(secret),
                signs_until,
            }),
        is_active: value_at(row, 11)?,
        created_at: instant_at(row, 12)?,
        updated_at: instant_at(row, 13)?,
    })
}

pub(super) fn subscription_at(row: &Row) -> Result<SubscriptionRecord, PgError> {
    Ok(SubscriptionRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        endpoint: parsed_at(row, 2)?,
        event_type: parsed_at(row, 3)?,
        created_at: instant_at(row, 4)?,
    })
}

pub(super) fn subscriber_at(row: &Row) -> Result<SubscriberRecord, PgError> {
    Ok(SubscriberRecord {
        workspace: parsed_at(row, 0)?,
        event_type: parsed_at(row, 1)?,
        endpoint: parsed_at(row, 2)?,
    })
}

pub(super) fn pattern_at(row: &Row) -> Result<PatternRecord, PgError> {
    Ok(PatternRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        endpoint: parsed_at(row, 2)?,
        pattern: parsed_at(row, 3)?,
        created_at: instant_at(row, 4)?,
    })
}

pub(super) fn publication_at(row: &Row) -> Result<PublicationRecord, PgError> {
    Ok(PublicationRecord {
        workspace: parsed_at(row, 0)?,
        environment: parsed_at(row, 1)?,
        event_type: parsed_at(row, 2)?,
    })
}

pub(super) fn api_key_at(row: &Row) -> Result<ApiKeyRecord, PgError> {
    Ok(ApiKeyRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        environment: maybe_parsed_at(row, 2)?,
        endpoint: maybe_parsed_at(row, 3)?,
        name: value_at(row, 4)?,
        hash: hash_at(row, 5)?,
        state: coded_at(row, 6, KeyState::from_code)?,
        created_at: instant_at(row, 7)?,
    })
}

pub(super) fn management_token_at(row: &Row) -> Result<ManagementTokenRecord, PgError> {
    Ok(ManagementTokenRecord {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        name: value_at(row, 2)?,
        hash: hash_at(row, 3)?,
        state: coded_at(row, 4, KeyState::from_code)?,
        created_at: instant_at(row, 5)?,
        is_read_only: value_at(row, 6)?,
    })
}

pub(crate) fn json_at<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, PgError> {
    serde_json::from_str(value_at(row, column)?).map_err(PgError::unreadable)
}
