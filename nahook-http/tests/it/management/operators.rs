use nahook_control::{KeyHash, KeyStore as _};
use nahook_queue::Next;
use serde_json::json;

use crate::management::support::{Bench, TOKEN, ids, request};

#[tokio::test]
async fn a_key_is_shown_once_switched_off_and_ended() {
    let bench = Bench::new().await;
    let new = json!({"name": "checkout", "environmentId": "env_staging"});
    let made = bench.post("/api-keys", &new).await.json(201);
    let key = made["key"].as_str().unwrap().to_owned();
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(key.starts_with("nhk_"));
    let state = async || {
        let found = bench.memory.api_key(&KeyHash::of(&key)).await.unwrap();
        found.map(|entry| entry.disabled)
    };
    assert_eq!(state().await, Some(false));
    let list = bench.get("/api-keys").await.json(200);
    assert_eq!(ids(&list), ["key_shop", &id]);
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("key");
    assert_eq!(list[1], shown);
    let path = format!("/api-keys/{id}");
    let off = bench
        .patch(&path, &json!({"isActive": false}))
        .await
        .json(200);
    assert_eq!(
        (&off["state"], state().await),
        (&json!("disabled"), Some(true))
    );
    bench
        .patch(&path, &json!({"isActive": true}))
        .await
        .json(200);
    assert_eq!(state().await, Some(false));
    bench.delete(&path).await.nothing();
    assert_eq!(state().await, None);
    bench.delete(&path).await.error(404, "not_found");
    bench
        .patch(&path, &json!({"isActive": true}))
        .await
        .error(404, "not_found");
    bench
        .post("/api-keys", &json!({"name": "shop"}))
        .await
        .error(409, "conflict");
    bench
        .post("/api-keys", &json!({"name": "x", "endpointId": "ep_other"}))
        .await
        .error(404, "not_found");
    bench
        .post("/api-keys", &json!({}))
        .await
        .error(400, "validation_error");
}

#[tokio::test]
async fn a_token_is_made_used_and_ended() {
    let bench = Bench::new().await;
    let made = bench
        .post("/management-tokens", &json!({"name": "CI"}))
        .await
        .json(201);
    let token = made["token"].as_str().unwrap();
    let path = format!("/management-tokens/{}", made["id"].as_str().unwrap());
    let status = async || {
        let path = format!("{}/endpoints", crate::management::support::SHOP);
        let asked = bench
            .send(request(axum::http::Method::GET, &path, token, ""))
            .await;
        asked.status
    };
    assert_eq!(status().await, 200);
    let new = r#"{"name":"App"}"#;
    let path_of_new = format!("{}/applications", crate::management::support::SHOP);
    let asked = request(axum::http::Method::POST, &path_of_new, token, new);
    bench.send(asked).await.json(201);
    let log = bench.get("/audit-logs").await.json(200);
    assert_eq!(log["data"][0]["actorLabel"], "CI");
    bench
        .patch(&path, &json!({"isActive": false}))
        .await
        .json(200);
    assert_eq!(status().await, 403);
    bench.delete(&path).await.nothing();
    assert_eq!(status().await, 401);
    let list = bench.get("/management-tokens").await.json(200);
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert!(!list.to_string().contains(TOKEN) && !list.to_string().contains(token));
}

#[tokio::test]
async fn only_what_was_given_up_can_be_tried_again() {
    let bench = Bench::new().await;
    let id = bench.trigger().await;
    let retry = format!("/deliveries/{id}/retry");
    let refused = bench.post(&retry, &json!({})).await.error(409, "conflict");
    assert!(refused.contains("pending"), "{refused}");
    bench.fail_all(Next::DeadLetter).await;
    let retried = bench.post(&retry, &json!({})).await.json(200);
    assert_eq!(retried, json!({"deliveryId": id, "status": "queued"}));
    bench.post(&retry, &json!({})).await.error(409, "conflict");
    bench
        .post("/deliveries/del_x/retry", &json!({}))
        .await
        .error(404, "not_found");
    let log = bench
        .get("/audit-logs?action=delivery.retried")
        .await
        .json(200);
    assert_eq!(
        (&log["total"], &log["data"][0]["resourceId"]),
        (&json!(1), &json!(id))
    );
}

#[tokio::test]
async fn failed_deliveries_are_tried_again_since_an_instant() {
    let bench = Bench::new().await;
    bench.trigger().await;
    bench.clock.forward(60_000);
    bench.trigger().await;
    bench.trigger().await;
    bench.fail_all(Next::Failed).await;
    let path = "/endpoints/ep_1/deliveries/retry";
    let since = json!({"since": "2026-11-26T08:01:00Z"});
    assert_eq!(
        bench.post(path, &since).await.json(200),
        json!({"retried": 2, "complete": true})
    );
    assert_eq!(
        bench.post(path, &since).await.json(200),
        json!({"retried": 0, "complete": true})
    );
    assert_eq!(
        bench
            .post(path, &json!({"since": "2026-11-26"}))
            .await
            .json(200)["retried"],
        1
    );
    let noted = "/audit-logs?action=endpoint.deliveries_retried";
    assert_eq!(bench.get(noted).await.json(200)["total"], 2, "none of none");
    for bad in [
        json!({}),
        json!({"since": "yesterday"}),
        json!({"since": 7}),
    ] {
        bench.post(path, &bad).await.error(400, "validation_error");
    }
    bench
        .post("/endpoints/ep_other/deliveries/retry", &since)
        .await
        .error(404, "not_found");
}

#[tokio::test]
async fn a_dry_run_tells_who_and_who_not_and_why() {
    let bench = Bench::new().await;
    let two = bench
        .post(
            "/endpoints",
            &json!({"url": "https://two.example/", "environmentId": "env_staging"}),
        )
        .await
        .json(201);
    let two = two["id"].as_str().unwrap();
    let run = async |query: &str| {
        bench
            .get(&format!("/event-types/evt_paid/dry-run{query}"))
            .await
            .json(200)
    };
    let fate = |id: &str, reason: Option<&str>| json!({"endpointId": id, "wouldReceive": reason.is_none(), "reason": reason});
    let all = run("").await;
    assert_eq!(
        all,
        json!({"eventTypeId": "evt_paid", "endpoints": [fate("ep_1", None), fate(two, Some("not_subscribed"))]})
    );
    let subscribe = json!({"eventTypeIds": ["evt_paid"]});
    bench
        .post(&format!("/endpoints/{two}/subscriptions"), &subscribe)
        .await
        .json(201);
    let staging = run("?environmentId=env_staging").await;
    assert_eq!(
        staging["endpoints"],
        json!([
            fate("ep_1", Some("other_environment")),
            fate(two, Some("unpublished"))
        ])
    );
    bench
        .patch("/endpoints/ep_1", &json!({"isActive": false}))
        .await
        .json(200);
    assert_eq!(
        run("").await["endpoints"][0],
        fate("ep_1", Some("inactive"))
    );
    bench
        .get("/event-types/evt_paid/dry-run?environmentId=env_other")
        .await
        .error(404, "not_found");
}
