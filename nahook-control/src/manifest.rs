//! The declaration of what shall exist, as people write it in TOML or JSON.
//!
//! Ids may be given or left to us. Something that exists is recognised by its id if one is given, else by its natural
//! key: a workspace, event type, key or token by its name, an environment by its slug, an application by its external id or
//! else its name, an endpoint by its environment and URL, which a Slack endpoint has in `config.webhookUrl`, among those of
//! its application if it names one. A field that is absent keeps what is there; a list of subscriptions or publications that is present is
//! the whole list.

use std::num::NonZeroU32;

use crate::EndpointKind;
use nahook_core::id::{
    ApiKeyId, ApplicationId, EndpointId, EnvironmentId, EventTypeId, ManagementTokenId, WorkspaceId,
};
use nahook_core::{EventTypeName, EventTypeSelector, Metadata};
use serde::Deserialize;

/// Everything that is declared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The workspaces, with what is in them.
    #[serde(default)]
    pub workspaces: Vec<WorkspaceSpec>,
}

/// Declares one workspace.
impl From<WorkspaceSpec> for Manifest {
    fn from(workspace: WorkspaceSpec) -> Self {
        Self {
            workspaces: vec![workspace],
        }
    }
}

/// A workspace and what is in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceSpec {
    /// Its id.
    pub id: Option<WorkspaceId>,
    /// Its name.
    pub name: String,
    /// Its limits.
    pub plan: Option<PlanSpec>,
    /// Its environments; the default one, `production`, always exists.
    #[serde(default)]
    pub environments: Vec<EnvironmentSpec>,
    /// Its event types.
    #[serde(default)]
    pub event_types: Vec<EventTypeSpec>,
    /// Its applications.
    #[serde(default)]
    pub applications: Vec<ApplicationSpec>,
    /// Its endpoints.
    #[serde(default)]
    pub endpoints: Vec<EndpointSpec>,
    /// Its ingestion keys.
    #[serde(default)]
    pub api_keys: Vec<ApiKeySpec>,
    /// Its management tokens.
    #[serde(default)]
    pub management_tokens: Vec<ManagementTokenSpec>,
}

/// The limits of a workspace. A plan that is present is the whole plan: an absent rate of calls is unlimited, and every other absent
/// limit is the default one.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// Largest payload in bytes; 256 KiB if absent.
    pub payload_len_max: Option<usize>,
    /// Rate of all keys together; unlimited if absent.
    pub workspace_rate: Option<RateSpec>,
    /// Rate of each key; unlimited if absent.
    pub key_rate: Option<RateSpec>,
    /// Rate of deliveries, each endpoint of an event counted; 1,000 for each call that the workspace's rate allows if absent, and a
    /// million a second if that is absent too.
    pub delivery_rate: Option<RateSpec>,
    /// Largest number of deliveries that are queued and not settled; 10,000,000 if absent.
    pub pending_max: Option<u32>,
    /// Largest amount of payloads that is kept, in MiB; 1,048,576 (1 TiB) if absent.
    pub stored_mib_max: Option<u32>,
    /// Largest number of endpoints, inactive ones counted; 100,000 if absent. A manifest may declare more: it is for endpoints that
    /// the workspace makes itself.
    pub endpoints_max: Option<u32>,
}

/// A rate: so many events in each period.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSpec {
    /// Number of events in a period.
    pub count: NonZeroU32,
    /// Length of a period in seconds; 1 if absent.
    pub period_secs: Option<NonZeroU32>,
    /// Largest number of events at once; `count` if absent.
    pub burst: Option<NonZeroU32>,
}

/// An environment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Its id.
    pub id: Option<EnvironmentId>,
    /// 2 to 50 lower-case letters, digits and hyphens.
    pub slug: String,
    /// 1 to 50 characters; the slug if absent.
    pub name: Option<String>,
    /// The event types published in it; the default environment publishes all and takes no list.
    pub published: Option<Vec<EventTypeName>>,
}

/// An event type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTypeSpec {
    /// Its id.
    pub id: Option<EventTypeId>,
    /// Its name.
    pub name: EventTypeName,
    /// Description for people.
    pub description: Option<String>,
}

/// An application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationSpec {
    /// Its id.
    pub id: Option<ApplicationId>,
    /// Name for people.
    pub name: String,
    /// Name by which the workspace itself knows it; unique in the workspace. Fixed once the application exists.
    pub external_id: Option<String>,
    /// At most five labels.
    pub metadata: Option<Metadata>,
    /// Largest number of endpoints, inactive ones counted; unlimited if absent when it is made.
    pub max_endpoints: Option<u32>,
    /// True if its portal shows the event types; true if absent.
    pub show_event_types: Option<bool>,
}

/// An endpoint.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Its id.
    pub id: Option<EndpointId>,
    /// The slug of its environment; the default one if absent. Fixed once the endpoint exists.
    pub environment: Option<String>,
    /// The id, external id or name of the application it belongs to; none if absent. Fixed once the endpoint exists.
    pub application: Option<String>,
    /// An `http` or `https` URL. A Slack endpoint needs none: it has its URL in `config.webhookUrl`, and what stands here
    /// is not used.
    #[serde(default)]
    pub url: String,
    /// Kind of receiver; `webhook` if absent. Fixed once the endpoint exists.
    #[serde(rename = "type")]
    pub kind: Option<EndpointKind>,
    /// Settings of the kind.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// At most five labels.
    pub metadata: Option<Metadata>,
    /// Description for people.
    pub description: Option<String>,
    /// The user name for basic authentication.
    pub auth_username: Option<String>,
    /// The password for basic authentication.
    pub auth_password: Option<String>,
    /// The `whsec_…` secret; drawn if absent.
    pub secret: Option<String>,
    /// True if deliveries are queued and attempted; true if absent.
    pub is_active: Option<bool>,
    /// The event types it is subscribed to: names, and patterns such as `order.*` (exactly one more segment), `order.**` (one or
    /// more) and `*` (every event type), which count for event types that are made later, too.
    pub event_types: Option<Vec<EventTypeSelector>>,
}

/// An ingestion key.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySpec {
    /// Its id.
    pub id: Option<ApiKeyId>,
    /// Name for people.
    pub name: String,
    /// The whole key, beginning with `nhk_`; drawn if absent.
    pub key: Option<String>,
    /// The slug of the only environment it reaches. Fixed once the key exists.
    pub environment: Option<String>,
    /// The id of the only endpoint it may send to. Fixed once the key exists.
    pub endpoint: Option<EndpointId>,
    /// True if it is switched off; false if absent.
    pub disabled: Option<bool>,
}

/// A management token.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagementTokenSpec {
    /// Its id.
    pub id: Option<ManagementTokenId>,
    /// Name for people.
    pub name: String,
    /// The whole token, beginning with `nhm_`; drawn if absent.
    pub token: Option<String>,
    /// True if it reads only, and sees no secret; false if absent. Fixed once the token exists.
    pub read_only: Option<bool>,
    /// True if it is switched off; false if absent.
    pub disabled: Option<bool>,
}

impl std::fmt::Debug for ApiKeySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeySpec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ManagementTokenSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagementTokenSpec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EndpointSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointSpec")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl EventTypeSpec {
    /// An event type of that name, the rest left to us.
    pub fn named(name: EventTypeName) -> Self {
        Self {
            id: None,
            name,
            description: None,
        }
    }
}
