//! Every rule of the table, at its edges, in every body that has the field and in the document's schema of that body.

use axum::http::Method;
use boon::{Compiler, SchemaIndex, Schemas};
use nahook_control::rules::{Field, ROWS, Row, Rule, Sample};
use nahook_control::{ApplyMode, Catalog as _, Manifest};
use serde_json::{Value, json};

use crate::management::document::{document, operations};
use crate::management::support::Bench;

/// An operation of the Management API that has a body.
struct Way {
    method: Method,
    path: String,
    /// Name of the body's schema.
    body: String,
    row: &'static Row,
}

impl Way {
    /// The body that the document shows.
    fn example(&self) -> Value {
        let mut example = document()["components"]["schemas"][&self.body]["example"].clone();
        match &*self.body {
            "NewEndpoint" => {
                // One of them alone is refused, whatever it is.
                example["authUsername"] = "user".into();
                example["authPassword"] = "password".into();
            }
            // The shop has the example already.
            "NewEnvironment" => example["slug"] = "another".into(),
            "NewEventType" => example["name"] = "another".into(),
            _ => {}
        }
        example
    }

    /// A request with the value in the field, and its body.
    fn with(&self, field: &Field, value: &Value) -> (String, Value) {
        let mut body = self.example();
        let endpoint = if let Some((object, field)) = field.name.split_once('.') {
            body["type"] = "slack".into();
            body[object] = json!({ (field): value });
            "ep_slack"
        } else {
            body[field.api_name()] = value.clone();
            "ep_1"
        };
        let path = self.path.replace("{endpointId}", endpoint);
        let ids = [
            ("{workspaceId}", "ws_shop"),
            ("{applicationId}", "app_1"),
            ("{environmentId}", "env_staging"),
            ("{eventTypeId}", "evt_paid"),
        ];
        let path = ids
            .iter()
            .fold(path, |path, (name, id)| path.replace(name, id));
        (path, body)
    }
}

fn ways() -> Vec<Way> {
    let with_body = operations().into_iter().filter(|(_, path, operation)| {
        path.starts_with("/management") && operation["requestBody"].is_object()
    });
    let ways = with_body.map(|(method, path, operation)| {
        let text = operation["requestBody"].to_string();
        let (_, name) = text.split_once("#/components/schemas/").unwrap();
        let body = name.split('"').next().unwrap().to_owned();
        let row = ROWS.iter().find(|row| row.bodies.contains(&&*body));
        Way {
            method: method.to_uppercase().parse().unwrap(),
            path,
            row: row.unwrap_or_else(|| panic!("no rules for {body}")),
            body,
        }
    });
    ways.collect()
}

/// The names of the body's fields.
fn properties(body: &str) -> Vec<&'static str> {
    let schema = &document()["components"]["schemas"][body];
    let fields = schema["properties"].as_object().unwrap();
    fields.keys().map(String::as_str).collect()
}

/// The shop, with an application and a Slack endpoint.
async fn shop() -> Bench {
    let bench = Bench::new().await;
    let slack = json!({
        "id": "ep_slack", "type": "slack", "config": { "webhookUrl": "https://slack.example/" },
    });
    let more = json!({ "workspaces": [{
        "name": "shop", "applications": [{ "id": "app_1", "name": "a" }], "endpoints": [slack],
    }] });
    let more: Manifest = serde_json::from_value(more).unwrap();
    bench.memory.apply(&more, ApplyMode::Commit).await.unwrap();
    bench
}

#[test]
fn every_field_of_a_body_has_a_rule_and_every_body_of_the_table_is_one() {
    let ways = ways();
    for way in &ways {
        for name in properties(&way.body) {
            assert!(
                way.row.api_field(name).is_some(),
                "{}.{name} has no rule",
                way.body
            );
        }
    }
    for body in ROWS.iter().flat_map(|row| row.bodies) {
        assert!(
            ways.iter().any(|way| way.body == *body),
            "{body} is no body"
        );
    }
}

#[tokio::test]
async fn the_api_and_its_document_follow_the_table() {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler
        .add_resource("http://document", document().clone())
        .unwrap();
    let (mut tried, mut bench) = (0, shop().await);
    for way in ways() {
        let url = format!("http://document#/components/schemas/{}", way.body);
        let schema = compiler.compile(&url, &mut schemas).unwrap();
        let properties = properties(&way.body);
        for field in way.row.fields {
            let name = field.api_name();
            if !properties.contains(&name.split('.').next().unwrap()) {
                continue;
            }
            for sample in field.rule.samples() {
                expect(&bench, &way, field, &sample).await;
                expect_of_schema(&way, field, &sample, (&schemas, schema));
                if sample.is_allowed {
                    // What was made or changed is in nobody's way.
                    bench = shop().await;
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "only {tried} values were tried");
}

/// Expects that the API answers as the rule says.
async fn expect(bench: &Bench, way: &Way, field: &Field, sample: &Sample) {
    let (path, body) = way.with(field, &sample.value);
    let shown = format!("{} {path} {body}", way.method);
    let method = way.method.clone();
    let answer = bench.ask(method, &path, body.to_string()).await;
    match (field.rule, sample.is_allowed) {
        // What an id names has to exist, too.
        (Rule::Items { .. }, true) | (Rule::Reference, false) => {
            answer.error(404, "not_found");
        }
        (_, true) => assert!((200..300).contains(&answer.status), "{shown}: {answer:?}"),
        (_, false) => {
            let message = answer.error(400, "validation_error");
            assert!(message.contains(&field.api_name()), "{shown}: {message}");
        }
    }
}

/// Expects that the schema says the same, if it can.
fn expect_of_schema(way: &Way, field: &Field, sample: &Sample, schema: (&Schemas, SchemaIndex)) {
    if way.method == Method::PATCH && field.name.contains('.') {
        // The kind of a Slack endpoint is in the store and not in the body.
        return;
    }
    let (_, body) = way.with(field, &sample.value);
    let is_valid = schema.0.validate(&body, schema.1).is_ok();
    let says = sample.is_allowed == sample.is_in_schema;
    assert_eq!(is_valid, says, "the schema {} of {body}", way.body);
}

#[tokio::test]
async fn one_message_tells_the_bounds_of_a_number() {
    let bench = shop().await;
    for (path, field, rule) in [
        ("/applications", "maxEndpoints", "is 0 to 2147483647"),
        (
            "/applications/app_1/portal",
            "expiresInMinutes",
            "is 1 to 60",
        ),
    ] {
        for number in [
            json!(-1),
            json!(2_147_483_648_u32),
            json!(u64::MAX),
            json!(-1e300),
            json!(1e300),
        ] {
            let refused = bench
                .post(path, &json!({ "name": "a", (field): number }))
                .await;
            let message = refused.error(400, "validation_error");
            assert_eq!(message, format!("{field} {rule}"), "{number}");
        }
    }
}
