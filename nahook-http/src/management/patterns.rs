//! `/endpoints/{endpointId}/patterns`.

use nahook_control::PatternRecord;
use nahook_core::EventTypePattern;
use nahook_core::id::{EndpointId, PatternId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Gone, Listed, Made};
use super::body::NoBody;
use super::call::Call;
use super::instant::show;
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;

const PATH: &str = "/endpoints/{endpointId}/patterns";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get(PATH, "listPatterns", "List an endpoint's patterns");
    let about = about.describe("The oldest first.");
    routes.add(&about.for_operators(), list);
    let about = About::post(
        PATH,
        "createPattern",
        "Subscribe an endpoint to every event type that a pattern matches",
    );
    let about = about.describe(
        "`order.*` matches exactly one more segment, `order.**` one or more, and `*` every event type. Event types that are made \
         later count from the moment they exist. Repeating it answers the same pattern. What patterns give is not among the \
         endpoint's subscriptions, and is counted as a subscriber of the event type.",
    );
    routes.add(&about.for_operators(), create);
    let about = About::delete(
        "/endpoints/{endpointId}/patterns/{patternId}",
        "deletePattern",
        "End an endpoint's subscription to a pattern",
    );
    let about = about.describe(
        "Event types that the endpoint is subscribed to by themselves, or that another of its patterns matches, go on.",
    );
    routes.add(&about.for_operators(), delete);
}

/// An endpoint's subscription to every event type that a pattern matches.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "pat_01kb0d9n8r7q6p5m4k3j2h1g0f",
    "endpointId": "ep_orders",
    "pattern": "order.*",
    "createdAt": "2026-11-26T08:00:00.000Z",
}))]
#[expect(clippy::struct_field_names, reason = "the name on the wire")]
struct Pattern {
    /// Its id.
    id: String,
    /// Id of the subscribed endpoint.
    endpoint_id: String,
    /// The pattern.
    pattern: String,
    /// Instant of the subscription.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<PatternRecord> for Pattern {
    fn from(row: PatternRecord) -> Self {
        Self {
            id: row.id.to_string(),
            endpoint_id: row.endpoint.to_string(),
            pattern: row.pattern.to_string(),
            created_at: show(row.created_at),
        }
    }
}

/// A pattern to subscribe an endpoint to.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "pattern": "order.*" }))]
struct NewPattern {
    /// The pattern.
    pattern: String,
}

async fn list(call: Call<EndpointId, NoQuery, NoBody>) -> Result<Listed<Pattern>, ApiError> {
    let management = &call.api.management;
    let rows = management.patterns(&call.workspace, call.path).await?;
    Ok(Listed(rows.into_iter().map(Pattern::from).collect()))
}

async fn create(call: Call<EndpointId, NoQuery, NewPattern>) -> Result<Made<Pattern>, ApiError> {
    let pattern = EventTypePattern::new(&call.body.pattern);
    let pattern = pattern.map_err(|error| ApiError::validation(format!("pattern: {error}")))?;
    let management = &call.api.management;
    let row = management
        .subscribe_to_pattern(&call.workspace, &call.actor, call.path, pattern)
        .await?;
    Ok(Made(row.into()))
}

async fn delete(call: Call<(EndpointId, PatternId), NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let (endpoint, pattern) = call.path;
    let management = &call.api.management;
    management
        .unsubscribe_from_pattern(&call.workspace, &call.actor, endpoint, pattern)
        .await?;
    Ok(Gone)
}
