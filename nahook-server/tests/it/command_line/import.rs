//! `nahook import`, beside a running server.

use http::Method;
use nahook_testserver::PostgresServer;
use serde_json::{Value, json};

use crate::support::manifest::{endpoint, shop};
use crate::support::process::Ended;
use crate::support::server::Server;

const TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000e3";
const DELIVERIES: &str = "/management/v1/workspaces/ws_shop/deliveries";

fn manifest() -> Value {
    let mut manifest = shop(vec![endpoint("ep_1", "http://192.0.2.1/")]);
    manifest["workspaces"][0]["management_tokens"] = json!([{ "name": "ops", "token": TOKEN }]);
    manifest
}

async fn import(server: &Server, lines: String) -> Ended {
    let path = server.dir().join("history.jsonl");
    std::fs::write(&path, lines).unwrap();
    server.tool("import", &[path.to_str().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_brought_along_whole_or_not_at_all() {
    let server = Server::with(&manifest()).await;
    let import = |lines: String| import(&server, lines);
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
        ("{", "line 3"),
    ] {
        let refused = import(format!("{good}\n\n{line}\n")).await;
        assert!(
            !refused.success && refused.stderr.contains("line 3"),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains(named), "{}", refused.stderr);
    }
    let api = server.api_with(TOKEN);
    let path = format!("{DELIVERIES}/del_old_1");
    assert_eq!(api.get(&path).await.status, 404);
    for said in [
        "1 delivery imported",
        "nothing changed: the delivery is recorded already",
    ] {
        let imported = import(good.to_owned()).await;
        assert_eq!(imported.stdout, said, "{}", imported.stderr);
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

/// A delivery of another server: what it was before its attempt, and after it.
fn before_and_after(id: &str) -> [Value; 2] {
    let before = json!({
        "id": id, "endpointId": "ep_1", "status": "scheduled_retry", "createdAt": "2026-01-01T00:00:00Z",
        "attempts": [{ "responseStatusCode": 500, "createdAt": "2026-01-01T00:00:01Z" }],
    });
    let mut after = before.clone();
    after["status"] = "delivered".into();
    let attempt = json!({ "responseStatusCode": 200, "createdAt": "2026-01-01T00:05:00Z" });
    after["attempts"].as_array_mut().unwrap().push(attempt);
    [before, after]
}

async fn import_counts_what_it_changes(server: &Server) {
    let ([one, one_later], [other, _]) = (before_and_after("del_1"), before_and_after("del_2"));
    for (lines, said) in [
        (vec![&one, &other], "2 deliveries imported"),
        (
            vec![&one, &other],
            "nothing changed: all 2 deliveries are recorded already",
        ),
        (
            vec![&one_later, &other],
            "1 delivery imported, 1 recorded already",
        ),
        // An earlier state is no news.
        (
            vec![&one],
            "nothing changed: the delivery is recorded already",
        ),
        (vec![], "nothing changed: the file has no deliveries"),
    ] {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let imported = import(server, lines.join("\n")).await;
        assert_eq!(imported.stdout, said, "{}", imported.stderr);
    }
    let log = server
        .api_with(TOKEN)
        .get("/management/v1/workspaces/ws_shop/audit-logs?actor_type=operator")
        .await
        .json();
    let entries = log["data"].as_array().unwrap().iter();
    let imports = entries.filter(|entry| entry["action"] == "workspace.history_imported");
    assert_eq!(imports.count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn import_counts_what_it_changes_in_a_file() {
    import_counts_what_it_changes(&Server::with(&manifest()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn import_counts_what_it_changes_on_postgres() {
    let url = PostgresServer::shared().create_database();
    let [server] = Server::sharing(&url, &manifest()).await;
    import_counts_what_it_changes(&server).await;
}

async fn first_attempt_under_way_elsewhere_is_given_up(server: &Server) {
    let mut line = json!({
        "id": "del_1", "endpointId": "ep_1", "status": "delivering", "createdAt": "2026-01-01T00:00:00Z",
    });
    for said in [
        "1 delivery imported",
        "nothing changed: the delivery is recorded already",
    ] {
        let imported = import(server, line.to_string()).await;
        assert_eq!(imported.stdout, said, "{}", imported.stderr);
    }
    let api = server.api_with(TOKEN);
    let path = format!("{DELIVERIES}/del_1");
    let shown = api.get(&path).await.json();
    assert_eq!(shown["status"], "failed", "{shown}");
    assert_eq!(shown["totalAttempts"], 1, "{shown}");
    assert_eq!(shown["firstAttemptAt"], Value::Null, "{shown}");
    assert_eq!(shown["updatedAt"], "2026-01-01T00:00:00.000Z", "{shown}");
    let attempts = async || {
        let attempts = api.get(&format!("{path}/attempts")).await.json();
        attempts.as_array().unwrap().clone()
    };
    let [given_up] = &attempts().await[..] else {
        panic!("one entry says why");
    };
    let reason = given_up["errorMessage"].as_str().unwrap();
    assert!(
        reason.starts_with("not attempted: another server"),
        "{given_up}"
    );

    line["status"] = "delivered".into();
    line["attempts"] = json!([{ "responseStatusCode": 200, "createdAt": "2026-01-01T00:00:01Z" }]);
    assert_eq!(
        import(server, line.to_string()).await.stdout,
        "1 delivery imported"
    );
    let shown = api.get(&path).await.json();
    assert_eq!(shown["status"], "delivered", "{shown}");
    assert_eq!(shown["totalAttempts"], 1, "{shown}");
    let attempts = attempts().await;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0]["responseStatusCode"], 200, "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_attempt_under_way_elsewhere_is_given_up_in_a_file() {
    first_attempt_under_way_elsewhere_is_given_up(&Server::with(&manifest()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_attempt_under_way_elsewhere_is_given_up_on_postgres() {
    let url = PostgresServer::shared().create_database();
    let [server] = Server::sharing(&url, &manifest()).await;
    first_attempt_under_way_elsewhere_is_given_up(&server).await;
}
