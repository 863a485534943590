//! Schemas that are more exact than a derive can be: the rules for the fields of bodies, and which go together.

use nahook_control::rules::{self, ROWS, Row};
use serde_json::{Value, json};

use crate::openapi::Components;

/// Puts the rules into the schemas of the bodies.
pub(crate) fn refine(components: &mut Components) {
    for row in ROWS {
        for body in row.bodies {
            components.refine(body, |schema| state(schema, row));
        }
    }
    components.refine("NewEndpoint", |schema| {
        // Both or neither, and where the URL is depends on the kind.
        schema["allOf"] = json!([
            { "anyOf": [
                { "required": ["authUsername", "authPassword"], "properties": { "authUsername": { "type": "string" }, "authPassword": { "type": "string" } } },
                { "properties": { "authUsername": { "type": "null" }, "authPassword": { "type": "null" } } },
            ] },
            { "anyOf": [
                { "required": ["url"], "properties": { "type": { "enum": ["webhook", null] }, "url": { "type": "string" } } },
                { "required": ["type", "config"], "properties": {
                    "type": { "const": "slack" },
                    "config": { "type": "object", "required": ["webhookUrl"], "properties": {
                        "webhookUrl": rules::endpoint::WEBHOOK_URL.rule.schema(),
                    } },
                } },
            ] },
        ]);
    });
    components.refine("EndpointUpdate", |schema| {
        // One that is removed takes the other with it.
        schema["anyOf"] = json!([
            { "properties": { "authUsername": { "type": "string" }, "authPassword": { "type": "string" } } },
            { "properties": { "authUsername": { "type": "null" }, "authPassword": { "type": "null" } } },
        ]);
    });
}

/// Puts the rules for the fields of a row into the schema of a body.
fn state(schema: &mut Value, row: &Row) {
    let required = schema["required"].clone();
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|it| it.contains(&name.into()))
    };
    let Some(fields) = schema["properties"].as_object_mut() else {
        return;
    };
    for (name, field) in fields {
        let rule = row.api_field(name).and_then(|field| field.rule.schema());
        let Some(rule) = rule else { continue };
        let description = field["description"].take();
        let is_object = rule["type"] == "object";
        let mut forms = vec![rule];
        if is_object {
            // PHP writes an empty object so.
            forms.push(json!({ "type": "array", "maxItems": 0 }));
        }
        if !is_required(name) {
            // It is as good as absent, or means to remove.
            forms.push(json!({ "type": "null" }));
        }
        *field = match &mut forms[..] {
            [only] => only.take(),
            _ => json!({ "anyOf": forms }),
        };
        field["description"] = description;
    }
}
