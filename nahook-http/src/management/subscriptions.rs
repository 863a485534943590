//! `/endpoints/{endpointId}/subscriptions`.

use nahook_control::SubscriptionView;
use nahook_control::rules::{Given, subscription};
use nahook_core::id::{EndpointId, EventTypeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Gone, Listed, Made};
use super::body::NoBody;
use super::call::Call;
use super::instant::show;
use super::path::PathId as _;
use super::query::NoQuery;
use super::refusal::missing;
use super::routes::{About, Routes};
use crate::ApiError;

const PATH: &str = "/endpoints/{endpointId}/subscriptions";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(
        PATH,
        "listSubscriptions",
        "List an endpoint's subscriptions",
    );
    let about = about.describe(
        "By event type, the oldest first. What the endpoint is subscribed to by patterns alone is not among them.",
    );
    routes.add(&about, list);
    let about = About::post(
        PATH,
        "createSubscriptions",
        "Subscribe an endpoint to event types",
    );
    routes.add(
        &about.describe("To all of the list, or to none. Repeating it is harmless."),
        create,
    );
    let about = About::delete(
        "/endpoints/{endpointId}/subscriptions/{eventTypeId}",
        "deleteSubscription",
        "End an endpoint's subscription to an event type",
    );
    routes.add(
        &about.describe("A pattern that matches it goes on."),
        delete,
    );
}

/// An endpoint's subscription to an event type.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "sub_01kb0d9n8r7q6p5m4k3j2h1g0f",
    "endpointId": "ep_orders",
    "eventTypeId": "evt_order_paid",
    "eventTypeName": "order.paid",
    "createdAt": "2026-11-26T08:00:00.000Z",
}))]
struct Subscription {
    /// Its id.
    id: String,
    /// Id of the subscribed endpoint.
    endpoint_id: String,
    /// To what.
    event_type_id: String,
    /// Name of the event type.
    event_type_name: String,
    /// Instant of the subscription.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<SubscriptionView> for Subscription {
    fn from(view: SubscriptionView) -> Self {
        Self {
            id: view.subscription.id.to_string(),
            endpoint_id: view.subscription.endpoint.to_string(),
            event_type_id: view.subscription.event_type.to_string(),
            event_type_name: view.event_type_name.to_string(),
            created_at: show(view.subscription.created_at),
        }
    }
}

/// Event types to subscribe an endpoint to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "eventTypeIds": ["evt_order_paid"] }))]
struct NewSubscriptions {
    /// The ids of the event types.
    event_type_ids: Vec<String>,
}

/// Result of subscribing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "subscribed": 1 }))]
struct Subscribed {
    /// To how many event types of the list the endpoint is subscribed now.
    subscribed: usize,
}

async fn list(call: Call<EndpointId, NoQuery, NoBody>) -> Result<Listed<Subscription>, ApiError> {
    let management = &call.api.management;
    let views = management.subscriptions(&call.workspace, call.path).await?;
    Ok(Listed(views.into_iter().map(Subscription::from).collect()))
}

async fn create(
    call: Call<EndpointId, NoQuery, NewSubscriptions>,
) -> Result<Made<Subscribed>, ApiError> {
    subscription::EVENT_TYPE_IDS.check(Given::Items(call.body.event_type_ids.len()))?;
    let ids = call.body.event_type_ids.iter().map(|id| id.parse());
    let ids = ids.collect::<Result<Vec<EventTypeId>, _>>();
    let ids = ids.map_err(|_| missing(EventTypeId::OF))?;
    let management = &call.api.management;
    let subscribed = management
        .subscribe(&call.workspace, &call.actor, call.path, ids)
        .await?;
    Ok(Made(Subscribed { subscribed }))
}

async fn delete(call: Call<(EndpointId, EventTypeId), NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let (endpoint, event_type) = call.path;
    let management = &call.api.management;
    management
        .unsubscribe(&call.workspace, &call.actor, endpoint, event_type)
        .await?;
    Ok(Gone)
}
