//! A delivery to one endpoint, so that operators see whether it arrives.

use std::sync::Arc;

use nahook_core::id::EndpointId;
use nahook_core::{FanOut, NewSend, Payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

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
    call.api.pressure.check()?;
    let given = call.body.payload.as_deref();
    let payload = given.map_or(SAMPLE, RawValue::get).to_owned();
    let payload =
        Payload::new(payload).map_err(|_| ApiError::validation("payload must be a JSON object"))?;
    let ports = &call.api.ports;
    let _under_way = call.begin_action().await?;
    // Not admitted as a call of a key: a test by hand does not spend the keys' tokens.
    let subscriptions = call.api.metered_subscriptions();
    let fan_out = FanOut::new(subscriptions, Arc::clone(&ports.publisher));
    let asked = NewSend {
        endpoint: call.path,
        payload,
        idempotency_key: None,
    };
    let fan_out = fan_out.with_clock(Arc::clone(&call.api.clock));
    let sent = fan_out.send(asked, call.workspace).await;
    let sent = sent.map_err(|error| refused(&error))?;
    Ok(Accepted(TestEventSent {
        delivery_id: sent.delivery.to_string(),
    }))
}
