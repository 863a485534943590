//! A delivery to one endpoint, so that operators see whether it arrives.

use std::sync::Arc;

use nahook_core::{
    Allowance, ApiKeyId, Caller, Clock, DirectSend, EndpointId, Grant, NewSend, Payload, Plan,
    RateLimiter, StoreError, Verdict,
};
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
            "Queues one delivery to it alone, whatever it is subscribed to; the plan's rates do not count it. `GET /deliveries/{deliveryId}` tells what became of it.",
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
    let given = call.body.payload.as_deref();
    let payload = given.map_or(SAMPLE, RawValue::get).to_owned();
    let payload =
        Payload::new(payload).map_err(|_| ApiError::validation("payload must be a JSON object"))?;
    let caller = Caller {
        // No key sends it. What tells keys apart is their rate, and here is none.
        key: ApiKeyId::from_bits(0),
        workspace: call.workspace,
        environment: None,
        endpoint: None,
        plan: Plan::default(),
    };
    let ports = &call.api.ports;
    let (endpoints, direct) = (Arc::clone(&ports.endpoints), Arc::clone(&ports.direct));
    let clock = Arc::clone(&call.api.clock);
    let engine = DirectSend::new(endpoints, direct, Unlimited(Arc::clone(&clock)));
    let asked = NewSend {
        endpoint: call.path,
        payload,
        idempotency_key: None,
    };
    let sent = engine.with_clock(clock).send(asked, &caller).await;
    let sent = sent.map_err(|error| refused(&error))?;
    Ok(Accepted(TestEventSent {
        delivery_id: sent.delivery.to_string(),
    }))
}

/// Lets everybody in: a test by hand does not spend what the workspace's events need.
struct Unlimited(Arc<dyn Clock>);

impl RateLimiter for Unlimited {
    async fn check(&self, _: &Caller) -> Result<Verdict, StoreError> {
        Ok(Verdict::Admit)
    }

    async fn check_many(&self, _: &Caller, wanted: u32) -> Result<Grant, StoreError> {
        Ok(Grant {
            admitted: wanted,
            refused: None,
        })
    }

    async fn peek(&self, _: &Caller) -> Result<Allowance, StoreError> {
        Ok(Allowance::unlimited(self.0.now()))
    }
}
