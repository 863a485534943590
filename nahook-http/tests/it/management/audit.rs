use serde_json::{Value, json};

use crate::management::support::Bench;

#[tokio::test]
async fn every_change_is_in_the_log_with_who_and_what() {
    let bench = Bench::new().await;
    let before = bench.get("/audit-logs").await.json(200)["total"]
        .as_u64()
        .unwrap();
    bench.clock.forward(1_000);
    bench
        .patch(
            "/endpoints/ep_1",
            &json!({"isActive": false, "description": "x"}),
        )
        .await
        .json(200);
    bench.patch("/endpoints/ep_1", &json!({})).await.json(200);
    bench.delete("/event-types/evt_sent").await.nothing();
    let page = bench.get("/audit-logs").await.json(200);
    assert_eq!(page["total"], before + 2);
    assert_eq!((&page["page"], &page["pageSize"]), (&json!(1), &json!(50)));
    let entry = &page["data"][1];
    assert_eq!(
        *entry,
        json!({
            "id": entry["id"], "actorType": "management_token", "actorId": "tok_shop", "actorLabel": "manager",
            "visibility": "workspace", "action": "endpoint.updated", "resourceType": "endpoint", "resourceId": "ep_1",
            "metadata": entry["metadata"], "createdAt": "2026-11-26T08:00:01.000Z",
        })
    );
    assert_eq!(entry["metadata"]["fields"], "description,isActive");
    assert_eq!(page["data"][0]["action"], "event_type.deleted");
}

#[tokio::test]
async fn the_log_is_filtered_and_paged() {
    let bench = Bench::new().await;
    bench.clock.forward(1_000);
    for n in 0..60 {
        bench
            .post("/applications", &json!({"name": format!("App {n}")}))
            .await
            .json(201);
    }
    bench.clock.forward(1_000);
    bench.delete("/endpoints/ep_1").await.nothing();
    let log = async |query: &str| bench.get(&format!("/audit-logs?{query}")).await.json(200);
    let counted = |page: &Value| {
        (
            page["total"].as_u64().unwrap(),
            page["data"].as_array().unwrap().len(),
        )
    };
    assert_eq!(counted(&log("resource_type=application").await), (60, 50));
    assert_eq!(
        counted(&log("resource_type=application&page=2").await),
        (60, 10)
    );
    assert_eq!(
        counted(&log("resource_type=application&page=3").await),
        (60, 0)
    );
    assert_eq!(counted(&log("action=endpoint.deleted").await), (1, 1));
    assert_eq!(counted(&log("actor_type=system").await).0, 0);
    assert_eq!(counted(&log("from=2026-11-26T08:00:01Z").await).0, 61);
    assert_eq!(
        counted(&log("from=2026-11-26T08:00:01Z&to=2026-11-26T08:00:02Z").await).0,
        60
    );
    assert_eq!(counted(&log("from=2026-11-27").await).0, 0);
    let (longest, longer) = ("x".repeat(64), "x".repeat(65));
    log(&format!("action={longest}&page=1000000000")).await;
    for bad in [
        &*format!("action={longer}"),
        "page=1000000001",
        "page=0",
        "page=x",
        "from=now",
        "to=12",
        "actor_type=me",
        "action=a%00b",
        "resource_type=",
    ] {
        bench
            .get(&format!("/audit-logs?{bad}"))
            .await
            .error(400, "validation_error");
    }
}
