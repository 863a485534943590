use serde_json::json;

use crate::management::support::{Bench, ids};

#[tokio::test]
async fn event_types_have_a_name_of_their_own() {
    let bench = Bench::new().await;
    let made = bench
        .post(
            "/event-types",
            &json!({"name": "order.lost", "description": "Lost"}),
        )
        .await
        .json(201);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("evt_"));
    let expected = json!({
        "id": id, "name": "order.lost", "description": "Lost", "subscriberCount": 0,
        "createdAt": "2026-11-26T08:00:00.000Z",
    });
    assert_eq!(made, expected);
    let message = bench
        .post("/event-types", &json!({"name": "order.lost"}))
        .await
        .error(409, "conflict");
    assert_eq!(message, "the name is taken");
    for bad in [
        json!({"name": "a b"}),
        json!({"name": ""}),
        json!({"name": 1}),
        json!({}),
    ] {
        let message = bench
            .post("/event-types", &bad)
            .await
            .error(400, "validation_error");
        assert!(message.contains("name"), "{message}");
    }
    let path = format!("/event-types/{id}");
    let kept = bench.patch(&path, &json!({})).await.json(200);
    assert_eq!(kept["description"], "Lost");
    let cleared = bench
        .patch(&path, &json!({"description": null}))
        .await
        .json(200);
    assert_eq!(cleared["description"], json!(null));
    let list = bench.get("/event-types").await.json(200);
    assert_eq!(ids(&list), ["evt_paid", "evt_sent", id]);
    assert_eq!(list[0]["subscriberCount"], 1);
    bench.delete(&path).await.nothing();
    bench.get(&path).await.error(404, "not_found");
}

#[tokio::test]
async fn subscriptions_come_all_or_none_and_repeat_harmlessly() {
    let bench = Bench::new().await;
    let path = "/endpoints/ep_1/subscriptions";
    let both = json!({"eventTypeIds": ["evt_paid", "evt_sent", "evt_paid"]});
    for _ in 0..2 {
        assert_eq!(
            bench.post(path, &both).await.json(201),
            json!({"subscribed": 2})
        );
    }
    let list = bench.get(path).await.json(200);
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["eventTypeName"])
        .collect();
    assert_eq!(names, ["order.paid", "order.sent"]);
    assert_eq!(list[1]["eventTypeId"], "evt_sent");
    bench.delete(&format!("{path}/evt_sent")).await.nothing();
    bench
        .delete(&format!("{path}/evt_sent"))
        .await
        .error(404, "not_found");
    let unknown = json!({"eventTypeIds": ["evt_sent", "evt_other"]});
    bench.post(path, &unknown).await.error(404, "not_found");
    assert_eq!(bench.get(path).await.json(200).as_array().unwrap().len(), 1);
    bench
        .post(path, &json!({"eventTypeIds": "evt_sent"}))
        .await
        .error(400, "validation_error");
    bench
        .post(path, &json!({}))
        .await
        .error(400, "validation_error");
    assert_eq!(
        bench
            .post(path, &json!({"eventTypeIds": []}))
            .await
            .json(201),
        json!({"subscribed": 0})
    );
}

#[tokio::test]
async fn patterns_are_apart_from_subscriptions() {
    let bench = Bench::new().await;
    let path = "/endpoints/ep_1/patterns";
    let order = json!({"pattern": "order.*"});
    let made = bench.post(path, &order).await.json(201);
    assert_eq!(made["pattern"], "order.*");
    assert_eq!(made["endpointId"], "ep_1");
    assert_eq!(bench.post(path, &order).await.json(201), made, "it exists");
    assert_eq!(bench.get(path).await.json(200), json!([made]));
    let new = json!({"name": "order.new"});
    let event_type = bench.post("/event-types", &new).await.json(201);
    assert_eq!(event_type["subscriberCount"], 1);
    let subscriptions = "/endpoints/ep_1/subscriptions";
    let listed = bench.get(subscriptions).await.json(200);
    let named = |name: &str| {
        let mut rows = listed.as_array().unwrap().iter();
        rows.any(|row| row["eventTypeName"] == name)
    };
    assert!(!named("order.new"), "clients list what they subscribed to");
    let id = event_type["id"].as_str().unwrap();
    let by_name = bench.delete(&format!("{subscriptions}/{id}")).await;
    by_name.error(404, "not_found");
    let dry_run = format!("/event-types/{id}/dry-run");
    let run = bench.get(&dry_run).await.json(200);
    let one = json!({"endpointId": "ep_1", "wouldReceive": true, "reason": null});
    assert_eq!(run["endpoints"][0], one);
    let pattern = format!("{path}/{}", made["id"].as_str().unwrap());
    bench.delete(&pattern).await.nothing();
    bench.delete(&pattern).await.error(404, "not_found");
    let run = bench.get(&dry_run).await.json(200);
    assert_eq!(run["endpoints"][0]["reason"], "not_subscribed");
    for bad in ["order", "*.paid", ""] {
        let refused = bench.post(path, &json!({"pattern": bad})).await;
        refused.error(400, "validation_error");
    }
    let nobody = bench.post("/endpoints/ep_none/patterns", &order).await;
    nobody.error(404, "not_found");
}

#[tokio::test]
async fn environments_are_ten_at_most_and_the_default_one_stays() {
    let bench = Bench::new().await;
    let list = bench.get("/environments").await.json(200);
    let default = list
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["isDefault"] == true)
        .unwrap();
    assert_eq!(
        (&default["name"], &default["slug"]),
        (&json!("Production"), &json!("production"))
    );
    let path = format!("/environments/{}", default["id"].as_str().unwrap());
    bench.delete(&path).await.error(409, "conflict");
    let new = |n: u32| json!({"name": format!("Env {n}"), "slug": format!("env-{n}")});
    for n in 3..=10 {
        bench.post("/environments", &new(n)).await.json(201);
    }
    bench
        .post("/environments", &new(11))
        .await
        .error(409, "conflict");
    bench
        .post("/environments", &new(3))
        .await
        .error(409, "conflict");
    for bad in [
        json!({"name": "", "slug": "ab"}),
        json!({"name": "x", "slug": "A"}),
        json!({"slug": "ab"}),
    ] {
        bench
            .post("/environments", &bad)
            .await
            .error(400, "validation_error");
    }
    let renamed = bench
        .patch("/environments/env_staging", &json!({"name": "Acceptance"}))
        .await
        .json(200);
    assert_eq!(
        (&renamed["name"], &renamed["slug"]),
        (&json!("Acceptance"), &json!("staging"))
    );
    bench.delete("/environments/env_staging").await.nothing();
    bench
        .get("/environments/env_staging")
        .await
        .error(404, "not_found");
}

#[tokio::test]
async fn a_new_environment_publishes_nothing_until_it_is_told_to() {
    let bench = Bench::new().await;
    let path = "/environments/env_staging/event-types";
    let before = bench.get(path).await.json(200);
    assert_eq!(
        before,
        json!([
            {"eventTypeId": "evt_paid", "eventTypeName": "order.paid", "published": false},
            {"eventTypeId": "evt_sent", "eventTypeName": "order.sent", "published": false},
        ])
    );
    let set = format!("{path}/evt_sent/visibility");
    let published =
        json!({"eventTypeId": "evt_sent", "eventTypeName": "order.sent", "published": true});
    for _ in 0..2 {
        assert_eq!(
            bench.put(&set, &json!({"published": true})).await.json(200),
            published
        );
    }
    assert_eq!(bench.get(path).await.json(200)[1], published);
    bench
        .put(&set, &json!({"published": false}))
        .await
        .json(200);
    assert_eq!(bench.get(path).await.json(200), before);
    bench
        .put(&set, &json!({}))
        .await
        .error(400, "validation_error");
    bench
        .put(
            &format!("{path}/evt_other/visibility"),
            &json!({"published": true}),
        )
        .await
        .error(404, "not_found");
}
