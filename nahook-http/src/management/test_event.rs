//! A delivery to one endpoint, so that operators see whether it arrives.

use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{NewSend, Payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ManagementApi;
use super::answer::Accepted;
use super::call::Call;
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;
use crate::ingestion::refused;
use crate::problem::Problem;

/// Payload of a test event unless another is given.
const SAMPLE: &str = r#"{"type":"nahook.test","data":{"message":"A test event from nahook"}}"#;

pub(super) fn add(routes: &mut Routes) {
    let about = About::post(
        "/endpoints/{endpointId}/test",
        "sendTestEvent",
        "Send a test event to an endpoint",
    );
    let about = about
        .describe(
            "Queues one delivery to it alone, whatever it is subscribed to; the plan's rate of calls does not count it, its rate of deliveries does. `GET /deliveries/{deliveryId}` tells what became of it.",
        )
        .refuses(&[
            Problem::EndpointDisabled,
            Problem::Unconfirmed,
            Problem::Timeout,
        ]);
    routes.add(&about.for_operators(), send_test_event);
}

/// Payload to send.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "payload": { "orderId": "ord_1" } }))]
struct TestEvent {
    /// The payload, sent byte for byte; a small sample if there is none.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

/// A test event that is queued.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "deliveryId": "del_01kb0d9n8r7q6p5m4k3j2h1g0f" }))]
struct TestEventSent {
    /// The delivery.
    delivery_id: String,
}

async fn send_test_event(
    call: Call<EndpointId, NoQuery, TestEvent>,
) -> Result<Accepted<TestEventSent>, ApiError> {
    let given = call.body.payload.as_deref().map(RawValue::get);
    let sent = call
        .api
        .send_test_event(&call.workspace, call.path, given)
        .await?;
    Ok(Accepted(TestEventSent {
        delivery_id: sent.to_string(),
    }))
}

impl ManagementApi {
    /// Queues one delivery of the payload to the endpoint alone; of a small sample if there is none.
    ///
    /// # Errors
    /// Nothing was queued, unless the error says that this is not known.
    pub async fn send_test_event(
        &self,
        workspace: &WorkspaceId,
        endpoint: EndpointId,
        payload: Option<&str>,
    ) -> Result<DeliveryId, ApiError> {
        let payload = Payload::new(payload.unwrap_or(SAMPLE).to_owned())
            .map_err(|_| ApiError::validation("payload must be a JSON object"))?;
        let _under_way = self.begin_action(workspace).await?;
        let asked = NewSend {
            endpoint,
            payload,
            idempotency_key: None,
        };
        let sent = self.fan_out().send(asked, *workspace).await;
        sent.map(|sent| sent.delivery)
            .map_err(|error| refused(&error))
    }
}
