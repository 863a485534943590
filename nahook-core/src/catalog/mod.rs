//! What exists, how it is declared, and what a declaration changes.

mod audit;
mod changes;
mod manifest;
mod record;
pub(crate) mod rules;
mod secrets;

pub use self::audit::{Actor, ActorKind, AuditEntry};
pub use self::changes::{Change, ManifestError, Record, Snapshot, Verb};
pub use self::manifest::{
    ApiKeySpec, ApplicationSpec, EndpointSpec, EnvironmentSpec, EventTypeSpec, ManagementTokenSpec,
    Manifest, PlanSpec, RateSpec, WorkspaceSpec,
};
pub use self::record::{
    ApiKeyRecord, ApplicationRecord, EndpointKind, EndpointRecord, EnvironmentRecord,
    EventTypeRecord, KeyState, ManagementTokenRecord, PortalRole, PortalSessionRecord,
    PublicationRecord, RetiredSecret, SubscriptionRecord, WorkspaceRecord,
};
pub use self::secrets::{
    API_KEY_PREFIX, MANAGEMENT_TOKEN_PREFIX, SIGNING_SECRET_PREFIX, new_api_key,
    new_management_token, new_signing_secret, signing_secret_is_valid,
};
