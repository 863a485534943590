//! The Ingestion API in the OpenAPI document.

use nahook_control::rules::event;
use serde_json::{Value, json};

use super::{Api, Components, Operation};
use crate::problem::Problem;

/// Errors that every ingestion operation may answer with.
const COMMON: [Problem; 8] = [
    Problem::Invalid,
    Problem::Unauthorized,
    Problem::Disabled,
    Problem::TooLarge,
    Problem::TooSlow,
    Problem::RateLimited,
    Problem::Unavailable,
    Problem::Timeout,
];

/// The operations, under both of their bases.
pub(crate) fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (base, alias) in [("/api/ingest", false), ("/ingest", true)] {
        operations.push(trigger(base, alias));
        operations.push(trigger_batch(base, alias));
        operations.push(send(base, alias));
        operations.push(send_batch(base, alias));
    }
    operations
}

fn trigger(base: &str, alias: bool) -> Operation {
    let mut components = Components::default();
    components.put("Trigger", trigger_body());
    components.put("Triggered", triggered());
    let mut problems = COMMON.to_vec();
    problems.extend([Problem::KeyScope, Problem::Missing]);
    Operation {
        api: Api::Ingestion,
        method: "post",
        path: format!("{base}/event/{{eventType}}"),
        id: if alias { "triggerAlias" } else { "trigger" },
        summary: "Trigger an event",
        description: "Every active endpoint that is subscribed to the event type gets it. An endpoint that it was not queued for is among the failures; its siblings stay queued.",
        tag: "Ingestion",
        parameters: vec![json!({
            "name": "eventType",
            "in": "path",
            "required": true,
            "description": "The event type's name.",
            "schema": event::TYPE.rule.schema(),
            "example": "order.paid",
        })],
        body: Some(reference("Trigger")),
        answers: vec![(202, Some(reference("Triggered")))],
        problems,
        components,
    }
}

fn trigger_batch(base: &str, alias: bool) -> Operation {
    let mut components = Components::default();
    components.put("TriggerBatch", batch_of(trigger_item()));
    components.put("TriggeredBatch", answers_of(&triggered()));
    let mut problems = COMMON.to_vec();
    problems.push(Problem::KeyScope);
    Operation {
        api: Api::Ingestion,
        method: "post",
        path: format!("{base}/event/batch"),
        id: if alias {
            "triggerBatchAlias"
        } else {
            "triggerBatch"
        },
        summary: "Trigger up to 20 events",
        description: "Each is triggered by itself: a bad one rejects no other, and each costs a token of the rate limit. Answers come in the order of the items.",
        tag: "Ingestion",
        parameters: Vec::new(),
        body: Some(reference("TriggerBatch")),
        answers: batch_answers("TriggeredBatch"),
        problems,
        components,
    }
}

fn send(base: &str, alias: bool) -> Operation {
    let mut components = Components::default();
    components.put("Send", send_body());
    components.put("Sent", sent());
    let mut problems = COMMON.to_vec();
    problems.extend([
        Problem::Missing,
        Problem::EndpointDisabled,
        Problem::Unconfirmed,
        Problem::UnconfirmedKey,
    ]);
    Operation {
        api: Api::Ingestion,
        method: "post",
        path: format!("{base}/{{endpointId}}"),
        id: if alias { "sendAlias" } else { "send" },
        summary: "Send to one endpoint",
        description: "For 24 hours the same idempotency key for the same endpoint is answered with the first delivery, whatever the payload.",
        tag: "Ingestion",
        parameters: vec![json!({
            "name": "endpointId",
            "in": "path",
            "required": true,
            "description": "The endpoint.",
            "schema": { "type": "string" },
            "example": "ep_01kb0d9n8r7q6p5m4k3j2h1g0f",
        })],
        body: Some(reference("Send")),
        answers: vec![(202, Some(reference("Sent")))],
        problems,
        components,
    }
}

fn send_batch(base: &str, alias: bool) -> Operation {
    let mut components = Components::default();
    components.put("SendBatch", batch_of(send_item()));
    components.put("SentBatch", answers_of(&sent()));
    Operation {
        api: Api::Ingestion,
        method: "post",
        path: format!("{base}/batch"),
        id: if alias { "sendBatchAlias" } else { "sendBatch" },
        summary: "Send up to 20 payloads",
        description: "Each is sent by itself: a bad one rejects no other, and each costs a token of the rate limit. Answers come in the order of the items.",
        tag: "Ingestion",
        parameters: Vec::new(),
        body: Some(reference("SendBatch")),
        answers: batch_answers("SentBatch"),
        problems: COMMON.to_vec(),
        components,
    }
}

/// 202 if all went well, 207 if any did not.
fn batch_answers(name: &str) -> Vec<(u16, Option<Value>)> {
    vec![(202, Some(reference(name))), (207, Some(reference(name)))]
}

/// Describes a batch without its items: an error of an item concerns that item alone.
fn batch_of((item, example): (Value, Value)) -> Value {
    json!({
        "type": "object",
        "description": "Up to 20 items.",
        "required": ["items"],
        "properties": { "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 20,
            "items": item,
        } },
        "example": { "items": [example] },
    })
}

fn trigger_item() -> (Value, Value) {
    let item = json!({
        "type": "object",
        "required": ["eventType", "payload"],
        "properties": { "eventType": event::TYPE.rule.schema(), "payload": payload(), "metadata": metadata() },
    });
    (
        item,
        json!({ "eventType": "order.paid", "payload": { "orderId": "ord_123" } }),
    )
}

fn send_item() -> (Value, Value) {
    let item = json!({
        "type": "object",
        "required": ["endpointId", "payload"],
        "properties": {
            "endpointId": { "type": "string" },
            "payload": payload(),
            "idempotencyKey": idempotency_key(),
        },
    });
    let endpoint = "ep_01kb0d9n8r7q6p5m4k3j2h1g0f";
    (
        item,
        json!({ "endpointId": endpoint, "payload": { "orderId": "ord_123" } }),
    )
}

fn send_body() -> Value {
    json!({
        "type": "object",
        "description": "What one endpoint is to receive.",
        "required": ["payload"],
        "properties": { "payload": payload(), "idempotencyKey": idempotency_key() },
        "example": { "payload": { "orderId": "ord_123" }, "idempotencyKey": "ord_123-paid" },
    })
}

fn idempotency_key() -> Value {
    json!({
        "description": "What the caller knows it by: 1 to 256 bytes.",
        "anyOf": [{ "type": "string", "minLength": 1, "maxLength": 256 }, { "type": "null" }],
    })
}

fn sent() -> Value {
    json!({
        "type": "object",
        "description": "What was sent, now or before.",
        "required": ["deliveryId", "idempotencyKey", "status"],
        "properties": {
            "deliveryId": { "type": "string", "description": "The delivery that the key stands for." },
            "idempotencyKey": { "type": "string", "description": "The caller's key, or one that was made." },
            "status": { "const": "accepted" },
        },
        "example": {
            "deliveryId": "del_01kb0d9n8r7q6p5m4k3j2h1g0f",
            "idempotencyKey": "ord_123-paid",
            "status": "accepted",
        },
    })
}

/// The answers to a batch: each what the single call would say, or its error.
fn answers_of(one: &Value) -> Value {
    let index = json!({ "type": "integer", "minimum": 0, "maximum": 19 });
    let mut accepted = one.clone();
    accepted["properties"]["index"] = index.clone();
    let mut required = vec![json!("index")];
    required.extend(one["required"].as_array().into_iter().flatten().cloned());
    accepted["required"] = required.into();
    if let Some(accepted) = accepted.as_object_mut() {
        accepted.remove("example");
    }
    json!({
        "type": "object",
        "description": "What became of each item, in their order.",
        "required": ["items"],
        "properties": { "items": { "type": "array", "items": { "anyOf": [
            accepted,
            {
                "type": "object",
                "required": ["index", "error"],
                "properties": {
                    "index": index,
                    "error": {
                        "type": "object",
                        "required": ["code", "message"],
                        "properties": {
                            "code": { "type": "string" },
                            "message": { "type": "string" },
                        },
                    },
                },
            },
        ] } } },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// An object; an empty list stands for an empty one, since PHP writes it so.
fn payload() -> Value {
    json!({
        "description": "Any JSON object. It arrives byte for byte as it was sent.",
        "anyOf": [{ "type": "object" }, { "type": "array", "maxItems": 0 }],
    })
}

fn metadata() -> Value {
    json!({
        "description": "Labels, at most five, attached to every delivery.",
        "anyOf": [
            event::METADATA.rule.schema(),
            { "type": "array", "maxItems": 0 },
            { "type": "null" },
        ],
    })
}

fn trigger_body() -> Value {
    json!({
        "type": "object",
        "description": "An event.",
        "required": ["payload"],
        "properties": { "payload": payload(), "metadata": metadata() },
        "example": { "payload": { "orderId": "ord_123" }, "metadata": { "source": "checkout" } },
    })
}

fn triggered() -> Value {
    json!({
        "type": "object",
        "description": "What became of an event.",
        "required": ["eventTypeId", "deliveryIds", "status", "failures"],
        "properties": {
            "eventTypeId": { "type": "string", "description": "The event type." },
            "deliveryIds": {
                "type": "array",
                "description": "A delivery for each endpoint that it was queued for.",
                "items": { "type": "string" },
            },
            "status": { "const": "accepted" },
            "failures": {
                "type": "array",
                "description": "The endpoints that it was not queued for, or not known to be.",
                "items": failure(),
            },
        },
        "example": {
            "eventTypeId": "evt_order_paid",
            "deliveryIds": ["del_01kb0d9n8r7q6p5m4k3j2h1g0f"],
            "status": "accepted",
            "failures": [],
        },
    })
}

fn failure() -> Value {
    let codes = nahook_core::FailureKind::ALL.map(nahook_core::FailureKind::code);
    json!({
        "type": "object",
        "required": ["endpointId", "code", "message"],
        "properties": {
            "endpointId": { "type": "string" },
            "code": { "enum": codes },
            "message": { "type": "string" },
        },
    })
}
