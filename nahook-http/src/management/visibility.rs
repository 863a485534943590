//! `/environments/{environmentId}/event-types`: what each environment publishes.

use nahook_core::id::{EnvironmentId, EventTypeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Found, Listed};
use super::body::NoBody;
use super::call::Call;
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(
        "/environments/{environmentId}/event-types",
        "listVisibility",
        "List what an environment publishes",
    );
    routes.add(&about.describe("Every event type of the workspace."), list);
    let about = About::put(
        "/environments/{environmentId}/event-types/{eventTypeId}/visibility",
        "setVisibility",
        "Publish an event type in an environment, or no longer",
    );
    let about = about.describe("The default environment publishes everything, always.");
    routes.add(&about.refuses(&[Problem::Conflict]), set);
}

/// Visibility of an event type in an environment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "eventTypeId": "evt_order_paid",
    "eventTypeName": "order.paid",
    "published": true,
}))]
struct Visibility {
    /// The event type.
    event_type_id: String,
    /// Name of the event type.
    event_type_name: String,
    /// True if events of that type reach the environment's endpoints.
    published: bool,
}

impl From<nahook_control::Visibility> for Visibility {
    fn from(visibility: nahook_control::Visibility) -> Self {
        Self {
            event_type_id: visibility.event_type.to_string(),
            event_type_name: visibility.name.to_string(),
            published: visibility.published,
        }
    }
}

/// Change to the visibility of an event type in an environment.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "published": true }))]
struct VisibilityUpdate {
    /// True if events of that type are to reach the environment's endpoints.
    published: bool,
}

async fn list(call: Call<EnvironmentId, NoQuery, NoBody>) -> Result<Listed<Visibility>, ApiError> {
    let management = &call.api.management;
    let all = management.visibility(&call.workspace, call.path).await?;
    Ok(Listed(all.into_iter().map(Visibility::from).collect()))
}

async fn set(
    call: Call<(EnvironmentId, EventTypeId), NoQuery, VisibilityUpdate>,
) -> Result<Found<Visibility>, ApiError> {
    let (environment, event_type) = call.path;
    let (management, published) = (&call.api.management, call.body.published);
    let visibility = management
        .set_visibility(
            &call.workspace,
            &call.actor,
            environment,
            event_type,
            published,
        )
        .await?;
    Ok(Found(visibility.into()))
}
