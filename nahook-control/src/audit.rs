//! The audit log: changes and the actors that made them (contract, section 2).

use std::collections::BTreeMap;

use nahook_core::id::{AuditEntryId, ManagementTokenId, MessageId, WorkspaceId};
use nahook_core::{IdSource, Timestamp};

use super::changes::{Change, Record, Verb};

/// The maker of a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Actor {
    /// Kind of the actor.
    pub kind: ActorKind,
    /// Its id: a token's, or a fixed word.
    pub id: String,
    /// Name that people know it by.
    pub label: String,
}

/// The kinds of actors that make changes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ActorKind {
    /// The holder of a management token.
    ManagementToken,
    /// A user of the server's command line.
    Operator,
    /// The server itself: a worker that disables an endpoint.
    System,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::ManagementToken, Self::Operator, Self::System];

    /// The kind on the wire, and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ManagementToken => "management_token",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

impl Actor {
    /// Returns the actor that holds this management token.
    pub fn token(id: ManagementTokenId, label: impl Into<String>) -> Self {
        Self {
            kind: ActorKind::ManagementToken,
            id: id.to_string(),
            label: label.into(),
        }
    }

    /// Returns the actor that uses the server's command line.
    pub fn operator() -> Self {
        Self {
            kind: ActorKind::Operator,
            id: "operator".to_owned(),
            label: "command line".to_owned(),
        }
    }

    /// The server itself.
    pub fn system() -> Self {
        Self {
            kind: ActorKind::System,
            id: "system".to_owned(),
            label: "nahook".to_owned(),
        }
    }
}

/// One change, as the audit log keeps it. It holds names of fields, never a secret, a password or a payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEntry {
    /// Its id. A log is in the order of writing, which ids drawn in one millisecond do not tell.
    pub id: AuditEntryId,
    /// The workspace that was changed.
    pub workspace: WorkspaceId,
    /// Actor that made the change.
    pub actor: Actor,
    /// Kind of the resource, a dot and a participle: `endpoint.created`.
    pub action: String,
    /// Kind of the resource that was changed.
    pub resource_type: String,
    /// Id of the resource.
    pub resource_id: String,
    /// Details, by name.
    pub metadata: BTreeMap<String, String>,
    /// Time of the change.
    pub created_at: Timestamp,
}

impl AuditEntry {
    /// The entry that tells of a change.
    pub fn of(change: &Change, actor: &Actor, now: Timestamp, ids: &dyn IdSource) -> Self {
        let done = match change.verb {
            Verb::Create => "created",
            Verb::Remove => "deleted",
            Verb::Update => "updated",
        };
        let resource = Resource::of(&change.record);
        Self::new(
            change.record.workspace(),
            actor,
            (resource.kind, resource.id),
            done,
            now,
            ids,
        )
        .with_all(resource.details)
    }

    /// An entry that says that `done` was done to the resource of that kind and id.
    pub fn new(
        workspace: WorkspaceId,
        actor: &Actor,
        (kind, id): (&str, String),
        done: &str,
        now: Timestamp,
        ids: &dyn IdSource,
    ) -> Self {
        let bits = MessageId::from_parts(now, ids.random()).as_bits();
        Self {
            id: AuditEntryId::from_bits(bits),
            workspace,
            actor: actor.clone(),
            action: format!("{kind}.{done}"),
            resource_type: kind.to_owned(),
            resource_id: id,
            metadata: BTreeMap::new(),
            created_at: now,
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    fn with_all(mut self, details: Vec<(&'static str, String)>) -> Self {
        let details = details
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        self.metadata.extend(details);
        self
    }
}

/// The parts of a row that an entry shows.
struct Resource {
    kind: &'static str,
    id: String,
    details: Vec<(&'static str, String)>,
}

impl Resource {
    fn of(record: &Record) -> Self {
        let (kind, id, details) = match record {
            Record::ApiKey(row) => (
                "api_key",
                row.id.to_string(),
                vec![("name", row.name.clone())],
            ),
            Record::Application(row) => (
                "application",
                row.id.to_string(),
                vec![("name", row.name.clone())],
            ),
            Record::Endpoint(row) => (
                "endpoint",
                row.id.to_string(),
                vec![("environmentId", row.environment.to_string())],
            ),
            Record::Environment(row) => (
                "environment",
                row.id.to_string(),
                vec![("slug", row.slug.clone())],
            ),
            Record::EventType(row) => (
                "event_type",
                row.id.to_string(),
                vec![("name", row.name.to_string())],
            ),
            Record::ManagementToken(row) => (
                "management_token",
                row.id.to_string(),
                vec![("name", row.name.clone())],
            ),
            Record::Pattern(row) => (
                "pattern",
                row.id.to_string(),
                vec![
                    ("endpointId", row.endpoint.to_string()),
                    ("pattern", row.pattern.to_string()),
                ],
            ),
            Record::PortalSession(row) => (
                "portal_session",
                row.application.to_string(),
                vec![("role", row.role.as_str().to_owned())],
            ),
            Record::Publication(row) => (
                "publication",
                row.event_type.to_string(),
                vec![("environmentId", row.environment.to_string())],
            ),
            Record::Subscription(row) => (
                "subscription",
                row.id.to_string(),
                vec![
                    ("endpointId", row.endpoint.to_string()),
                    ("eventTypeId", row.event_type.to_string()),
                ],
            ),
            Record::Workspace(row) => (
                "workspace",
                row.id.to_string(),
                vec![("name", row.name.clone())],
            ),
        };
        Self { kind, id, details }
    }
}
