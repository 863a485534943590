//! What the document says of the Ingestion API.

use serde_json::{Value, json};

use super::{Api, Components, Operation, Problem};

/// What every ingestion operation may refuse.
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
pub(super) fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (base, alias) in [("/api/ingest", false), ("/ingest", true)] {
        operations.push(trigger(base, alias));
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
            "schema": event_type(),
            "example": "order.paid",
        })],
        body: Some(reference("Trigger")),
        answers: vec![(202, Some(reference("Triggered")))],
        problems,
        components,
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The grammar of an event type's name.
fn event_type() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
    })
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
            { "type": "object", "maxProperties": 5, "additionalProperties": { "type": "string" } },
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
