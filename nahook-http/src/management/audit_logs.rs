//! `/audit-logs`.

use std::collections::BTreeMap;

use nahook_control::{ActorKind, AuditEntry, AuditQuery};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::Found;
use super::body::NoBody;
use super::call::Call;
use super::instant::{read, show};
use super::query::{QueryArgs, parameter};
use super::routes::{About, Routes};
use crate::ApiError;

/// Entries on a page.
const PAGE_SIZE: u64 = 50;
/// The last page that can be asked for.
const PAGE_MAX: u64 = 1_000_000_000;

pub(super) fn add(routes: &mut Routes) {
    let about = About::get("/audit-logs", "listAuditLogs", "List who changed what");
    routes.add(
        &about.describe("The newest first, fifty a page. No entry holds a secret or a payload."),
        list,
    );
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "aud_01kb0d9n8r7q6p5m4k3j2h1g0f",
    "actorType": "management_token",
    "actorId": "tok_ci",
    "actorLabel": "CI",
    "visibility": "workspace",
    "action": "endpoint.updated",
    "resourceType": "endpoint",
    "resourceId": "ep_orders",
    "metadata": { "fields": "isActive" },
    "createdAt": "2026-11-26T08:00:00.000Z",
}))]
struct AuditLog {
    /// Its id.
    id: String,
    /// Kind of actor that made it.
    actor_type: ActorType,
    /// The actor's id.
    actor_id: String,
    /// The actor's name for people.
    actor_label: String,
    /// Audience of the entry: everybody who manages the workspace.
    visibility: AuditVisibility,
    /// The change: the kind of resource, a dot, a participle.
    action: String,
    /// Kind of resource that was changed.
    resource_type: String,
    /// Which one.
    resource_id: String,
    /// Details, by name.
    metadata: BTreeMap<String, String>,
    /// Instant of the change.
    #[schema(format = DateTime)]
    created_at: String,
}

/// Audience of an entry of the audit log.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AuditVisibility {
    /// Everybody who manages the workspace.
    Workspace,
}

/// Kind of actor that makes a change.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ActorType {
    /// Whoever holds a management token.
    ManagementToken,
    /// Whoever has the server's command line.
    Operator,
    /// The server itself.
    System,
}

impl From<ActorKind> for ActorType {
    fn from(kind: ActorKind) -> Self {
        match kind {
            ActorKind::ManagementToken => Self::ManagementToken,
            ActorKind::Operator => Self::Operator,
            ActorKind::System => Self::System,
        }
    }
}

impl From<ActorType> for ActorKind {
    fn from(kind: ActorType) -> Self {
        match kind {
            ActorType::ManagementToken => Self::ManagementToken,
            ActorType::Operator => Self::Operator,
            ActorType::System => Self::System,
        }
    }
}

impl From<AuditEntry> for AuditLog {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            actor_type: entry.actor.kind.into(),
            actor_id: entry.actor.id,
            actor_label: entry.actor.label,
            visibility: AuditVisibility::Workspace,
            action: entry.action,
            resource_type: entry.resource_type,
            resource_id: entry.resource_id,
            metadata: entry.metadata,
            created_at: show(entry.created_at),
        }
    }
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditLogPage {
    /// The entries, the newest first.
    data: Vec<AuditLog>,
    /// Number of entries that match in all.
    total: u64,
    /// Which page this is, counted from 1.
    page: u64,
    /// Entries on a page.
    page_size: u64,
}

/// Which entries are asked for.
#[derive(Debug, Deserialize)]
struct Filter {
    page: Option<u64>,
    from: Option<String>,
    to: Option<String>,
    action: Option<String>,
    resource_type: Option<String>,
    actor_type: Option<ActorType>,
}

impl QueryArgs for Filter {
    fn parameters() -> Vec<Value> {
        let page = json!({ "type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 1 });
        let instant = json!({ "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "string", "format": "date" },
        ] });
        let word = json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" });
        let kinds = ActorKind::ALL.map(ActorKind::as_str);
        let actor = json!({ "type": "string", "enum": kinds });
        let (from, to) = (json!("2026-11-01T00:00:00Z"), json!("2026-12-01"));
        let (action, resource) = (json!("endpoint.updated"), json!("endpoint"));
        vec![
            parameter("page", "Which page, counted from 1.", &page, &json!(1)),
            parameter("from", "Not before that instant, or day.", &instant, &from),
            parameter("to", "Before that instant, or day.", &instant, &to),
            parameter("action", "Only this action.", &word, &action),
            parameter(
                "resource_type",
                "Only this kind of resource.",
                &word,
                &resource,
            ),
            parameter(
                "actor_type",
                "Only this kind of actor.",
                &actor,
                &json!("operator"),
            ),
        ]
    }
}

async fn list(call: Call<(), Filter, NoBody>) -> Result<Found<AuditLogPage>, ApiError> {
    let filter = call.query;
    let page = filter.page.unwrap_or(1);
    if !(1..=PAGE_MAX).contains(&page) {
        return Err(ApiError::validation(format!("page is 1 to {PAGE_MAX}")));
    }
    let instant = |name: &str, text: Option<String>| match text.as_deref().map(read) {
        Some(None) => Err(ApiError::validation(format!(
            "{name} must be an instant or a day in ISO 8601"
        ))),
        read => Ok(read.flatten()),
    };
    let query = AuditQuery {
        offset: (page - 1) * PAGE_SIZE,
        limit: PAGE_SIZE,
        from: instant("from", filter.from)?,
        to: instant("to", filter.to)?,
        action: word("action", filter.action)?,
        resource_type: word("resource_type", filter.resource_type)?,
        actor_kind: filter.actor_type.map(ActorKind::from),
    };
    let management = &call.api.management;
    let found = management.audit_log(&call.workspace, &query).await?;
    Ok(Found(AuditLogPage {
        data: found.entries.into_iter().map(AuditLog::from).collect(),
        total: found.total,
        page,
        page_size: PAGE_SIZE,
    }))
}

/// The words of the log are plain; what is not could match nothing.
fn word(name: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    let is_plain = |text: &String| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    if text.as_ref().is_some_and(|text| !is_plain(text)) {
        let rule = format!("{name} is 1 to 64 letters, digits, dots, hyphens and underscores");
        return Err(ApiError::validation(rule));
    }
    Ok(text)
}
