//! `/endpoints`.

use nahook_core::id::EndpointId;

use super::answer::{Found, Gone, Listed, Made};
use super::body::NoBody;
use super::call::{Call, record_secret_read};
use super::endpoint_body::{EndpointChange, EndpointCreation, EndpointView};
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::problem::Problem;

const ONE: &str = "/endpoints/{endpointId}";

pub(super) fn add(routes: &mut Routes) {
    let about = About::get("/endpoints", "listEndpoints", "List endpoints");
    routes.add(
        &about.describe("The oldest first, without their secrets."),
        list,
    );
    let about = About::post("/endpoints", "createEndpoint", "Make an endpoint");
    routes.add(
        &about.describe("It is active and has a secret of its own. No host name is resolved."),
        create,
    );
    let about = About::get(ONE, "getEndpoint", "Get an endpoint");
    routes.add(
        &about.describe(
            "With its secret, which the audit log tells of, unless the token reads only.",
        ),
        get,
    );
    let about = About::patch(ONE, "updateEndpoint", "Change an endpoint");
    routes.add(
        &about
            .describe(
                "What is absent stays. One that is switched on again starts without failures.",
            )
            .refuses(&[Problem::Conflict]),
        update,
    );
    let about = About::delete(ONE, "deleteEndpoint", "Remove an endpoint");
    routes.add(
        &about.describe("What was queued for it ends as failed; its history stays readable."),
        delete,
    );
    let about = About::post(
        "/endpoints/{endpointId}/secret/rotate",
        "rotateEndpointSecret",
        "Give an endpoint a new secret",
    );
    let about = about.describe("The secret before it signs beside it for 24 hours.");
    routes.add(&about.for_operators(), rotate);
}

async fn list(call: Call<(), NoQuery, NoBody>) -> Result<Listed<EndpointView>, ApiError> {
    let rows = call.api.management.endpoints(&call.workspace).await?;
    let view = EndpointView::listed(call.sees_secrets());
    Ok(Listed(rows.into_iter().map(view).collect()))
}

async fn create(call: Call<(), NoQuery, EndpointCreation>) -> Result<Made<EndpointView>, ApiError> {
    let new = call.body.endpoint(None)?;
    let management = &call.api.management;
    let row = management
        .create_endpoint(&call.workspace, &call.actor, new)
        .await?;
    Ok(Made(EndpointView::open(row)))
}

async fn get(call: Call<EndpointId, NoQuery, NoBody>) -> Result<Found<EndpointView>, ApiError> {
    let management = &call.api.management;
    let row = management.endpoint(&call.workspace, call.path).await?;
    if !call.sees_secrets() {
        return Ok(Found(EndpointView::masked(row)));
    }
    record_secret_read(&call.api, &call.token, row.id).await?;
    Ok(Found(EndpointView::open(row)))
}

async fn update(
    call: Call<EndpointId, NoQuery, EndpointChange>,
) -> Result<Found<EndpointView>, ApiError> {
    let management = &call.api.management;
    let row = management
        .update_endpoint(&call.workspace, &call.actor, call.path, call.body.into())
        .await?;
    Ok(Found(EndpointView::hidden(row)))
}

async fn delete(call: Call<EndpointId, NoQuery, NoBody>) -> Result<Gone, ApiError> {
    let management = &call.api.management;
    management
        .delete_endpoint(&call.workspace, &call.actor, call.path)
        .await?;
    Ok(Gone)
}

async fn rotate(call: Call<EndpointId, NoQuery, NoBody>) -> Result<Found<EndpointView>, ApiError> {
    let management = &call.api.management;
    let row = management
        .rotate_secret(&call.workspace, &call.actor, call.path)
        .await?;
    Ok(Found(EndpointView::open(row)))
}
