//! Queueing again what was given up, for operators.

use std::time::Duration;

use nahook_control::Actor;
use nahook_core::id::{DeliveryId, EndpointId, MessageId, WorkspaceId};
use nahook_core::{
    Delivery, DeliveryPublisher as _, Event, IdSource as _, NewEvent, Outcome, RandomIds, Timestamp,
};
use nahook_queue::{DeliveryLog as _, Redelivered, Redelivery as _, RedeliveryRequest};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::ManagementApi;
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
    let (workspace, actor) = (&call.workspace, &call.actor);
    call.api.retry_delivery(workspace, actor, call.path).await?;
    Ok(Found(Retried {
        delivery_id: call.path.to_string(),
        status: "queued",
    }))
}

async fn retry_since(
    call: Call<EndpointId, NoQuery, RetrySince>,
) -> Result<Found<RetriedSince>, ApiError> {
    let rule = "since must be an instant or a day in ISO 8601";
    let since = read(&call.body.since).ok_or_else(|| ApiError::validation(rule))?;
    let (workspace, actor) = (&call.workspace, &call.actor);
    let (retried, complete) = call
        .api
        .retry_since(workspace, actor, call.path, since)
        .await?;
    Ok(Found(RetriedSince { retried, complete }))
}

impl ManagementApi {
    /// Queues a delivery that was given up again, and says so in the audit log.
    pub async fn retry_delivery(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: DeliveryId,
    ) -> Result<(), ApiError> {
        let _under_way = self.begin_action(workspace).await?;
        self.budgets.spend(*workspace, BudgetKind::Deliveries, 1)?;
        match self.ports.redelivery.redeliver(id, workspace).await? {
            Redelivered::NotFound => Err(missing(DeliveryId::OF)),
            Redelivered::NotGivenUp(status) if status.is_given_up() => Err(ApiError::conflict(
                "The delivery's payload is not kept any more",
            )),
            Redelivered::NotGivenUp(status) => Err(ApiError::conflict(format!(
                "The delivery is {}: only one that is failed or dead_letter can be attempted again",
                status.as_str()
            ))),
            Redelivered::Queued => {
                let resource = ("delivery", id.to_string());
                self.management
                    .record(workspace, actor, resource, "retried", Vec::new())
                    .await?;
                Ok(())
            }
        }
    }

    /// Queues a new delivery of the delivery's event for the same endpoint, whatever became of the first, and says so in the audit
    /// log. The receiver sees it as another event with the same type and payload.
    ///
    /// # Errors
    /// Nothing was queued, unless the error says that this is not known.
    pub async fn resend_delivery(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: DeliveryId,
    ) -> Result<DeliveryId, ApiError> {
        let log = &self.ports.log;
        let found = log.delivery(id, workspace).await?;
        let found = found.ok_or_else(|| missing(DeliveryId::OF))?;
        let payload = log.payload(id, workspace).await?;
        let payload = payload
            .ok_or_else(|| ApiError::conflict("The delivery's payload is not kept any more"))?;
        let endpoint = self.management.endpoint(workspace, found.endpoint).await?;
        if !endpoint.is_active {
            return Err(ApiError::endpoint_disabled());
        }
        let _under_way = self.begin_action(workspace).await?;
        self.budgets.spend(*workspace, BudgetKind::Deliveries, 1)?;
        let message = MessageId::from_parts(self.now(), RandomIds.random());
        let event_type = match found.event_type {
            Some(id) => self.management.event_type(workspace, id).await.ok(),
            None => None,
        };
        let now = self.now();
        let event = match event_type {
            Some(view) => {
                let mut new = NewEvent::new(view.event_type.name, payload);
                new.metadata = found.metadata;
                Event::new(new, message, view.event_type.id, *workspace, now)
            }
            // The type was deleted meanwhile, or there was none.
            None => Event::direct(payload, message, *workspace, None, now),
        };
        let mut slots = [Delivery::new(message, 0, endpoint.id)];
        // The slot says what became of it, also when time is up.
        let _ = timeout(BUDGET, self.ports.publisher.publish(&event, &mut slots)).await;
        let [slot] = slots;
        match slot.outcome() {
            Outcome::Published | Outcome::Replayed(_) => {}
            Outcome::Failed(kind) if kind.may_be_queued() => {
                return Err(ApiError::unconfirmed(slot.id(), false));
            }
            Outcome::Failed(kind) => return Err(ApiError::unavailable(kind.message())),
        }
        let details = vec![("newDeliveryId", slot.id().to_string())];
        let resource = ("delivery", id.to_string());
        self.management
            .record(workspace, actor, resource, "resent", details)
            .await?;
        Ok(slot.id())
    }

    /// Queues the endpoint's deliveries again that were given up and accepted since then, for some seconds at most, and says so in
    /// the audit log. Returns how many, and true if these were all.
    pub async fn retry_since(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        endpoint: EndpointId,
        since: Timestamp,
    ) -> Result<(usize, bool), ApiError> {
        self.management.endpoint(workspace, endpoint).await?;
        let _under_way = self.begin_action(workspace).await?;
        let (budgets, kind) = (&self.budgets, BudgetKind::Deliveries);
        budgets.spend(*workspace, kind, 0)?;
        let request = RedeliveryRequest {
            workspace: *workspace,
            endpoint,
            since,
            limit: STEP,
        };
        let give_up = Instant::now() + BUDGET;
        let (mut retried, mut complete) = (0, Ok(false));
        // A step costs what it queues. The rest is asked for again, once that is paid off.
        while matches!(complete, Ok(false))
            && Instant::now() < give_up
            && (retried == 0 || budgets.spend(*workspace, kind, 0).is_ok())
        {
            let queued = self.ports.redelivery.redeliver_since(&request).await;
            complete = queued.map(|queued| {
                retried += queued;
                budgets.charge(*workspace, kind, queued as u64);
                queued < STEP
            });
        }
        // Also if a later step failed: these are queued.
        if retried > 0 {
            let details = vec![("count", retried.to_string())];
            let resource = ("endpoint", endpoint.to_string());
            self.management
                .record(workspace, actor, resource, "deliveries_retried", details)
                .await?;
        }
        Ok((retried, complete?))
    }
}
