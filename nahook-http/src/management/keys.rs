//! `/api-keys`: ingestion keys, for operators.

use nahook_control::{ApiKeyRecord, KeyState, NewApiKey};
use nahook_core::id::ApiKeyId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Found, Gone, Listed, Made};
use super::body::NoBody;
use super::call::Call;
use super::instant::show;
use super::path::PathId;
use super::query::NoQuery;
use super::refusal::missing;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

const ONE: &str = "/api-keys/{keyId}";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get("/api-keys", "listApiKeys", "List ingestion keys");
    let about = about.describe("The oldest first, revoked ones included, without their secrets.");
    routes.add(&about.for_operators(), list);
    let about = About::post("/api-keys", "createApiKey", "Make an ingestion key");
    let about = about.describe("The key itself is in the answer, and never again anywhere.");
    routes.add(&about.refuses(&[Problem::Conflict]).for_operators(), create);
    let about = About::patch(ONE, "updateApiKey", "Switch an ingestion key off or on");
    routes.add(&about.for_operators(), update);
    let about = About::delete(ONE, "revokeApiKey", "End an ingestion key for good");
    routes.add(&about.for_operators(), revoke);
}

/// State of a key or token.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SecretState {
    /// It is.
    Active,
    /// Not for now.
    Disabled,
    /// Never again.
    Revoked,
}

impl From<KeyState> for SecretState {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Active => Self::Active,
            KeyState::Disabled => Self::Disabled,
            KeyState::Revoked => Self::Revoked,
        }
    }
}

/// Changes to a key or token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "isActive": false }))]
pub(super) struct SecretUpdate {
    /// True if it is to be let in.
    pub(super) is_active: bool,
}

impl SecretUpdate {
    pub(super) const fn state(&self) -> KeyState {
        if self.is_active {
            KeyState::Active
        } else {
            KeyState::Disabled
        }
    }
}

/// An ingestion key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "key_checkout",
    "name": "checkout",
    "environmentId": null,
    "endpointId": null,
    "state": "active",
    "createdAt": "2026-11-26T08:00:00.000Z",
}))]
struct ApiKey {
    /// Its id.
    id: String,
    /// For people.
    name: String,
    /// The only environment it reaches.
    #[schema(required)]
    environment_id: Option<String>,
    /// The only endpoint it may send to.
    #[schema(required)]
    endpoint_id: Option<String>,
    /// State of the key.
    state: SecretState,
    /// Instant at which it was made.
    #[schema(format = DateTime)]
    created_at: String,
}

/// An ingestion key that was made.
#[derive(Serialize, ToSchema)]
struct CreatedApiKey {
    #[serde(flatten)]
    record: ApiKey,
    /// The key itself; shown this once.
    key: String,
}

impl From<ApiKeyRecord> for ApiKey {
    fn from(row: ApiKeyRecord) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            environment_id: row.environment.map(|id| id.to_string()),
            endpoint_id: row.endpoint.map(|id| id.to_string()),
            state: row.state.into(),
            created_at: show(row.created_at),
        }
    }
}

/// An ingestion key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "name": "checkout" }))]
struct ApiKeyCreation {
    /// For people; unique in the workspace.
    name: String,
    /// The only environment it shall reach.
    environment_id: Option<String>,
    /// The only endpoint it may send to.
    endpoint_id: Option<String>,
}

async fn list(call: Call<(), NoQuery, NoBody>) -> Result<Listed<ApiKey>, ApiError> {
    let rows = call.api.management.api_keys(&call.workspace).await?;
    Ok(Listed(rows.into_iter().map(ApiKey::from).collect()))
}

async fn create(call: Call<(), NoQuery, ApiKeyCreation>) -> Result<Made<CreatedApiKey>, ApiError> {
    let new = NewApiKey {
        name: call.body.name,
        environment: parsed(call.body.environment_id)?,
        endpoint: parsed(call.body.endpoint_id)?,
    };
    let management = &call.api.management;
    let (row, secret) = management
        .create_api_key(&call.workspace, &call.actor, new)
        .await?;
    Ok(Made(CreatedApiKey {
        record: row.into(),
        key: secret.expose().to_owned(),
    }))
}

async fn update(call: Call<ApiKeyId, NoQuery, SecretUpdate>) -> Result<Found<ApiKey>, ApiError> {
    let (management, state) = (&call.api.management, call.body.state());
    let row = management
        .set_api_key_state(&call.workspace, &call.actor, call.path, state)
        .await?;
    Ok(Found(row.into()))
}

async fn revoke(call: Call<ApiKeyId, NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let management = &call.api.management;
    management
        .set_api_key_state(&call.workspace, &call.actor, call.path, KeyState::Revoked)
        .await?;
    Ok(Gone)
}

/// An id in a body; what can be no id is the id of nothing.
pub(super) fn parsed<T: PathId>(id: Option<String>) -> Result<Option<T>, ApiError> {
    id.map(|id| id.parse().map_err(|_| missing(T::OF)))
        .transpose()
}
