#![doc = include_str!("../README.md")]

mod audit;
mod catalog;
mod changes;
mod coded;
mod creating;
mod endpoint;
mod endpoint_url;
mod error;
mod key_hash;
mod keys;
mod manifest;
mod operations;
mod prefixes;
mod record;
mod row_kind;
pub mod rules;
mod sealing;
mod secret_text;
mod secrets;
mod sessions;
mod store;

pub use self::audit::{Actor, ActorKind, AuditEntry};
pub use self::catalog::{ApplyMode, Catalog, CatalogError};
pub use self::changes::{Change, ManifestError, Record, Snapshot, Verb};
pub use self::creating::CreatingSubscriptions;
pub use self::endpoint::{
    BasicAuth, EndpointDirectory, EndpointKind, EndpointTarget, HealthReport, HealthState,
    endpoint_states,
};
pub use self::endpoint_url::{EndpointUrl, EndpointUrlError};
pub use self::error::ManagementError;
pub use self::key_hash::KeyHash;
pub use self::keys::{KeyEntry, KeyStore, TokenHolder};
pub use self::manifest::{
    ApiKeySpec, ApplicationSpec, EndpointSpec, EnvironmentSpec, EventTypeSpec, ManagementTokenSpec,
    Manifest, PlanSpec, RateSpec, WorkspaceSpec,
};
pub use self::operations::{
    ApplicationPatch, DryRun, EndpointPatch, EventTypeView, Management, NewApiKey, NewApplication,
    NewEndpoint, NewEnvironment, NewManagementToken, NewPortalSession, PortalSession,
    SubscriptionView, Visibility, WouldBe,
};
pub use self::prefixes::pattern_prefixes;
pub use self::record::{
    ApiKeyRecord, ApplicationRecord, EndpointRecord, EnvironmentRecord, EventTypeRecord, KeyState,
    ManagementTokenRecord, PatternRecord, PortalRole, PortalSessionRecord, PublicationRecord,
    RetiredSecret, SubscriberRecord, SubscriptionRecord, WorkspaceRecord,
};
pub use self::row_kind::RowKind;
pub use self::sealing::{
    MasterKeyError, MasterKeys, Opening, RotateError, SealError, SecretBox, SecretColumns,
};
pub use self::secret_text::SecretText;
pub use self::secrets::{
    API_KEY_PREFIX, MANAGEMENT_TOKEN_PREFIX, SIGNING_SECRET_PREFIX, new_api_key,
    new_management_token, new_signing_secret, signing_secret_is_valid,
};
pub use self::sessions::{PageSession, SessionHolder, SessionStore};
pub use self::store::{
    AuditPage, AuditQuery, ChangePlan, EndpointHealth, EndpointPage, EndpointQuery,
    ManagementStore, Planned, Select,
};
