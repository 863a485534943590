//! Dry runs for operators: the endpoints that would get an event.

use nahook_control::WouldBe;
use nahook_core::id::{EndpointId, EventTypeId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::Found;
use super::body::NoBody;
use super::call::Call;
use super::keys::parsed;
use super::query::{QueryArgs, parameter};
use super::routes::{About, Routes};
use crate::ApiError;

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(
        "/event-types/{eventTypeId}/dry-run",
        "dryRun",
        "Tell who would get an event of that type, and who would not and why",
    );
    let about = about.describe("Nothing is queued.");
    routes.add(&about.for_operators(), dry_run);
}

/// Result of a trigger if it were made now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "eventTypeId": "evt_order_paid",
    "endpoints": [
        { "endpointId": "ep_orders", "wouldReceive": true, "reason": null },
        { "endpointId": "ep_archive", "wouldReceive": false, "reason": "not_subscribed" },
    ],
}))]
struct DryRun {
    /// The event type.
    event_type_id: String,
    /// Every endpoint of the workspace: the subscribed ones first.
    endpoints: Vec<Fate>,
}

/// Outcome that one endpoint would have.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Fate {
    /// The endpoint.
    endpoint_id: String,
    /// True if a delivery would be queued for it.
    would_receive: bool,
    /// Why not; of several reasons the first that holds.
    #[schema(required, value_type = Option<Reason>)]
    reason: Option<Reason>,
}

/// Why an endpoint would not get an event.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Reason {
    /// It is not subscribed to the event type.
    NotSubscribed,
    /// It belongs to another environment.
    OtherEnvironment,
    /// The event type is not published in its environment.
    Unpublished,
    /// It is switched off.
    Inactive,
}

impl Fate {
    fn of((endpoint, would_be): (EndpointId, WouldBe)) -> Self {
        let reason = match would_be {
            WouldBe::Inactive => Some(Reason::Inactive),
            WouldBe::NotSubscribed => Some(Reason::NotSubscribed),
            WouldBe::OtherEnvironment => Some(Reason::OtherEnvironment),
            WouldBe::Queued => None,
            WouldBe::Unpublished => Some(Reason::Unpublished),
        };
        Self {
            endpoint_id: endpoint.to_string(),
            would_receive: reason.is_none(),
            reason,
        }
    }
}

/// Scope of the trigger.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    environment_id: Option<String>,
}

impl QueryArgs for Trigger {
    fn parameters() -> Vec<Value> {
        let schema = json!({ "type": "string" });
        let example = json!("env_staging");
        let is = "The environment of the key that would be used; absent for a key of the whole workspace.";
        vec![parameter("environmentId", is, &schema, &example)]
    }
}

async fn dry_run(call: Call<EventTypeId, Trigger, NoBody>) -> Result<Found<DryRun>, ApiError> {
    let environment = parsed(call.query.environment_id)?;
    let management = &call.api.management;
    let run = management
        .dry_run(&call.workspace, call.path, environment)
        .await?;
    Ok(Found(DryRun {
        event_type_id: run.event_type.to_string(),
        endpoints: run.endpoints.into_iter().map(Fate::of).collect(),
    }))
}
