//! `nahook import`, beside a running server.

use http::Method;
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
    for _ in 0..2 {
        let imported = import(good.to_owned()).await;
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
