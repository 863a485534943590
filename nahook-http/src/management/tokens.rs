//! `/management-tokens`, for operators.

use nahook_control::{KeyState, ManagementTokenRecord, NewManagementToken};
use nahook_core::id::ManagementTokenId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Found, Gone, Listed, Made};
use super::body::NoBody;
use super::call::Call;
use super::instant::show;
use super::keys::{SecretState, SecretUpdate};
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

const ONE: &str = "/management-tokens/{tokenId}";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(
        "/management-tokens",
        "listManagementTokens",
        "List management tokens",
    );
    let about = about.describe("The oldest first, revoked ones included, without their secrets.");
    routes.add(&about.for_operators(), list);
    let about = About::post(
        "/management-tokens",
        "createManagementToken",
        "Make a management token",
    );
    let about = about.describe("The token itself is in the answer, and never again anywhere.");
    routes.add(&about.refuses(&[Problem::Conflict]).for_operators(), create);
    let about = About::patch(
        ONE,
        "updateManagementToken",
        "Switch a management token off or on",
    );
    routes.add(&about.for_operators(), update);
    let about = About::delete(
        ONE,
        "revokeManagementToken",
        "End a management token for good",
    );
    routes.add(&about.for_operators(), revoke);
}

/// A management token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "tok_ci",
    "name": "CI",
    "readOnly": false,
    "state": "active",
    "createdAt": "2026-11-26T08:00:00.000Z",
}))]
struct ManagementToken {
    /// Its id.
    id: String,
    /// For people.
    name: String,
    /// True if it reads only, and sees no secret.
    read_only: bool,
    /// State of the token.
    state: SecretState,
    /// Instant at which it was made.
    #[schema(format = DateTime)]
    created_at: String,
}

/// A management token that was made.
#[derive(Serialize, ToSchema)]
struct CreatedManagementToken {
    #[serde(flatten)]
    record: ManagementToken,
    /// The token itself; shown this once.
    token: String,
}

impl From<ManagementTokenRecord> for ManagementToken {
    fn from(row: ManagementTokenRecord) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            read_only: row.is_read_only,
            state: row.state.into(),
            created_at: show(row.created_at),
        }
    }
}

/// A management token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "name": "CI", "readOnly": true }))]
struct ManagementTokenCreation {
    /// For people; unique in the workspace.
    name: String,
    /// True if it reads only, and sees no secret; false if absent.
    #[serde(default)]
    read_only: bool,
}

async fn list(call: Call<(), NoQuery, NoBody>) -> Result<Listed<ManagementToken>, ApiError> {
    let management = &call.api.management;
    let rows = management.management_tokens(&call.workspace).await?;
    let tokens = rows.into_iter().map(ManagementToken::from);
    Ok(Listed(tokens.collect()))
}

async fn create(
    call: Call<(), NoQuery, ManagementTokenCreation>,
) -> Result<Made<CreatedManagementToken>, ApiError> {
    let management = &call.api.management;
    let new = NewManagementToken {
        name: call.body.name,
        is_read_only: call.body.read_only,
    };
    let (row, secret) = management
        .create_management_token(&call.workspace, &call.actor, new)
        .await?;
    Ok(Made(CreatedManagementToken {
        record: row.into(),
        token: secret.expose().to_owned(),
    }))
}

async fn update(
    call: Call<ManagementTokenId, NoQuery, SecretUpdate>,
) -> Result<Found<ManagementToken>, ApiError> {
    let (management, state) = (&call.api.management, call.body.state());
    let row = management
        .set_management_token_state(&call.workspace, &call.actor, call.path, state)
        .await?;
    Ok(Found(row.into()))
}

async fn revoke(call: Call<ManagementTokenId, NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let (management, state) = (&call.api.management, KeyState::Revoked);
    management
        .set_management_token_state(&call.workspace, &call.actor, call.path, state)
        .await?;
    Ok(Gone)
}
