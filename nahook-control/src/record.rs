//! The rows of the control plane, as adapters keep them.

use std::collections::BTreeMap;

use crate::coded::coded;
use crate::{BasicAuth, EndpointKind, KeyHash, SecretText};
use nahook_core::admission::Plan;
use nahook_core::id::{
    ApiKeyId, ApplicationId, EndpointId, EnvironmentId, EventTypeId, ManagementTokenId, MessageId,
    PatternId, SubscriptionId, WorkspaceId,
};
use nahook_core::{EventTypeName, EventTypePattern, IdSource, Timestamp};
use serde::{Deserialize, Serialize};

/// A tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkspaceRecord {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name; unique.
    pub name: String,
    /// Its limits.
    pub plan: Plan,
    /// Time at which it was made.
    pub created_at: Timestamp,
}

/// An environment of a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvironmentRecord {
    /// Its id.
    pub id: EnvironmentId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its name, 1 to 50 characters.
    pub name: String,
    /// Its name in URLs and manifests, 2 to 50 lower-case letters, digits and hyphens; unique in the workspace.
    pub slug: String,
    /// True if it is the workspace's one default environment, in which every event type is published.
    pub is_default: bool,
    /// Time at which it was made.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// An event type of a workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventTypeRecord {
    /// Its id.
    pub id: EventTypeId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its name; unique in the workspace.
    pub name: EventTypeName,
    /// For people.
    pub description: Option<String>,
    /// Time at which it was made.
    pub created_at: Timestamp,
}

impl EventTypeRecord {
    /// Makes an event type of that name, with a drawn id.
    pub fn drawn(
        name: EventTypeName,
        workspace: WorkspaceId,
        now: Timestamp,
        ids: &dyn IdSource,
    ) -> Self {
        Self {
            id: EventTypeId::from_bits(MessageId::from_parts(now, ids.random()).as_bits()),
            workspace,
            name,
            description: None,
            created_at: now,
        }
    }
}

/// A customer of the workspace, with endpoints of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApplicationRecord {
    /// Its id.
    pub id: ApplicationId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The workspace's own name for it; unique in the workspace.
    pub external_id: Option<String>,
    /// For people.
    pub name: String,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// Largest number of endpoints, inactive ones counted; unlimited when absent.
    pub max_endpoints: Option<u32>,
    /// True if its portal shows the event types.
    pub show_event_types: bool,
    /// Time at which it was made.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// The role of the holder of a portal session.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PortalRole {
    /// Everything.
    #[default]
    Admin,
    /// Everything but deleting.
    Editor,
    /// Looking.
    Viewer,
}

coded!(PortalRole {
    Admin = 0 "admin",
    Editor = 1 "editor",
    Viewer = 2 "viewer",
});

/// A way into an application's portal, entered with a code that is used once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortalSessionRecord {
    /// The hash of its code.
    pub code: KeyHash,
    /// The workspace of its application.
    pub workspace: WorkspaceId,
    /// Application whose portal it opens.
    pub application: ApplicationId,
    /// Role of its holder.
    pub role: PortalRole,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// Until when the code may be exchanged.
    pub code_expires_at: Timestamp,
    /// Time at which the session ends.
    pub expires_at: Timestamp,
    /// Time at which it was made.
    pub created_at: Timestamp,
}

/// A receiver of deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointRecord {
    /// Its id.
    pub id: EndpointId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its environment.
    pub environment: EnvironmentId,
    /// The application it belongs to, if it belongs to one.
    pub application: Option<ApplicationId>,
    /// URL to POST to.
    pub url: String,
    /// Kind of receiver.
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
    /// The one before it, which signs beside it for a while.
    pub previous_secret: Option<RetiredSecret>,
    /// True if deliveries are queued and attempted.
    pub is_active: bool,
    /// Time at which it was made.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl EndpointRecord {
    /// The secrets that sign at `now`, the newest first.
    pub fn signing_secrets(&self, now: Timestamp) -> Vec<SecretText> {
        let previous = self.previous_secret.iter();
        let still_signing = previous.filter(|retired| retired.signs_until > now);
        std::iter::once(&self.secret)
            .chain(still_signing.map(|retired| &retired.secret))
            .cloned()
            .collect()
    }
}

/// A secret that was rotated out: receivers may not have the new one yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetiredSecret {
    /// The `whsec_…` secret.
    pub secret: SecretText,
    /// Until when it signs.
    pub signs_until: Timestamp,
}

/// An endpoint's subscription to an event type by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubscriptionRecord {
    /// Its id.
    pub id: SubscriptionId,
    /// The workspace of both.
    pub workspace: WorkspaceId,
    /// Endpoint that is subscribed.
    pub endpoint: EndpointId,
    /// Event type that it is subscribed to.
    pub event_type: EventTypeId,
    /// Time of subscribing; adapters keep the order in which subscriptions were made.
    pub created_at: Timestamp,
}

/// An endpoint's subscription to every event type that a pattern matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PatternRecord {
    /// Its id.
    pub id: PatternId,
    /// The workspace of the endpoint and of the event types.
    pub workspace: WorkspaceId,
    /// Endpoint that is subscribed.
    pub endpoint: EndpointId,
    /// The pattern; an endpoint has each once.
    pub pattern: EventTypePattern,
    /// Time of subscribing; adapters keep the order in which subscriptions were made.
    pub created_at: Timestamp,
}

/// An endpoint that an event type fans out to, by the event type's name or by a pattern. Adapters make these rows themselves: no
/// [`Change`](crate::Change) has one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubscriberRecord {
    /// The workspace of both.
    pub workspace: WorkspaceId,
    /// Event type that fans out.
    pub event_type: EventTypeId,
    /// Endpoint that is subscribed.
    pub endpoint: EndpointId,
}

/// An event type is published in an environment other than the default one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicationRecord {
    /// The workspace of both.
    pub workspace: WorkspaceId,
    /// Environment in which it is published.
    pub environment: EnvironmentId,
    /// Event type that is published.
    pub event_type: EventTypeId,
}

/// State of a key or token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// It is.
    Active,
    /// Not for now: 403 `token_disabled`.
    Disabled,
    /// Never again: 401 `unauthorized`, as if it had never been.
    Revoked,
}

coded!(KeyState {
    Active = 0 "active",
    Disabled = 1 "disabled",
    Revoked = 2 "revoked",
});

impl KeyState {
    /// Returns the audit log's word for a change to this state.
    pub const fn participle(self) -> &'static str {
        match self {
            Self::Active => "enabled",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

/// An ingestion key, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
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
    /// Its state.
    pub state: KeyState,
    /// Time at which it was made.
    pub created_at: Timestamp,
}

/// A management token, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManagementTokenRecord {
    /// Its id.
    pub id: ManagementTokenId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// For people; unique in the workspace.
    pub name: String,
    /// The hash of its secret.
    pub hash: KeyHash,
    /// True if it reads only, and sees no secret.
    pub is_read_only: bool,
    /// Its state.
    pub state: KeyState,
    /// Time at which it was made.
    pub created_at: Timestamp,
}
