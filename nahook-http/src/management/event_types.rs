//! `/event-types`.
#![expect(
    clippy::option_option,
    reason = "a field may be absent, null or given, and each is something else"
)]

use nahook_control::EventTypeView;
use nahook_core::EventTypeName;
use nahook_core::id::EventTypeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Found, Gone, Listed, Made};
use super::body::{NoBody, given};
use super::call::Call;
use super::instant::show;
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

const ONE: &str = "/event-types/{eventTypeId}";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get("/event-types", "listEventTypes", "List event types");
    routes.add(&about.describe("The oldest first."), list);
    let about = About::post("/event-types", "createEventType", "Make an event type");
    let about = about.describe("In the default environment it is published from the start.");
    routes.add(&about.refuses(&[Problem::Conflict]), create);
    let about = About::get(ONE, "getEventType", "Get an event type");
    routes.add(&about, get);
    let about = About::patch(ONE, "updateEventType", "Change an event type");
    routes.add(&about, update);
    let about = About::delete(ONE, "deleteEventType", "Remove an event type");
    routes.add(
        &about.describe("With its subscriptions. What was queued of it is delivered all the same."),
        delete,
    );
}

/// A type of event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "evt_order_paid",
    "name": "order.paid",
    "description": "An order was paid",
    "subscriberCount": 2,
    "createdAt": "2026-11-26T08:00:00.000Z",
}))]
struct EventType {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// For people.
    #[schema(required)]
    description: Option<String>,
    /// Number of endpoints that are subscribed, inactive ones counted.
    subscriber_count: u64,
    /// Instant at which it was made.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<EventTypeView> for EventType {
    fn from(view: EventTypeView) -> Self {
        Self {
            id: view.event_type.id.to_string(),
            name: view.event_type.name.to_string(),
            description: view.event_type.description,
            subscriber_count: view.subscriber_count,
            created_at: show(view.event_type.created_at),
        }
    }
}

/// An event type to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "name": "order.paid", "description": "An order was paid" }))]
struct NewEventType {
    /// Its name; unique in the workspace.
    name: String,
    /// For people.
    description: Option<String>,
}

/// Changes to an event type; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "description": "An order was paid in full" }))]
struct EventTypeUpdate {
    /// For people; null removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
}

async fn list(call: Call<(), NoQuery, NoBody>) -> Result<Listed<EventType>, ApiError> {
    let views = call.api.management.event_types(&call.workspace).await?;
    Ok(Listed(views.into_iter().map(EventType::from).collect()))
}

async fn create(call: Call<(), NoQuery, NewEventType>) -> Result<Made<EventType>, ApiError> {
    let name = EventTypeName::new(&call.body.name);
    let name = name.map_err(|error| ApiError::validation(format!("name: {error}")))?;
    let management = &call.api.management;
    let view = management
        .create_event_type(&call.workspace, &call.actor, name, call.body.description)
        .await?;
    Ok(Made(view.into()))
}

async fn get(call: Call<EventTypeId, NoQuery, NoBody>) -> Result<Found<EventType>, ApiError> {
    let management = &call.api.management;
    let view = management.event_type(&call.workspace, call.path).await?;
    Ok(Found(view.into()))
}

async fn update(
    call: Call<EventTypeId, NoQuery, EventTypeUpdate>,
) -> Result<Found<EventType>, ApiError> {
    let description = call.body.description;
    let management = &call.api.management;
    let view = management
        .update_event_type(&call.workspace, &call.actor, call.path, description)
        .await?;
    Ok(Found(view.into()))
}

async fn delete(call: Call<EventTypeId, NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let management = &call.api.management;
    management
        .delete_event_type(&call.workspace, &call.actor, call.path)
        .await?;
    Ok(Gone)
}
