//! A token that reads only changes nothing and sees no secret; reading a secret leaves a trace.

use axum::http::Method;
use serde_json::{Value, json};

use crate::management::document::operations;
use crate::management::support::{Answer, Bench, PASSWORD, SECRET, request};

/// Path of the shop's Slack endpoint on its host.
const SLACK_PATH: &str = "the-hidden-path";

/// A bench, its Slack endpoint's id and a token that reads only.
async fn bench() -> (Bench, String, String) {
    let bench = Bench::new().await;
    let url = format!("https://hooks.slack.test/services/{SLACK_PATH}");
    let slack = json!({"type": "slack", "config": {"webhookUrl": url}});
    let slack = bench.post("/endpoints", &slack).await.json(201);
    let token = json!({"name": "auditor", "readOnly": true});
    let token = bench.post("/management-tokens", &token).await.json(201);
    assert_eq!(token["readOnly"], true);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (bench, text(&slack["id"]), text(&token["token"]))
}

async fn ask(bench: &Bench, token: &str, method: &str, path: &str) -> Answer {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    bench.send(request(method, path, token, "{}")).await
}

#[tokio::test]
async fn token_that_reads_only_reads_every_list_and_changes_nothing() {
    let (bench, slack, token) = bench().await;
    let before = bench.get("/audit-logs").await.json(200)["total"].clone();
    let (mut reads, mut changes) = (0, 0);
    for (method, path, _) in operations() {
        if !path.starts_with("/management/") {
            continue;
        }
        let path = path.replace("{workspaceId}", "ws_shop");
        let path = path.replace("{endpointId}", &slack);
        let path = path.replace("{eventTypeId}", "evt_paid");
        let answer = ask(&bench, &token, &method, &path).await;
        if method == "get" {
            reads += 1;
            assert_ne!(answer.status, 403, "{path}");
            let text = String::from_utf8_lossy(&answer.body);
            for hidden in [SECRET, PASSWORD, SLACK_PATH] {
                assert!(!text.contains(hidden), "{path}: {text}");
            }
        } else {
            changes += 1;
            answer.error(403, "token_read_only");
        }
    }
    assert!(reads > 10 && changes > 10, "{reads} and {changes}");
    let after = bench.get("/audit-logs").await.json(200)["total"].clone();
    assert_eq!(after, before, "nothing was done, and no secret was read");
}

#[tokio::test]
async fn what_is_masked_is_still_there() {
    let (bench, slack, token) = bench().await;
    let path = format!("/management/v1/workspaces/ws_shop/endpoints/{slack}");
    let masked = ask(&bench, &token, "get", &path).await.json(200);
    let mask = "********";
    assert_eq!(masked["secret"], "whsec_********");
    assert_eq!(
        (&masked["url"], &masked["config"]),
        (&json!(mask), &json!({"webhookUrl": mask}))
    );
    let webhook = ask(
        &bench,
        &token,
        "get",
        "/management/v1/workspaces/ws_shop/endpoints/ep_1",
    );
    let webhook = webhook.await.json(200);
    assert_eq!(
        webhook["url"], "https://one.example/",
        "an address is no secret"
    );
    let open = bench.get(&format!("/endpoints/{slack}")).await.json(200);
    let url = open["config"]["webhookUrl"].as_str().unwrap();
    assert!(url.contains(SLACK_PATH));
}

#[tokio::test]
async fn reading_a_secret_is_in_the_audit_log_once_an_hour() {
    let (bench, slack, _) = bench().await;
    let told = async || {
        let query = "/audit-logs?action=endpoint.secret_read";
        bench.get(query).await.json(200)["data"].clone()
    };
    assert_eq!(told().await, json!([]));
    for _ in 0..3 {
        let read = bench.get("/endpoints/ep_1").await.json(200);
        assert_eq!(read["secret"], SECRET);
    }
    let entries = told().await;
    assert_eq!(entries.as_array().map(Vec::len), Some(1), "{entries}");
    assert_eq!(entries[0]["resourceId"], "ep_1");
    assert_eq!(entries[0]["actorLabel"], "manager");
    bench.get(&format!("/endpoints/{slack}")).await.json(200);
    assert_eq!(
        told().await.as_array().map(Vec::len),
        Some(2),
        "of another endpoint"
    );
    bench.get("/endpoints").await.json(200);
    assert_eq!(
        told().await.as_array().map(Vec::len),
        Some(2),
        "a list shows none"
    );
}
