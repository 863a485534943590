//! Isolation of workspaces and scopes of keys, for every operation. Generated from the document, so that no new route
//! escapes.

use axum::body::Body;
use axum::http::{Method, Request};
use nahook_http::openapi_document;
use serde_json::{Value, json};

use crate::ingestion::support::{Answer, BOUND, Bench, DISABLED, KEY, STAGING, ask};

/// Target of an operation.
#[derive(Clone, Copy)]
struct Aim {
    endpoint: &'static str,
    event_type: &'static str,
}

/// Nobody's.
const MISSING: Aim = Aim {
    endpoint: "ep_missing",
    event_type: "order.missing",
};
/// The other workspace's alone.
const OTHERS: Aim = Aim {
    endpoint: "ep_poor",
    event_type: "poor.only",
};
/// Our own, in production.
const OURS: Aim = Aim {
    endpoint: "ep_1",
    event_type: "order.paid",
};

/// An operation of the Ingestion API.
struct Operation {
    method: Method,
    path: String,
    /// The schema of its body.
    body: String,
}

/// All that the document has.
fn operations() -> Vec<Operation> {
    let document = openapi_document();
    let paths = document["paths"].as_object().unwrap().iter();
    let ingestion = paths.filter(|(path, _)| !path.starts_with("/management/"));
    let mut found = Vec::new();
    for (path, methods) in ingestion {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().unwrap().rsplit('/').next();
            found.push(Operation {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.clone(),
                body: name.unwrap().to_owned(),
            });
        }
    }
    assert!(found.len() >= 8);
    found
}

impl Operation {
    fn is_batch(&self) -> bool {
        self.path.ends_with("/batch")
    }

    fn is_trigger(&self) -> bool {
        self.body.starts_with("Trigger")
    }

    fn request(&self, aim: Aim, key: &str) -> Request<Body> {
        let path = self.path.replace("{endpointId}", aim.endpoint);
        let path = path.replace("{eventType}", aim.event_type);
        assert!(!path.contains('{'), "what is to be in {path}?");
        let body = match self.body.as_str() {
            "Send" | "Trigger" => json!({"payload": {}}),
            "SendBatch" => json!({"items": [{"endpointId": aim.endpoint, "payload": {}}]}),
            "TriggerBatch" => json!({"items": [{"eventType": aim.event_type, "payload": {}}]}),
            other => panic!("what does {other} look like?"),
        };
        Request::builder()
            .method(self.method.clone())
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    async fn ask(&self, bench: &Bench, aim: Aim, key: &str) -> Answer {
        ask(&bench.router(), self.request(aim, key)).await
    }

    /// The code of the refusal, be it of the request or of its only item.
    fn refusal(&self, answer: &Answer) -> (u16, String) {
        if !self.is_batch() || answer.status != 207 {
            return answer.error();
        }
        let json = answer.json();
        let items = json["items"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        (207, items[0]["error"]["code"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    fn accepted(&self, answer: &Answer) -> Value {
        assert_eq!(answer.status, 202, "{}: {answer:?}", self.path);
        let json = answer.json();
        if self.is_batch() {
            json["items"][0].clone()
        } else {
            json
        }
    }
}

#[tokio::test]
async fn what_another_workspace_has_is_answered_as_what_nobody_has() {
    for operation in operations() {
        let bench = Bench::new().await;
        let of_other = operation.ask(&bench, OTHERS, KEY).await;
        let of_nobody = operation.ask(&bench, MISSING, KEY).await;
        let path = &operation.path;
        assert_eq!(of_other.status, of_nobody.status, "{path}");
        assert_eq!(of_other.body, of_nobody.body, "{path}");
        let status = if operation.is_batch() { 207 } else { 404 };
        let told = operation.refusal(&of_other);
        assert_eq!(told, (status, "not_found".to_owned()), "{path}");
        assert!(bench.queued().await.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_key_of_the_workspace_reaches_what_is_its_own() {
    for operation in operations() {
        let bench = Bench::new().await;
        operation.accepted(&operation.ask(&bench, OURS, KEY).await);
        let queued = bench.queued().await.len();
        assert_eq!(queued, if operation.is_trigger() { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_key_bound_to_an_endpoint_sends_to_it_and_does_nothing_else() {
    let other = Aim {
        endpoint: "ep_2",
        ..OURS
    };
    for operation in operations() {
        let bench = Bench::new().await;
        let path = &operation.path;
        if operation.is_trigger() {
            for aim in [OURS, OTHERS, MISSING] {
                let answer = operation.ask(&bench, aim, BOUND).await;
                let told = (400, "invalid_api_key".to_owned());
                assert_eq!(answer.error(), told, "{path}");
            }
            assert!(bench.queued().await.is_empty(), "{path}");
            continue;
        }
        let of_other = operation.ask(&bench, other, BOUND).await;
        let of_nobody = operation.ask(&bench, MISSING, BOUND).await;
        assert_eq!(of_other.body, of_nobody.body, "{path}");
        assert_eq!(operation.refusal(&of_other).1, "not_found", "{path}");
        assert!(bench.queued().await.is_empty(), "{path}");
        operation.accepted(&operation.ask(&bench, OURS, BOUND).await);
        let queued = bench.queued().await;
        let to: Vec<_> = queued.iter().map(|due| due.endpoint.as_str()).collect();
        assert_eq!(to, ["ep_1"], "{path}");
    }
}

#[tokio::test]
async fn a_key_bound_to_an_environment_reaches_nothing_of_another() {
    let staged = Aim {
        endpoint: "ep_staged",
        ..OURS
    };
    for operation in operations() {
        let bench = Bench::new().await;
        let path = &operation.path;
        let answer = operation.ask(&bench, OURS, STAGING).await;
        if operation.is_trigger() {
            // Nothing is published there, so nobody gets it.
            let accepted = operation.accepted(&answer);
            assert_eq!(accepted["deliveryIds"], json!([]), "{path}");
            assert_eq!(accepted["failures"], json!([]), "{path}");
        } else {
            let of_nobody = operation.ask(&bench, MISSING, STAGING).await;
            assert_eq!(answer.body, of_nobody.body, "{path}");
            assert_eq!(operation.refusal(&answer).1, "not_found", "{path}");
        }
        assert!(bench.queued().await.is_empty(), "{path}");
        let own = operation.ask(&bench, staged, STAGING).await;
        operation.accepted(&own);
        let queued = bench.queued().await.len();
        assert_eq!(queued, usize::from(!operation.is_trigger()), "{path}");
    }
}

#[tokio::test]
async fn whoever_has_no_ingestion_key_that_is_on_is_told_so_and_nothing_else() {
    for operation in operations() {
        let bench = Bench::new().await;
        for aim in [OURS, OTHERS, MISSING] {
            for (key, status, code) in [
                ("nhm_manager_000000000000000000000000", 401, "unauthorized"),
                ("nhk_us_unknown_000000000000000000000", 401, "unauthorized"),
                ("", 401, "unauthorized"),
                (DISABLED, 403, "token_disabled"),
            ] {
                let answer = operation.ask(&bench, aim, key).await;
                let told = (status, code.to_owned());
                assert_eq!(answer.error(), told, "{} {key}", operation.path);
                // How a key stands is told to those alone that may use it.
                assert_eq!(answer.header("x-ratelimit-limit"), None);
            }
        }
        assert!(bench.queued().await.is_empty(), "{}", operation.path);
    }
}
