//! Generated from the document, so that no route escapes.

use axum::http::Method;
use serde_json::{Value, json};

use crate::management::document::{document, operations};
use crate::management::support::{Bench, DISABLED, KEY, OTHER, OTHERS, SHOP, TOKEN, request};

/// Ids that exist in the other workspace, by what a path calls them; a parameter that is not here fails the test.
async fn others(bench: &Bench) -> impl Fn(&str) -> String {
    let make = async |path: &str, body: &'static str| {
        let path = format!("{OTHER}{path}");
        let asked = bench.send(request(Method::POST, &path, OTHERS, body)).await;
        asked.json(201)["id"].as_str().unwrap().to_owned()
    };
    let application = make("/applications", r#"{"name":"A"}"#).await;
    let pattern = make("/endpoints/ep_other/patterns", r#"{"pattern":"*"}"#).await;
    let delivery = delivery_of_other(bench).await;
    move |name| match name {
        "applicationId" => application.clone(),
        "deliveryId" => delivery.clone(),
        "endpointId" => "ep_other".to_owned(),
        "environmentId" => "env_other".to_owned(),
        "eventTypeId" => "evt_other".to_owned(),
        "keyId" => "key_other".to_owned(),
        "patternId" => pattern.clone(),
        "tokenId" => "tok_other".to_owned(),
        other => panic!("give the other workspace a {other}"),
    }
}

async fn delivery_of_other(bench: &Bench) -> String {
    use nahook_control::{KeyHash, KeyStore as _};

    use nahook_core::{EventTypeName, FanOut, Metadata, NewEvent, Payload};
    let caller = bench
        .memory
        .api_key(&KeyHash::of("nhk_us_other_00000000000000000000000"))
        .await
        .unwrap()
        .unwrap()
        .identity;
    let engine = FanOut::new(bench.memory.clone(), bench.memory.clone());
    let event = NewEvent {
        event_type: EventTypeName::new("order.paid").unwrap(),
        payload: Payload::new("{}").unwrap(),
        metadata: Metadata::default(),
    };
    let receipt = engine.trigger(event, caller.scope()).await.unwrap();
    receipt.deliveries()[0].id().to_string()
}

/// An id that nothing has, of the same kind.
pub(crate) fn missing(name: &str) -> String {
    match name {
        "deliveryId" => "del_00000000000000000000000000".to_owned(),
        other => format!("{}_missing", &other[..2]),
    }
}

/// The path with its parameters filled in.
pub(crate) fn filled(path: &str, fill: impl Fn(&str) -> String) -> String {
    let mut parts = path.split('{');
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap();
        text += &fill(name);
        text += rest;
    }
    text
}

/// A body that the operation takes: its schema's example.
pub(crate) fn body(operation: &Value) -> String {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    // Where nothing is required the empty list is as good.
    let schema = schema.get("$ref").unwrap_or(&schema["anyOf"][0]["$ref"]);
    let Some(name) = schema.as_str().and_then(|it| it.rsplit('/').next()) else {
        return String::new();
    };
    let example = document()["components"]["schemas"][name]["example"].clone();
    assert!(example.is_object(), "give {name} an example");
    example.to_string()
}

pub(crate) fn management() -> impl Iterator<Item = (Method, String, Value)> {
    let all = operations().into_iter();
    let managed = all.filter(|(_, path, _)| path.starts_with("/management/"));
    managed.map(|(method, path, operation)| {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        (method, path, operation)
    })
}

#[tokio::test]
async fn every_id_of_another_workspace_is_answered_as_a_missing_one() {
    let bench = Bench::new().await;
    let others = others(&bench).await;
    let before = everything(&bench).await;
    let mut asked = 0;
    for (method, path, operation) in management() {
        let names: Vec<_> = path
            .split('{')
            .skip(2)
            .map(|it| it.split('}').next().unwrap().to_owned())
            .collect();
        // Each id alone is the other workspace's, then all of them; the rest is our own.
        for strange in names
            .iter()
            .map(Some)
            .chain((names.len() > 1).then_some(None))
        {
            let with = |strangers: &dyn Fn(&str) -> String| {
                filled(&path, |name| {
                    let is_strange = strange.is_none_or(|strange| strange == name);
                    match name {
                        "workspaceId" => "ws_shop".to_owned(),
                        _ if is_strange => strangers(name),
                        "endpointId" => "ep_1".to_owned(),
                        "environmentId" => "env_staging".to_owned(),
                        "eventTypeId" => "evt_paid".to_owned(),
                        "patternId" => "pat_ours".to_owned(),
                        other => panic!("which {other} of ours?"),
                    }
                })
            };
            let of_other = bench
                .ask(method.clone(), &with(&others), body(&operation))
                .await;
            let of_nobody = bench
                .ask(method.clone(), &with(&missing), body(&operation))
                .await;
            let what = format!("{method} {path} {strange:?}");
            assert_eq!(of_other.status, 404, "{what}: {of_other:?}");
            assert_eq!(of_other.body, of_nobody.body, "{what}");
            assert_eq!(of_nobody.status, 404, "{what}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
    assert_eq!(
        everything(&bench).await,
        before,
        "nothing of the other workspace has changed"
    );
}

#[tokio::test]
async fn another_workspaces_path_is_answered_as_a_missing_one() {
    let bench = Bench::new().await;
    let others = others(&bench).await;
    let before = everything(&bench).await;
    for (method, path, operation) in management() {
        let at = |workspace: &str| {
            filled(&path, |name| {
                if name == "workspaceId" {
                    workspace.to_owned()
                } else {
                    others(name)
                }
            })
        };
        let of_other = bench
            .ask(method.clone(), &at("ws_other"), body(&operation))
            .await;
        let of_nobody = bench
            .ask(method.clone(), &at("ws_nobody"), body(&operation))
            .await;
        assert_eq!(
            (of_other.status, of_nobody.status),
            (404, 404),
            "{method} {path}"
        );
        assert_eq!(of_other.body, of_nobody.body, "{method} {path}");
    }
    assert_eq!(everything(&bench).await, before);
}

#[tokio::test]
async fn ids_in_bodies_and_queries_do_not_cross_either() {
    let bench = Bench::new().await;
    for (path, body) in [
        (
            "/endpoints",
            json!({"url": "https://x", "environmentId": "env_other"}),
        ),
        (
            "/endpoints/ep_1/subscriptions",
            json!({"eventTypeIds": ["evt_other"]}),
        ),
        (
            "/api-keys",
            json!({"name": "n", "environmentId": "env_other"}),
        ),
        ("/api-keys", json!({"name": "n", "endpointId": "ep_other"})),
    ] {
        bench.post(path, &body).await.error(404, "not_found");
    }
    bench
        .get("/event-types/evt_paid/dry-run?environmentId=env_other")
        .await
        .error(404, "not_found");
}

#[tokio::test]
async fn nobody_gets_in_without_a_management_token() {
    let bench = Bench::new().await;
    let before = everything(&bench).await;
    for (method, path, operation) in management() {
        let path = filled(&path, |name| match name {
            "workspaceId" => "ws_shop".to_owned(),
            "endpointId" => "ep_1".to_owned(),
            "environmentId" => "env_staging".to_owned(),
            "eventTypeId" => "evt_paid".to_owned(),
            "keyId" => "key_shop".to_owned(),
            "tokenId" => "tok_shop".to_owned(),
            other => missing(other),
        });
        for (token, status, code) in [
            (KEY, 401, "unauthorized"),
            ("nhm_unknown_000000000000000000000000", 401, "unauthorized"),
            ("", 401, "unauthorized"),
            (DISABLED, 403, "token_disabled"),
        ] {
            let asked = request(method.clone(), &path, token, body(&operation));
            bench.send(asked).await.error(status, code);
        }
        let mut nameless = request(method.clone(), &path, "", body(&operation));
        nameless.headers_mut().remove("authorization");
        let answer = bench.send(nameless).await;
        answer.error(401, "unauthorized");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    assert_eq!(everything(&bench).await, before);
}

#[tokio::test]
async fn what_is_no_route_is_said_so_in_the_errors_shape() {
    let bench = Bench::new().await;
    bench.get("/nothing").await.error(404, "not_found");
    let answer = bench
        .ask(Method::PUT, &format!("{SHOP}/endpoints"), "{}")
        .await;
    answer.error(405, "method_not_allowed");
    assert!(answer.headers.contains_key("allow"));
    let slash = bench.get("/endpoints/").await;
    slash.error(404, "not_found");
    let head = bench
        .ask(Method::HEAD, &format!("{SHOP}/endpoints"), "")
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let bytes = bench.get("/endpoints/%ff%fe").await;
    bytes.error(404, "not_found");
}

/// All that both workspaces hold, as far as the routes show it.
async fn everything(bench: &Bench) -> Vec<Value> {
    let mut all = Vec::new();
    for (base, token) in [(SHOP, TOKEN), (OTHER, OTHERS)] {
        for list in [
            "endpoints",
            "event-types",
            "environments",
            "applications",
            "api-keys",
            "management-tokens",
            "audit-logs",
        ] {
            let asked = request(Method::GET, &format!("{base}/{list}"), token, "");
            all.push(bench.send(asked).await.json(200));
        }
    }
    all
}
