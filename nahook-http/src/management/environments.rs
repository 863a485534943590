//! `/environments`.

use nahook_control::EnvironmentRecord;
use nahook_core::id::EnvironmentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Found, Gone, Listed, Made};
use super::body::NoBody;
use super::call::Call;
use super::instant::show;
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

const ONE: &str = "/environments/{environmentId}";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get("/environments", "listEnvironments", "List environments");
    routes.add(&about.describe("The oldest first."), list);
    let about = About::post("/environments", "createEnvironment", "Make an environment");
    let about = about.describe("Nothing is published in it yet. A workspace has at most ten.");
    routes.add(&about.refuses(&[Problem::Conflict]), create);
    let about = About::get(ONE, "getEnvironment", "Get an environment");
    routes.add(&about, get);
    let about = About::patch(ONE, "updateEnvironment", "Change an environment's name");
    routes.add(&about, update);
    let about = About::delete(ONE, "deleteEnvironment", "Remove an environment");
    let about = about
        .describe("Not the default one, and not one that has endpoints. Its keys are revoked.");
    routes.add(&about.refuses(&[Problem::Conflict]), delete);
}

/// An environment of a workspace.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "env_staging",
    "name": "Staging",
    "slug": "staging",
    "isDefault": false,
    "createdAt": "2026-11-26T08:00:00.000Z",
    "updatedAt": "2026-11-26T08:00:00.000Z",
}))]
struct Environment {
    /// Its id.
    id: String,
    /// Its name, for people.
    name: String,
    /// Its name in manifests and settings.
    slug: String,
    /// True if it is the workspace's one default environment, in which every event type is published.
    is_default: bool,
    /// Instant at which it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// Instant of its last change.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<EnvironmentRecord> for Environment {
    fn from(row: EnvironmentRecord) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            slug: row.slug,
            is_default: row.is_default,
            created_at: show(row.created_at),
            updated_at: show(row.updated_at),
        }
    }
}

/// An environment to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "name": "Staging", "slug": "staging" }))]
struct NewEnvironment {
    /// Its name, for people.
    name: String,
    /// Its name in manifests and settings; unique in the workspace.
    slug: String,
}

/// Changes to an environment; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "name": "Acceptance" }))]
struct EnvironmentUpdate {
    /// Its name, for people.
    name: Option<String>,
}

async fn list(call: Call<(), NoQuery, NoBody>) -> Result<Listed<Environment>, ApiError> {
    let rows = call.api.management.environments(&call.workspace).await?;
    Ok(Listed(rows.into_iter().map(Environment::from).collect()))
}

async fn create(call: Call<(), NoQuery, NewEnvironment>) -> Result<Made<Environment>, ApiError> {
    let NewEnvironment { name, slug } = call.body;
    let new = nahook_control::NewEnvironment { name, slug };
    let management = &call.api.management;
    let row = management
        .create_environment(&call.workspace, &call.actor, new)
        .await?;
    Ok(Made(row.into()))
}

async fn get(call: Call<EnvironmentId, NoQuery, NoBody>) -> Result<Found<Environment>, ApiError> {
    let management = &call.api.management;
    let row = management.environment(&call.workspace, call.path).await?;
    Ok(Found(row.into()))
}

async fn update(
    call: Call<EnvironmentId, NoQuery, EnvironmentUpdate>,
) -> Result<Found<Environment>, ApiError> {
    let management = &call.api.management;
    let row = management
        .update_environment(&call.workspace, &call.actor, call.path, call.body.name)
        .await?;
    Ok(Found(row.into()))
}

async fn delete(call: Call<EnvironmentId, NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let management = &call.api.management;
    management
        .delete_environment(&call.workspace, &call.actor, call.path)
        .await?;
    Ok(Gone)
}
