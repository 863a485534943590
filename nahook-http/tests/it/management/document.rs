use std::collections::BTreeSet;
use std::sync::OnceLock;

use nahook_http::openapi_document;
use serde_json::Value;

/// The document.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(openapi_document)
}

/// Every operation of the document.
pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().clone();
    paths
        .into_iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().clone();
            methods
                .into_iter()
                .map(move |(method, operation)| (method, path.clone(), operation))
        })
        .collect()
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    let document = document();
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
    let ids: Vec<_> = operations()
        .iter()
        .map(|it| it.2["operationId"].clone())
        .collect();
    let unique: BTreeSet<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn every_operation_says_what_it_is_and_what_it_refuses() {
    for (method, path, operation) in operations() {
        let named = format!("{method} {path}");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|it| !it.is_empty()),
            "{named}"
        );
        let responses = operation["responses"].as_object().unwrap();
        // What is missing in a batch is told of in its own place of the answer.
        let missing = (!path.ends_with("/batch")).then_some("404");
        for status in ["401", "403", "503"].into_iter().chain(missing) {
            let content = &responses[status]["content"]["application/json"];
            assert!(
                content["examples"]
                    .as_object()
                    .is_some_and(|it| !it.is_empty()),
                "{named} {status}"
            );
        }
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{named}"
        );
        if operation["requestBody"].is_object() {
            assert!(
                responses.contains_key("400") && responses.contains_key("413"),
                "{named}"
            );
        }
        let declared: BTreeSet<_> = path
            .split('{')
            .skip(1)
            .filter_map(|it| it.split('}').next())
            .collect();
        let parameters = operation["parameters"].as_array().unwrap().iter();
        let given: BTreeSet<_> = parameters
            .filter(|it| it["in"] == "path")
            .filter_map(|it| it["name"].as_str())
            .collect();
        assert_eq!(declared, given, "{named}");
    }
}

#[test]
fn headers_and_empty_bodies_are_described_where_they_are() {
    for (method, path, operation) in operations() {
        let named = format!("{method} {path}");
        let is_ingestion = path.contains("/ingest/");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let has = |name: &str| answer["headers"][name].is_object();
            let is_limited = is_ingestion && !["401", "403"].contains(&&**status);
            assert_eq!(has("X-RateLimit-Limit"), is_limited, "{named} {status}");
            let is_told_when = ["429", "503"].contains(&&**status);
            assert_eq!(has("Retry-After"), is_told_when, "{named} {status}");
        }
        let body = &operation["requestBody"];
        if body.is_object() {
            let schema = &body["content"]["application/json"]["schema"];
            let may_be_empty = schema["anyOf"].is_array();
            assert_eq!(body["required"] == false, may_be_empty, "{named}");
        }
    }
    let body = |path: &str, method: &str| {
        let path = format!("/management/v1/workspaces/{{workspaceId}}{path}");
        document()["paths"][path][method]["requestBody"]["required"].clone()
    };
    assert_eq!(body("/endpoints", "post"), true, "a URL or a configuration");
    assert_eq!(body("/endpoints/{endpointId}", "patch"), false);
}
