//! What exists, one row each, as adapters keep it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ApiKeyId, BasicAuth, EndpointId, EnvironmentId, EventTypeId, EventTypeName, KeyHash,
    ManagementTokenId, Plan, SecretText, SubscriptionId, Timestamp, WorkspaceId,
};

/// A tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct WorkspaceRecord {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name; unique.
    pub name: String,
    /// Its limits.
    pub plan: Plan,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An environment of a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct EnvironmentRecord {
    /// Its id.
    pub id: EnvironmentId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its name, 1 to 50 characters.
    pub name: String,
    /// Its name in URLs and manifests, 2 to 50 lower-case letters, digits and hyphens; unique in the workspace.
    pub slug: String,
    /// Whether it is the workspace's one default environment, in which every event type is published.
    pub is_default: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An event type of a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct EventTypeRecord {
    /// Its id.
    pub id: EventTypeId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its name; unique in the workspace.
    pub name: EventTypeName,
    /// For people.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What kind of receiver an endpoint is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the contract lists them")]
pub enum EndpointKind {
    /// A Slack webhook: a POST to `config.webhookUrl`, unsigned.
    Slack,
    /// A signed POST to the endpoint's URL.
    #[default]
    Webhook,
}

/// A receiver of deliveries.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct EndpointRecord {
    /// Its id.
    pub id: EndpointId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its environment.
    pub environment: EnvironmentId,
    /// Where to POST to.
    pub url: String,
    /// What kind of receiver it is.
    pub kind: EndpointKind,
    /// Settings of the kind.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// For people.
    pub description: Option<String>,
    /// Basic authentication, if it has it.
    pub auth: Option<BasicAuth>,
    /// The `whsec_…` secret that signs.
    pub secret: SecretText,
    /// Whether deliveries are queued and attempted.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An endpoint's subscription to an event type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct SubscriptionRecord {
    /// Its id.
    pub id: SubscriptionId,
    /// The workspace of both.
    pub workspace: WorkspaceId,
    /// Who subscribed.
    pub endpoint: EndpointId,
    /// To what.
    pub event_type: EventTypeId,
    /// When; adapters keep the order in which subscriptions were made.
    pub created_at: Timestamp,
}

/// An event type is published in an environment other than the default one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct PublicationRecord {
    /// The workspace of both.
    pub workspace: WorkspaceId,
    /// Where.
    pub environment: EnvironmentId,
    /// What.
    pub event_type: EventTypeId,
}

/// Whether a key or token is let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new state must be answered by every adapter"
)]
pub enum KeyState {
    /// It is.
    Active,
    /// Not for now: 403 `token_disabled`.
    Disabled,
    /// Never again: 401 `unauthorized`, as if it had never been.
    Revoked,
}

/// An ingestion key, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct ApiKeyRecord {
    /// Its id.
    pub id: ApiKeyId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The only environment it reaches, if it is bound to one.
    pub environment: Option<EnvironmentId>,
    /// The only endpoint it may send to, if it is bound to one.
    pub endpoint: Option<EndpointId>,
    /// For people; unique in the workspace.
    pub name: String,
    /// The hash of its secret.
    pub hash: KeyHash,
    /// Whether it is let in.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A management token, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct ManagementTokenRecord {
    /// Its id.
    pub id: ManagementTokenId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// For people; unique in the workspace.
    pub name: String,
    /// The hash of its secret.
    pub hash: KeyHash,
    /// Whether it is let in.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
}
