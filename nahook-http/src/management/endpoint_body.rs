//! Endpoints as the API shows and takes them.
#![expect(
    clippy::option_option,
    reason = "a field may be absent, null or given, and each is something else"
)]

use std::collections::BTreeMap;

use nahook_control::{EndpointKind, EndpointPatch, EndpointRecord, NewEndpoint, SecretText};
use nahook_core::id::{ApplicationId, EnvironmentId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::given;
use super::instant::show;
use super::labels::{Config, Labels};
use super::path::PathId as _;
use super::refusal::missing;
use crate::ApiError;

/// Stands for a secret where it is not shown. The field is always there, since strict readers want it, and this is no
/// base64, so that nobody signs with it unnoticed.
const HIDDEN: &str = "whsec_********";
/// Stands for what a token that reads only does not see.
const MASK: &str = "********";

/// A receiver of deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Endpoint, example = json!({
    "id": "ep_orders",
    "url": "https://example.com/webhooks",
    "secret": "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh",
    "description": "Orders",
    "authUsername": null,
    "hasAuth": false,
    "isActive": true,
    "type": "webhook",
    "config": {},
    "metadata": { "team": "billing" },
    "environmentId": "env_production",
    "applicationId": null,
    "createdAt": "2026-11-26T08:00:00.000Z",
    "updatedAt": "2026-11-26T08:00:00.000Z",
}))]
pub(super) struct EndpointView {
    /// Its id.
    id: String,
    /// URL to POST to.
    url: String,
    /// The `whsec_…` secret that signs, where an endpoint is made or got and where its secret is rotated; elsewhere, and for
    /// a token that reads only, `whsec_********`.
    secret: String,
    /// For people.
    #[schema(required)]
    description: Option<String>,
    /// The user name for basic authentication; the password is never shown.
    #[schema(required)]
    auth_username: Option<String>,
    /// True if it has basic authentication.
    has_auth: bool,
    /// True if deliveries are queued and attempted.
    is_active: bool,
    /// Kind of receiver.
    #[serde(rename = "type")]
    kind: EndpointType,
    /// Settings of the kind.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
    /// Labels.
    metadata: BTreeMap<String, String>,
    /// Its environment.
    environment_id: String,
    /// The application it belongs to.
    #[schema(required)]
    application_id: Option<String>,
    /// Instant at which it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// Instant of its last change.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl EndpointView {
    /// With its secret.
    pub(super) fn open(row: EndpointRecord) -> Self {
        let secret = row.secret.expose().to_owned();
        Self {
            secret,
            ..Self::hidden(row)
        }
    }

    /// Returns the view in a list, for a caller who may see secrets or not.
    pub(super) fn listed(sees_secrets: bool) -> fn(EndpointRecord) -> Self {
        if sees_secrets {
            Self::hidden
        } else {
            Self::masked
        }
    }

    /// Without anything that is a secret: also the configuration, and a Slack endpoint's URL.
    pub(super) fn masked(mut row: EndpointRecord) -> Self {
        for value in row.config.values_mut() {
            if !matches!(value, Value::Bool(_) | Value::Null | Value::Number(_)) {
                *value = MASK.into();
            }
        }
        if row.kind == EndpointKind::Slack {
            MASK.clone_into(&mut row.url);
        }
        Self::hidden(row)
    }

    /// Without it.
    pub(super) fn hidden(row: EndpointRecord) -> Self {
        Self {
            id: row.id.to_string(),
            url: row.url,
            secret: HIDDEN.to_owned(),
            description: row.description,
            has_auth: row.auth.is_some(),
            auth_username: row.auth.map(|auth| auth.username),
            is_active: row.is_active,
            kind: row.kind.into(),
            config: row.config,
            metadata: row.metadata,
            environment_id: row.environment.to_string(),
            application_id: row.application.map(|id| id.to_string()),
            created_at: show(row.created_at),
            updated_at: show(row.updated_at),
        }
    }
}

/// Kind of receiver that an endpoint is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EndpointType {
    /// A signed POST to the endpoint's URL.
    #[default]
    Webhook,
    /// A POST to `config.webhookUrl`, unsigned.
    Slack,
}

impl From<EndpointKind> for EndpointType {
    fn from(kind: EndpointKind) -> Self {
        match kind {
            EndpointKind::Slack => Self::Slack,
            EndpointKind::Webhook => Self::Webhook,
        }
    }
}

impl From<EndpointType> for EndpointKind {
    fn from(kind: EndpointType) -> Self {
        match kind {
            EndpointType::Slack => Self::Slack,
            EndpointType::Webhook => Self::Webhook,
        }
    }
}

/// An endpoint to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewEndpoint, example = json!({
    "url": "https://example.com/webhooks",
    "description": "Orders",
    "metadata": { "team": "billing" },
}))]
pub(super) struct EndpointCreation {
    /// URL to POST to; a Slack endpoint has its URL in `config.webhookUrl` instead.
    url: Option<String>,
    /// Kind of receiver; `webhook` if absent.
    #[serde(rename = "type")]
    kind: Option<EndpointType>,
    /// For people.
    description: Option<String>,
    /// Labels.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Labels>,
    /// Settings of the kind.
    #[schema(value_type = Option<Object>)]
    config: Option<Config>,
    /// The user name for basic authentication.
    auth_username: Option<String>,
    /// The password for basic authentication.
    auth_password: Option<String>,
    /// Its environment; the default one if absent.
    environment_id: Option<String>,
}

impl EndpointCreation {
    /// The endpoint, of that application if there is one.
    pub(super) fn endpoint(
        self,
        application: Option<ApplicationId>,
    ) -> Result<NewEndpoint, ApiError> {
        let environment = self.environment_id.map(|id| id.parse()).transpose();
        Ok(NewEndpoint {
            url: self.url,
            kind: self.kind.unwrap_or_default().into(),
            description: self.description,
            metadata: self.metadata.unwrap_or_default().0,
            config: self.config.unwrap_or_default().0,
            auth_username: self.auth_username,
            auth_password: self.auth_password.map(SecretText::new),
            environment: environment.map_err(|_| missing(EnvironmentId::OF))?,
            application,
        })
    }
}

/// Changes to an endpoint; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointUpdate, example = json!({ "isActive": false }))]
pub(super) struct EndpointChange {
    /// URL to POST to.
    url: Option<String>,
    /// For people; null removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// Labels, all of them.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Labels>,
    /// True if deliveries are queued and attempted.
    is_active: Option<bool>,
    /// The user name for basic authentication; null removes the authentication.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    auth_username: Option<Option<String>>,
    /// The password for basic authentication; null removes the authentication.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    auth_password: Option<Option<String>>,
    /// Settings of the kind, all of them.
    #[schema(value_type = Option<Object>)]
    config: Option<Config>,
}

impl From<EndpointChange> for EndpointPatch {
    fn from(change: EndpointChange) -> Self {
        Self {
            url: change.url,
            description: change.description,
            metadata: change.metadata.map(|labels| labels.0),
            is_active: change.is_active,
            auth_username: change.auth_username,
            auth_password: change
                .auth_password
                .map(|password| password.map(SecretText::new)),
            config: change.config.map(|config| config.0),
        }
    }
}
