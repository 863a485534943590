use serde_json::json;

use crate::management::support::{Bench, ids};

#[tokio::test]
async fn a_cap_is_set_changed_kept_and_lifted() {
    let bench = Bench::new().await;
    let new = json!({"name": "Acme", "externalId": "c-17", "metadata": {"tier": "gold"}, "maxEndpoints": 1, "showEventTypes": false});
    let made = bench.post("/applications", &new).await.json(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id, "externalId": "c-17", "name": "Acme", "metadata": {"tier": "gold"}, "maxEndpoints": 1,
            "showEventTypes": false, "createdAt": "2026-11-26T08:00:00.000Z", "updatedAt": "2026-11-26T08:00:00.000Z",
        })
    );
    bench
        .post("/applications", &new)
        .await
        .error(409, "conflict");
    let path = format!("/applications/{id}");
    let endpoints = format!("{path}/endpoints");
    let endpoint = json!({"url": "https://acme.example/"});
    let first = bench.post(&endpoints, &endpoint).await.json(201);
    assert_eq!(first["applicationId"], id);
    let code = "application_endpoint_limit_reached";
    bench.post(&endpoints, &endpoint).await.error(403, code);
    let own = format!("/endpoints/{}", first["id"].as_str().unwrap());
    bench
        .patch(&own, &json!({"isActive": false}))
        .await
        .json(200);
    bench.post(&endpoints, &endpoint).await.error(403, code);
    let kept = bench
        .patch(&path, &json!({"name": "Acme Ltd"}))
        .await
        .json(200);
    assert_eq!(
        (&kept["name"], &kept["maxEndpoints"]),
        (&json!("Acme Ltd"), &json!(1))
    );
    let float = bench.patch(&path, &json!({"maxEndpoints": 1.0})).await;
    assert_eq!(float.json(200)["maxEndpoints"], 1);
    let lifted = bench
        .patch(&path, &json!({"maxEndpoints": null}))
        .await
        .json(200);
    assert_eq!(lifted["maxEndpoints"], json!(null));
    bench.post(&endpoints, &endpoint).await.json(201);
    let list = bench.get(&endpoints).await.json(200);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["secret"], "whsec_********");
    bench
        .patch(&path, &json!({"maxEndpoints": 0}))
        .await
        .json(200);
    bench.post(&endpoints, &endpoint).await.error(403, code);
    for bad in [
        json!({"maxEndpoints": -1}),
        json!({"maxEndpoints": "1"}),
        json!({"maxEndpoints": 1.5}),
        json!({"maxEndpoints": 1e300}),
        json!({"maxEndpoints": 3_000_000_000_u32}),
        json!({"name": " "}),
    ] {
        bench
            .patch(&path, &bad)
            .await
            .error(400, "validation_error");
    }
    bench.delete(&path).await.nothing();
    bench.get(&own).await.error(404, "not_found");
    bench.get(&endpoints).await.error(404, "not_found");
}

#[tokio::test]
async fn applications_come_page_by_page() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for n in 0..5 {
        let new = json!({"name": format!("App {n}")});
        let application = bench.post("/applications", &new).await.json(201);
        assert_eq!(application["showEventTypes"], true);
        made.push(application["id"].as_str().unwrap().to_owned());
    }
    let page = async |query: &str| {
        let list = bench.get(&format!("/applications{query}")).await.json(200);
        ids(&list)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(page("").await, made);
    assert_eq!(page("?limit=2").await, made[..2]);
    assert_eq!(page("?limit=2&offset=3").await, made[3..]);
    assert_eq!(page("?offset=9").await, Vec::<String>::new());
    for n in 5..101 {
        let new = json!({"name": format!("App {n}")});
        bench.post("/applications", &new).await.json(201);
    }
    assert_eq!(page("").await.len(), 100);
    assert_eq!(page("?limit=1000").await.len(), 101);
    for bad in [
        "?limit=0",
        "?limit=x",
        "?limit=1001",
        "?offset=-1",
        "?limit=1&limit=2",
        "?offset=9999999999999999999",
    ] {
        let message = bench
            .get(&format!("/applications{bad}"))
            .await
            .error(400, "validation_error");
        assert!(
            message.contains("limit") || message.contains("offset"),
            "{bad}: {message}"
        );
    }
}

#[tokio::test]
async fn a_portal_session_has_a_url_with_its_code() {
    let bench = Bench::new().await;
    let made = bench
        .post("/applications", &json!({"name": "Acme"}))
        .await
        .json(201);
    let path = format!("/applications/{}/portal", made["id"].as_str().unwrap());
    let session = bench
        .post(
            &path,
            &json!({"role": "viewer", "expiresInMinutes": 30, "metadata": {"a": "b"}}),
        )
        .await
        .json(201);
    let code = session["code"].as_str().unwrap();
    let url = format!("https://portal.example/portal?code={code}");
    assert_eq!(
        session,
        json!({"url": url, "portalUrl": url, "code": code, "expiresAt": "2026-11-26T08:30:00.000Z"})
    );
    assert!(code.len() >= 32);
    let default = bench
        .ask(
            axum::http::Method::POST,
            &format!("{}{path}", crate::management::support::SHOP),
            "",
        )
        .await
        .json(201);
    assert_eq!(default["expiresAt"], "2026-11-26T09:00:00.000Z");
    for bad in [
        json!({"role": "owner"}),
        json!({"expiresInMinutes": 0}),
        json!({"expiresInMinutes": 61}),
        json!({"metadata": {"portal_accent": "red;}"}}),
        json!({"metadata": {"portal_logo": "four"}}),
        json!({"metadata": {"portal_name": "\u{7}"}}),
    ] {
        bench.post(&path, &bad).await.error(400, "validation_error");
    }
    bench
        .post("/applications/app_x/portal", &json!({}))
        .await
        .error(404, "not_found");
}

#[tokio::test]
async fn holder_of_a_portal_session_is_an_admin_unless_said_otherwise() {
    let bench = Bench::new().await;
    let new = json!({"name": "Acme"});
    let made = bench.post("/applications", &new).await.json(201);
    let path = format!("/applications/{}/portal", made["id"].as_str().unwrap());
    for (asked, role) in [
        (json!({}), "admin"),
        (json!({"role": "admin"}), "admin"),
        (json!({"role": "editor"}), "editor"),
        (json!({"role": "viewer"}), "viewer"),
    ] {
        bench.post(&path, &asked).await.json(201);
        let log = bench.get("/audit-logs?resource_type=portal_session").await;
        assert_eq!(log.json(200)["data"][0]["metadata"]["role"], role);
    }
}
