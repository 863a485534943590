//! `nahook tokens`, beside a running server.

use http::Method;
use serde_json::Value;

use crate::support::manifest::shop;
use crate::support::process::Ended;
use crate::support::server::Server;

const ENDPOINTS: &str = "/management/v1/workspaces/ws_shop/endpoints";

async fn create(server: &Server, name: &str) -> (String, String) {
    let made = server.tool("tokens", &["create", name]).await;
    assert!(made.success, "{}", made.stderr);
    let mut words = made.stdout.split_whitespace();
    let (id, token) = (words.next().unwrap(), words.next().unwrap());
    (id.to_owned(), token.to_owned())
}

async fn change(server: &Server, verb: &str, id: &str) -> Ended {
    server.tool("tokens", &[verb, id]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_sees_every_change_and_the_audit_log_tells_who_made_it() {
    let server = Server::with(&shop(vec![])).await;
    let (id, token) = create(&server, "ci").await;
    assert!(id.starts_with("tok_") && token.starts_with("nhm_"), "{id}");
    let api = server.api_with(&token);
    let status = async || api.get(ENDPOINTS).await.status;

    assert_eq!(status().await, 200);
    assert!(change(&server, "disable", &id).await.success);
    assert_eq!(status().await, 403);
    assert!(change(&server, "enable", &id).await.success);
    assert_eq!(status().await, 200);

    let list = server.tool("tokens", &["list"]).await;
    assert!(list.stdout.contains(&id) && list.stdout.contains("active"));
    assert!(!list.stdout.contains(&token), "{}", list.stdout);

    let log = api
        .get("/management/v1/workspaces/ws_shop/audit-logs?actor_type=operator")
        .await
        .json();
    let told: Vec<_> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["resourceId"] == id)
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "management_token.enabled",
            "management_token.disabled",
            "management_token.created"
        ]
    );
    assert!(!log.to_string().contains(&token));

    assert!(change(&server, "revoke", &id).await.success);
    assert_eq!(status().await, 401);
    let again = change(&server, "enable", &id).await;
    assert!(
        !again.success && again.stderr.contains("no such management token"),
        "{}",
        again.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_brought_along_whole_or_not_at_all() {
    let server = Server::with(&shop(vec![crate::support::manifest::endpoint(
        "ep_1",
        "http://192.0.2.1/",
    )]))
    .await;
    let (_, token) = create(&server, "ci").await;
    let import = async |lines: &str| {
        let path = server.dir().join("history.jsonl");
        std::fs::write(&path, lines).unwrap();
        server.tool("import", &[path.to_str().unwrap()]).await
    };
    let good = r#"{"id":"del_old_1","endpointId":"ep_1","eventTypeId":"evt_order_paid","status":"delivered","createdAt":"2026-01-01T00:00:00Z","payload":{"a" : 1e9},"attempts":[{"responseStatusCode":200,"responseTimeMs":7,"createdAt":"2026-01-01T00:00:01Z"}]}"#;
    for (line, named) in [
        (
            r#"{"id":"del_x","endpointId":"ep_2","status":"failed","createdAt":"2026-01-01"}"#,
            "ep_2",
        ),
        (
            r#"{"id":"del_x!","endpointId":"ep_1","status":"failed","createdAt":"2026-01-01"}"#,
            "id",
        ),
        (
            r#"{"id":"del_x","endpointId":"ep_1","status":"lost","createdAt":"2026-01-01"}"#,
            "lost",
        ),
        (
            r#"{"id":"del_x","endpointId":"ep_1","status":"failed","createdAt":"now"}"#,
            "createdAt",
        ),
        (
            r#"{"id":"del_x","endpointId":"ep_1","status":"failed","createdAt":"2026-01-01","payload":[1]}"#,
            "payload",
        ),
        (
            r#"{"id":"del_x","endpointId":"ep_1","status":"failed","createdAt":"2026-01-01","eventTypeId":"evt_x"}"#,
            "evt_x",
        ),
        ("{", "line 2"),
    ] {
        let refused = import(&format!("{good}\n{line}\n")).await;
        assert!(
            !refused.success && refused.stderr.contains("line 2"),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains(named), "{}", refused.stderr);
    }
    let api = server.api_with(&token);
    let path = "/management/v1/workspaces/ws_shop/deliveries/del_old_1";
    assert_eq!(api.get(path).await.status, 404);
    for _ in 0..2 {
        let imported = import(good).await;
        assert_eq!(
            imported.stdout, "1 deliveries imported",
            "{}",
            imported.stderr
        );
    }
    let shown = api.get(&format!("{path}?include=payload")).await;
    assert!(
        shown.body.windows(11).any(|it| it == br#"{"a" : 1e9}"#),
        "{shown:?}"
    );
    let shown: Value = shown.json();
    assert_eq!(
        (&shown["status"], &shown["totalAttempts"]),
        (&"delivered".into(), &1.into())
    );
    assert_eq!(shown["deliveredAt"], "2026-01-01T00:00:01.007Z");
    let retry = api
        .send(Method::POST, &format!("{path}/retry"), "")
        .await
        .unwrap();
    assert!([404, 409].contains(&retry.status), "{retry:?}");
}
