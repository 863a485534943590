//! The OpenAPI document, put together from the routes themselves.

mod route;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use self::route::openapi_router;
use crate::management;
use crate::openapi::{Api, Components, Operation, ingestion};
use crate::problem::Problem;

/// The OpenAPI 3.1 document of both APIs.
pub fn openapi_document() -> Value {
    let mut operations = ingestion::operations();
    operations.extend(management::operations());
    let mut components = Components::default();
    components.put("Error", error_schema());
    for operation in &operations {
        components.extend(operation.components.clone());
    }
    management::refine(&mut components);
    let mut paths = BTreeMap::<String, Map<String, Value>>::new();
    for operation in operations {
        let (path, method) = (operation.path.clone(), operation.method.to_owned());
        paths
            .entry(path)
            .or_default()
            .insert(method, show(operation, &components));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "nahook",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Webhook fan-out: trigger an event, and every subscribed endpoint gets it.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": components.into_value(),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An ingestion key, `nhk_{region}_{64 hex}`.",
                },
                "managementToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A management token, `nhm_{64 hex}`.",
                },
            },
        },
    })
}

fn tags() -> Value {
    json!([
        { "name": "Ingestion", "description": "Taking events in." },
        { "name": "Management", "description": "What is in a workspace." },
        { "name": "Operations", "description": "What operators need beyond it; the published clients do not know it." },
    ])
}

fn show(operation: Operation, components: &Components) -> Value {
    let mut responses = BTreeMap::new();
    for (status, schema) in &operation.answers {
        let answer = success(*status, schema.as_ref());
        responses.insert(status.to_string(), limited(answer, operation.api));
    }
    let mut by_status = BTreeMap::<u16, Vec<Problem>>::new();
    let mut problems = operation.problems;
    problems.sort_unstable();
    problems.dedup();
    for problem in problems {
        by_status
            .entry(problem.status().as_u16())
            .or_default()
            .push(problem);
    }
    for (status, problems) in by_status {
        let answer = failure(&problems);
        // Nobody is known yet who is refused with these.
        let is_known = !matches!(status, 401 | 403);
        let answer = if is_known {
            limited(answer, operation.api)
        } else {
            answer
        };
        responses.insert(status.to_string(), answer);
    }
    let scheme = match operation.api {
        Api::Ingestion => "apiKey",
        Api::Management => "managementToken",
    };
    let mut shown = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{ scheme: [] }],
        "parameters": operation.parameters,
        "responses": responses,
    });
    if !operation.description.is_empty() {
        shown["description"] = operation.description.into();
    }
    if let Some(schema) = operation.body {
        let is_required = components.requires(&schema);
        let taken = if is_required {
            schema
        } else {
            or_empty(&schema)
        };
        shown["requestBody"] = json!({
            "required": is_required,
            "content": { "application/json": { "schema": taken } },
        });
    }
    shown
}

/// A body that may be an empty object may be absent, or the empty list that PHP makes of an empty map.
fn or_empty(schema: &Value) -> Value {
    json!({ "anyOf": [
        schema,
        { "type": "array", "maxItems": 0, "description": "Stands for an empty object: PHP writes it so." },
    ] })
}

fn success(status: u16, schema: Option<&Value>) -> Value {
    let description = match status {
        201 => "Made",
        202 => "Accepted",
        204 => "Done; there is no body",
        207 => "Some items failed",
        _ => "As asked",
    };
    let mut answer = json!({ "description": description, "headers": headers() });
    if let Some(schema) = schema {
        answer["content"] = json!({ "application/json": { "schema": schema } });
    }
    answer
}

fn failure(problems: &[Problem]) -> Value {
    let when: Vec<_> = problems.iter().map(|problem| problem.when()).collect();
    let examples: Map<_, _> = problems
        .iter()
        .map(|problem| {
            let example = json!({ "value": problem.example() });
            (problem.code().to_owned(), example)
        })
        .collect();
    let mut headers = headers();
    if problems
        .iter()
        .any(|problem| problem.retry_after().is_some())
    {
        headers["Retry-After"] = json!({
            "description": "Whole seconds to wait.",
            "schema": { "type": "integer", "minimum": 1 },
        });
    }
    json!({
        "description": format!("{}.", when.join("; or ")),
        "headers": headers,
        "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Error" },
            "examples": examples,
        } },
    })
}

/// Every answer of the Ingestion API to somebody who is known shows how they stand.
fn limited(mut answer: Value, api: Api) -> Value {
    if api == Api::Ingestion {
        for (name, description) in [
            (
                "X-RateLimit-Limit",
                "How many requests there may be at once.",
            ),
            ("X-RateLimit-Remaining", "How many there may be now."),
            (
                "X-RateLimit-Reset",
                "When there may be as many as the limit again, in seconds since 1970.",
            ),
        ] {
            answer["headers"][name] = json!({
                "description": description,
                "schema": { "type": "integer", "minimum": 0 },
            });
        }
    }
    answer
}

fn headers() -> Value {
    json!({ "X-Request-Id": {
        "description": "What the request is known by: the client's own, or drawn.",
        "schema": { "type": "string" },
    } })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "What every error looks like. Programs read the code, people the message.",
        "required": ["error"],
        "additionalProperties": false,
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "additionalProperties": false,
                "properties": {
                    "code": { "type": "string" },
                    "message": { "type": "string" },
                },
            },
            "deliveryIds": {
                "type": "array",
                "maxItems": 0,
                "description": "Of an event that is turned away because the machine is short of something: nothing was queued.",
                "items": { "type": "string" },
            },
        },
    })
}
