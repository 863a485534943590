//! Rules of the core that the document states more exactly than a derive can.

use nahook_control::limits;
use nahook_core::Metadata;
use serde_json::{Value, json};

use crate::openapi::{self, Components};

/// Any text but NUL, which not every store can keep.
const TEXT: &str = r"^[^\x00]*$";
/// No control characters, and not only blanks.
const NAME: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
const USER_NAME: &str = r"^[^:\x00-\x1f\x7f-\x9f]+$";
const PASSWORD: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// A name that DNS can have, or an address; a port from 1 to 65535; visible ASCII but the backslash. Names in Unicode are accepted,
/// too.
const URL: &str = concat!(
    r"^[Hh][Tt][Tt][Pp][Ss]?://",
    r"(([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9_])?",
    r"|((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    r"|\[(([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}",
    r"|([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4}){0,2})?::([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4}){0,2})?)\])",
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
    r"([/?#][!-\[\]-~]*)?$",
);

/// Puts the rules into the schemas of the bodies.
pub(crate) fn refine(components: &mut Components) {
    for name in ["NewEndpoint", "EndpointUpdate"] {
        components.refine(name, |schema| {
            let fields = &mut schema["properties"];
            fields["url"] = described(
                &fields["url"],
                optional(&json!({ "type": "string", "pattern": URL, "maxLength": 2048 })),
            );
            fields["description"] = described(
                &fields["description"],
                optional(&json!({ "type": "string", "pattern": TEXT, "maxLength": limits::DESCRIPTION_LEN_MAX })),
            );
            fields["metadata"] = described(&fields["metadata"], labels(Metadata::KEYS_MAX));
            fields["authUsername"] = described(
                &fields["authUsername"],
                optional(&json!({ "type": "string", "pattern": USER_NAME, "maxLength": limits::USERNAME_LEN_MAX })),
            );
            fields["authPassword"] = described(
                &fields["authPassword"],
                optional(&json!({ "type": "string", "pattern": PASSWORD, "maxLength": limits::PASSWORD_LEN_MAX })),
            );
            fields["config"] = described(
                &fields["config"],
                object(&json!({ "type": "object", "maxProperties": limits::CONFIG_KEYS_MAX })),
            );
        });
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
                        "webhookUrl": { "type": "string", "pattern": URL, "maxLength": 2048 },
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
    components.refine("NewEventType", |schema| {
        let fields = &mut schema["properties"];
        fields["name"] = described(&fields["name"], json!({ "type": "string", "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", "minLength": 1, "maxLength": 128 }));
    });
    for name in ["NewEventType", "EventTypeUpdate"] {
        components.refine(name, |schema| {
            let fields = &mut schema["properties"];
            fields["description"] = described(
                &fields["description"],
                optional(&json!({ "type": "string", "pattern": TEXT, "maxLength": limits::DESCRIPTION_LEN_MAX })),
            );
        });
    }
    let environment_name =
        json!({ "type": "string", "pattern": PASSWORD, "minLength": 1, "maxLength": 50 });
    components.refine("NewEnvironment", |schema| {
        let fields = &mut schema["properties"];
        fields["name"] = described(&fields["name"], environment_name.clone());
        fields["slug"] = described(
            &fields["slug"],
            json!({ "type": "string", "pattern": "^[a-z0-9-]{2,50}$" }),
        );
    });
    components.refine("EnvironmentUpdate", |schema| {
        let fields = &mut schema["properties"];
        fields["name"] = described(&fields["name"], optional(&environment_name));
    });
    let name = json!({ "type": "string", "pattern": NAME, "minLength": 1, "maxLength": limits::NAME_LEN_MAX });
    let cap = json!({ "type": "integer", "minimum": 0, "maximum": i32::MAX });
    components.refine("NewApplication", |schema| {
        let fields = &mut schema["properties"];
        fields["name"] = described(&fields["name"], name.clone());
        fields["externalId"] = described(&fields["externalId"], optional(&name));
        fields["metadata"] = described(&fields["metadata"], labels(Metadata::KEYS_MAX));
        fields["maxEndpoints"] = described(&fields["maxEndpoints"], optional(&cap));
    });
    components.refine("ApplicationUpdate", |schema| {
        let fields = &mut schema["properties"];
        fields["name"] = described(&fields["name"], optional(&name));
        fields["metadata"] = described(&fields["metadata"], labels(Metadata::KEYS_MAX));
        fields["maxEndpoints"] = described(&fields["maxEndpoints"], optional(&cap));
    });
    components.refine("PortalSessionRequest", |schema| {
        let fields = &mut schema["properties"];
        fields["metadata"] = described(
            &fields["metadata"],
            labels(limits::PORTAL_METADATA_KEYS_MAX),
        );
    });
    refine_operators(components, &name);
}

/// The bodies that operators alone send.
fn refine_operators(components: &mut Components, name: &Value) {
    components.refine("TestEvent", |schema| {
        let fields = &mut schema["properties"];
        fields["payload"] = described(&fields["payload"], object(&json!({ "type": "object" })));
    });
    for body in ["ApiKeyCreation", "ManagementTokenCreation"] {
        components.refine(body, |schema| {
            let fields = &mut schema["properties"];
            fields["name"] = described(&fields["name"], name.clone());
        });
    }
}

/// The schema with the description that was there.
fn described(before: &Value, mut schema: Value) -> Value {
    if let Some(description) = before.get("description") {
        schema["description"] = description.clone();
    }
    schema
}

/// Null is as good as absent, or means to remove.
fn optional(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// An empty list stands for an empty object: PHP writes it so.
fn object(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "array", "maxItems": 0 }, { "type": "null" }] })
}

fn labels(max: usize) -> Value {
    object(&openapi::labels(max))
}
