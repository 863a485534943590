use axum::http::Method;
use serde_json::{Value, json};

use crate::management::support::{Bench, PASSWORD, SECRET, SHOP, ids};

#[tokio::test]
async fn an_endpoint_is_made_shown_changed_and_removed() {
    let bench = Bench::new().await;
    let new = json!({
        "url": "https://two.example/hook", "description": "Two", "metadata": {"team": "a"},
        "authUsername": "two", "authPassword": "s3cret-of-two", "environmentId": "env_staging",
    });
    let made = bench.post("/endpoints", &new).await.json(201);
    let id = made["id"].as_str().unwrap();
    let secret = made["secret"].as_str().unwrap();
    assert!(
        id.starts_with("ep_") && secret.starts_with("whsec_"),
        "{made}"
    );
    assert_eq!(
        made,
        json!({
            "id": id, "url": "https://two.example/hook", "secret": secret, "description": "Two",
            "authUsername": "two", "hasAuth": true, "isActive": true, "type": "webhook", "config": {},
            "metadata": {"team": "a"}, "environmentId": "env_staging", "applicationId": null,
            "createdAt": "2026-11-26T08:00:00.000Z", "updatedAt": "2026-11-26T08:00:00.000Z",
        })
    );

    bench.clock.forward(1_500);
    let path = format!("/endpoints/{id}");
    assert_eq!(bench.get(&path).await.json(200), made);
    let changed = bench
        .patch(&path, &json!({"isActive": false, "description": null}))
        .await
        .json(200);
    let mut expected = made.clone();
    expected["secret"] = json!("whsec_********");
    expected["isActive"] = json!(false);
    expected["description"] = Value::Null;
    expected["updatedAt"] = json!("2026-11-26T08:00:01.500Z");
    assert_eq!(changed, expected);

    let list = bench.get("/endpoints").await.json(200);
    assert_eq!(ids(&list), ["ep_1", id]);
    assert_eq!(list[1], expected);
    bench.delete(&path).await.nothing();
    assert_eq!(
        bench.get(&path).await.error(404, "not_found"),
        "Endpoint not found"
    );
    bench.delete(&path).await.error(404, "not_found");
    assert_eq!(ids(&bench.get("/endpoints").await.json(200)), ["ep_1"]);
}

#[tokio::test]
async fn what_is_absent_stays_and_what_is_null_is_not_given_or_removed() {
    let bench = Bench::new().await;
    let before = bench.get("/endpoints/ep_1").await.json(200);
    for nothing in [
        json!({}),
        json!({"url": null, "isActive": null, "metadata": null, "config": null}),
        json!([]),
    ] {
        bench.patch("/endpoints/ep_1", &nothing).await.json(200);
        assert_eq!(bench.get("/endpoints/ep_1").await.json(200), before);
    }
    let removed = bench
        .patch("/endpoints/ep_1", &json!({"authUsername": null}))
        .await
        .json(200);
    assert_eq!(
        (&removed["hasAuth"], &removed["authUsername"]),
        (&json!(false), &Value::Null)
    );
    bench
        .patch("/endpoints/ep_1", &json!({"authUsername": "x"}))
        .await
        .error(409, "conflict");
    let empty_map = json!({"metadata": [], "config": []});
    let emptied = bench.patch("/endpoints/ep_1", &empty_map).await.json(200);
    assert_eq!(
        (&emptied["metadata"], &emptied["config"]),
        (&json!({}), &json!({}))
    );
}

#[tokio::test]
async fn a_slack_endpoint_has_its_url_in_its_config() {
    let bench = Bench::new().await;
    let url = "https://hooks.slack.example/services/T/B/x";
    let new = json!({"type": "slack", "config": {"webhookUrl": url, "channel": "#ops"}});
    let made = bench.post("/endpoints", &new).await.json(201);
    assert_eq!(
        (&made["type"], &made["url"]),
        (&json!("slack"), &json!(url))
    );
    assert_eq!(made["config"], new["config"]);
    let bare = bench.post("/endpoints", &json!({"type": "slack"})).await;
    assert!(bare.error(400, "validation_error").contains("webhookUrl"));
}

#[tokio::test]
async fn a_rotated_secret_is_shown_and_both_sign() {
    use nahook_control::EndpointDirectory as _;
    use nahook_core::id::EndpointId;
    let bench = Bench::new().await;
    let rotated = bench
        .post("/endpoints/ep_1/secret/rotate", &json!({}))
        .await
        .json(200);
    let fresh = rotated["secret"].as_str().unwrap();
    assert_ne!(fresh, SECRET);
    assert_eq!(
        bench.get("/endpoints/ep_1").await.json(200)["secret"],
        fresh
    );
    let target = async || {
        let found = bench
            .memory
            .targets(&[EndpointId::new("ep_1").unwrap()])
            .await
            .unwrap();
        let secrets = &found.iter().flatten().next().unwrap().secrets;
        secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(target().await, [fresh, SECRET]);
    bench.clock.forward(24 * 3600 * 1000);
    assert_eq!(target().await, [fresh]);
}

#[tokio::test]
async fn what_is_wrong_is_named_and_not_repeated() {
    let bench = Bench::new().await;
    for (body, named) in [
        (json!({}), "url"),
        (json!({"url": 1}), "url"),
        (json!({"url": "ftp://x"}), "URL"),
        (json!({"url": "https://x", "type": "mail"}), "type"),
        (
            json!({"url": "https://x", "metadata": {"a": 1}}),
            "metadata",
        ),
        (json!({"url": "https://x", "metadata": ["a"]}), "metadata"),
        (
            json!({"url": "https://x", "metadata": {"1":"","2":"","3":"","4":"","5":"","6":""}}),
            "metadata",
        ),
        (json!({"url": "https://x", "config": 7}), "config"),
        (
            json!({"url": "https://x", "description": "a\u{0}b"}),
            "description",
        ),
        (
            json!({"url": "https://x", "authUsername": "u"}),
            "authPassword",
        ),
        (
            json!({"url": "https://x", "authUsername": "u", "authPassword": {"p": PASSWORD}}),
            "authPassword",
        ),
        (
            json!({"url": "https://x", "authUsername": [PASSWORD]}),
            "authUsername",
        ),
    ] {
        let message = bench
            .post("/endpoints", &body)
            .await
            .error(400, "validation_error");
        assert!(message.contains(named), "{body}: {message}");
        assert!(!message.contains(PASSWORD), "{message}");
    }
    for (body, status) in [("{", 400), ("[1]", 400), ("null", 400), ("\"x\"", 400)] {
        let answer = bench
            .ask(Method::POST, &format!("{SHOP}/endpoints"), body)
            .await;
        let message = answer.error(status, "validation_error");
        assert!(message.contains("body"), "{body}");
    }
    let unknown = json!({"url": "https://x", "environmentId": "env_other"});
    bench
        .post("/endpoints", &unknown)
        .await
        .error(404, "not_found");
    let long = format!(
        "{{\"url\":\"https://x\",\"description\":\"{}\"}}",
        "x".repeat(256 * 1024)
    );
    let answer = bench
        .ask(Method::POST, &format!("{SHOP}/endpoints"), long)
        .await;
    answer.error(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let bench = Bench::new().await;
    let body = json!({"url": "https://a.example/", "description": "x".repeat(300_000)});
    let answer = bench.post("/endpoints", &body).await;
    assert_eq!(
        answer.error(413, "payload_too_large"),
        "The request body exceeds the limit of 262144 bytes"
    );
    assert!(!answer.headers.contains_key("connection"), "it was read");
    // A rest that is left unread would be taken for the connection's next request.
    let body = "x".repeat(1024 * 1024 + 1);
    let path = format!("{}/endpoints", crate::management::support::SHOP);
    let answer = bench.ask(axum::http::Method::POST, &path, body).await;
    answer.error(413, "payload_too_large");
    assert_eq!(answer.headers["connection"], "close");
}
