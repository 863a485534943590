//! `/applications`.
#![expect(
    clippy::option_option,
    reason = "a field may be absent, null or given, and each is something else"
)]

use std::collections::BTreeMap;

use nahook_control::rules::application::MAX_ENDPOINTS;
use nahook_control::{ApplicationPatch, ApplicationRecord};
use nahook_core::id::ApplicationId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::{Found, Gone, Listed, Made};
use super::body::{NoBody, given};
use super::call::Call;
use super::endpoint_body::{EndpointCreation, EndpointView};
use super::instant::show;
use super::labels::{Labels, Whole};
use super::query::{NoQuery, QueryArgs, parameter};
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

/// Applications on a page unless the caller says otherwise.
const LIMIT_DEFAULT: u64 = 100;
/// Upper bound on the applications on a page.
const LIMIT_MAX: u64 = 1_000;

const ONE: &str = "/applications/{applicationId}";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get("/applications", "listApplications", "List applications");
    routes.add(&about.describe("The oldest first, page by page."), list);
    let about = About::post("/applications", "createApplication", "Make an application");
    routes.add(&about.refuses(&[Problem::Conflict]), create);
    let about = About::get(ONE, "getApplication", "Get an application");
    routes.add(&about, get);
    let about = About::patch(ONE, "updateApplication", "Change an application");
    routes.add(
        &about.describe(
            "What is absent stays. A cap below the number of its endpoints takes none away.",
        ),
        update,
    );
    let about = About::delete(ONE, "deleteApplication", "Remove an application");
    routes.add(
        &about.describe("With its endpoints and portal sessions."),
        delete,
    );
    let about = About::get(
        "/applications/{applicationId}/endpoints",
        "listApplicationEndpoints",
        "List an application's endpoints",
    );
    routes.add(
        &about.describe("The oldest first, without their secrets."),
        list_endpoints,
    );
    let about = About::post(
        "/applications/{applicationId}/endpoints",
        "createApplicationEndpoint",
        "Make an endpoint of an application",
    );
    routes.add(&about.refuses(&[Problem::EndpointLimit]), create_endpoint);
}

/// A customer of the workspace, with endpoints of its own.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "app_acme",
    "externalId": "customer-17",
    "name": "Acme",
    "metadata": { "tier": "gold" },
    "maxEndpoints": 5,
    "showEventTypes": true,
    "createdAt": "2026-11-26T08:00:00.000Z",
    "updatedAt": "2026-11-26T08:00:00.000Z",
}))]
struct Application {
    /// Its id.
    id: String,
    /// The workspace's own name for it.
    #[schema(required)]
    external_id: Option<String>,
    /// For people.
    name: String,
    /// Labels.
    metadata: BTreeMap<String, String>,
    /// Upper bound on its endpoints, inactive ones counted; null is no limit.
    #[schema(required)]
    max_endpoints: Option<u32>,
    /// True if its portal shows the event types.
    show_event_types: bool,
    /// Instant at which it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// Instant of its last change.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<ApplicationRecord> for Application {
    fn from(row: ApplicationRecord) -> Self {
        Self {
            id: row.id.to_string(),
            external_id: row.external_id,
            name: row.name,
            metadata: row.metadata,
            max_endpoints: row.max_endpoints,
            show_event_types: row.show_event_types,
            created_at: show(row.created_at),
            updated_at: show(row.updated_at),
        }
    }
}

/// An application to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "name": "Acme", "externalId": "customer-17", "maxEndpoints": 5 }))]
struct NewApplication {
    /// For people.
    name: String,
    /// The workspace's own name for it; unique in the workspace.
    external_id: Option<String>,
    /// Labels.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Labels>,
    /// Upper bound on its endpoints, inactive ones counted; null is no limit.
    #[schema(value_type = Option<u32>)]
    max_endpoints: Option<Whole>,
    /// True if its portal shows the event types; true if absent.
    show_event_types: Option<bool>,
}

/// Changes to an application; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "maxEndpoints": null }))]
struct ApplicationUpdate {
    /// For people.
    name: Option<String>,
    /// Labels, all of them.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Labels>,
    /// Upper bound on its endpoints; null lifts the limit.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_endpoints: Option<Option<Whole>>,
    /// True if its portal shows the event types.
    show_event_types: Option<bool>,
}

/// Which page is asked for.
#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<u64>,
    offset: Option<u64>,
}

impl QueryArgs for Page {
    fn parameters() -> Vec<Value> {
        let limit = json!({
            "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT,
        });
        let offset = json!({
            "type": "integer", "minimum": 0, "maximum": i64::MAX, "default": 0,
        });
        vec![
            parameter("limit", "How many at most.", &limit, &json!(50)),
            parameter("offset", "How many to pass over.", &offset, &json!(0)),
        ]
    }
}

async fn list(call: Call<(), Page, NoBody>) -> Result<Listed<Application>, ApiError> {
    let limit = call.query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::validation(format!("limit is 1 to {LIMIT_MAX}")));
    }
    let offset = call.query.offset.unwrap_or(0);
    if i64::try_from(offset).is_err() {
        return Err(ApiError::validation(format!("offset is 0 to {}", i64::MAX)));
    }
    let management = &call.api.management;
    let rows = management
        .applications(&call.workspace, offset, limit)
        .await?;
    Ok(Listed(rows.into_iter().map(Application::from).collect()))
}

async fn create(call: Call<(), NoQuery, NewApplication>) -> Result<Made<Application>, ApiError> {
    let new = nahook_control::NewApplication {
        name: call.body.name,
        external_id: call.body.external_id,
        metadata: call.body.metadata.unwrap_or_default().0,
        max_endpoints: Whole::within(call.body.max_endpoints, MAX_ENDPOINTS)?,
        show_event_types: call.body.show_event_types.unwrap_or(true),
    };
    let management = &call.api.management;
    let row = management
        .create_application(&call.workspace, &call.actor, new)
        .await?;
    Ok(Made(row.into()))
}

async fn get(call: Call<ApplicationId, NoQuery, NoBody>) -> Result<Found<Application>, ApiError> {
    let management = &call.api.management;
    let row = management.application(&call.workspace, call.path).await?;
    Ok(Found(row.into()))
}

async fn update(
    call: Call<ApplicationId, NoQuery, ApplicationUpdate>,
) -> Result<Found<Application>, ApiError> {
    let patch = ApplicationPatch {
        name: call.body.name,
        metadata: call.body.metadata.map(|labels| labels.0),
        max_endpoints: match call.body.max_endpoints {
            Some(cap) => Some(Whole::within(cap, MAX_ENDPOINTS)?),
            None => None,
        },
        show_event_types: call.body.show_event_types,
    };
    let management = &call.api.management;
    let row = management
        .update_application(&call.workspace, &call.actor, call.path, patch)
        .await?;
    Ok(Found(row.into()))
}

async fn delete(call: Call<ApplicationId, NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let management = &call.api.management;
    management
        .delete_application(&call.workspace, &call.actor, call.path)
        .await?;
    Ok(Gone)
}

async fn list_endpoints(
    call: Call<ApplicationId, NoQuery, NoBody>,
) -> Result<Listed<EndpointView>, ApiError> {
    let management = &call.api.management;
    let rows = management.endpoints_of(&call.workspace, call.path).await?;
    let view = EndpointView::listed(call.sees_secrets());
    Ok(Listed(rows.into_iter().map(view).collect()))
}

async fn create_endpoint(
    call: Call<ApplicationId, NoQuery, EndpointCreation>,
) -> Result<Made<EndpointView>, ApiError> {
    let new = call.body.endpoint(Some(call.path))?;
    let management = &call.api.management;
    let row = management
        .create_endpoint(&call.workspace, &call.actor, new)
        .await?;
    Ok(Made(EndpointView::open(row)))
}
