//! Queueing again what was given up, for operators.

use std::time::Duration;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_queue::{Redelivered, Redelivery as _, RedeliveryRequest};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::answer::Found;
use super::body::NoBody;
use super::call::Call;
use super::instant::read;
use super::path::PathId as _;
use super::query::NoQuery;
use super::refusal::missing;
use super::routes::{About, Routes};
use crate::problem::Problem;
use crate::{ApiError, BudgetKind};

/// Deliveries that are queued again in one step.
const STEP: usize = 500;
/// Upper bound on the duration of one call.
const BUDGET: Duration = Duration::from_secs(5);

pub(super) fn add(routes: &mut Routes) {
    let about = About::post(
        "/deliveries/{deliveryId}/retry",
        "retryDelivery",
        "Attempt a delivery again",
    );
    let about = about.describe(
        "Only one that is `failed` or `dead_letter` and whose payload is kept. It is due at once and keeps its id, so that its receiver can drop repeats.",
    );
    routes.add(&about.refuses(&[Problem::Conflict]).for_operators(), retry);
    let about = About::post(
        "/endpoints/{endpointId}/deliveries/retry",
        "retryDeliveries",
        "Attempt an endpoint's failed deliveries again",
    );
    let about = about.describe(
        "Those that are `failed` or `dead_letter` and were accepted since then, the oldest first. If it is not complete, ask again.",
    );
    routes.add(&about.for_operators(), retry_since);
}

/// A delivery that is due again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "deliveryId": "del_01kb0d9n8r7q6p5m4k3j2h1g0f", "status": "queued" }))]
struct Retried {
    /// The delivery.
    delivery_id: String,
    /// Its state: always `queued`.
    status: &'static str,
}

/// Since when deliveries are to be attempted again.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "since": "2026-11-26T00:00:00Z" }))]
struct RetrySince {
    /// Only those accepted then or later.
    #[schema(format = DateTime)]
    since: String,
}

/// Deliveries that are due again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "retried": 17, "complete": true }))]
struct RetriedSince {
    /// Number of deliveries that were queued again.
    retried: usize,
    /// True if these were all.
    complete: bool,
}

async fn retry(call: Call<DeliveryId, NoQuery, NoBody>) -> Result<Found<Retried>, ApiError> {
    call.api.pressure.check()?;
    let _under_way = call.begin_action().await?;
    let budgets = &call.api.budgets;
    budgets.spend(call.workspace, BudgetKind::Deliveries, 1)?;
    let redelivery = &call.api.ports.redelivery;
    match redelivery.redeliver(call.path, &call.workspace).await? {
        Redelivered::NotFound => Err(missing(DeliveryId::OF)),
        Redelivered::NotGivenUp(status) if status.is_given_up() => Err(ApiError::conflict(
            "The delivery's payload is not kept any more",
        )),
        Redelivered::NotGivenUp(status) => Err(ApiError::conflict(format!(
            "The delivery is {}: only one that is failed or dead_letter can be attempted again",
            status.as_str()
        ))),
        Redelivered::Queued => {
            let id = call.path.to_string();
            note(&call, ("delivery", id.clone()), Vec::new()).await?;
            Ok(Found(Retried {
                delivery_id: id,
                status: "queued",
            }))
        }
    }
}

async fn retry_since(
    call: Call<EndpointId, NoQuery, RetrySince>,
) -> Result<Found<RetriedSince>, ApiError> {
    call.api.pressure.check()?;
    let rule = "since must be an instant or a day in ISO 8601";
    let since = read(&call.body.since).ok_or_else(|| ApiError::validation(rule))?;
    let management = &call.api.management;
    management.endpoint(&call.workspace, call.path).await?;
    let _under_way = call.begin_action().await?;
    let (budgets, kind) = (&call.api.budgets, BudgetKind::Deliveries);
    budgets.spend(call.workspace, kind, 0)?;
    let request = RedeliveryRequest {
        workspace: call.workspace,
        endpoint: call.path,
        since,
        limit: STEP,
    };
    let give_up = Instant::now() + BUDGET;
    let (mut retried, mut complete) = (0, Ok(false));
    // A step costs what it queues. The rest is asked for again, once that is paid off.
    while matches!(complete, Ok(false))
        && Instant::now() < give_up
        && (retried == 0 || budgets.spend(call.workspace, kind, 0).is_ok())
    {
        let queued = call.api.ports.redelivery.redeliver_since(&request).await;
        complete = queued.map(|queued| {
            retried += queued;
            budgets.charge(call.workspace, kind, queued as u64);
            queued < STEP
        });
    }
    // Also if a later step failed: these are queued.
    if retried > 0 {
        let details = vec![("count", retried.to_string())];
        note(&call, ("endpoint", call.path.to_string()), details).await?;
    }
    let complete = complete?;
    Ok(Found(RetriedSince { retried, complete }))
}

/// Says so in the audit log.
async fn note<P: Sync, Q: Sync, B: Sync>(
    call: &Call<P, Q, B>,
    resource: (&'static str, String),
    details: Vec<(&'static str, String)>,
) -> Result<(), ApiError> {
    let done = if resource.0 == "delivery" {
        "retried"
    } else {
        "deliveries_retried"
    };
    let management = &call.api.management;
    management
        .record(&call.workspace, &call.actor, resource, done, details)
        .await?;
    Ok(())
}
