//! `nahook tokens`, beside a running server.

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
