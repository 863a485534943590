//! Authentication, and the order of checks.

use serde_json::json;

use super::wire::{Wire, request_without_key};
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

const PATH: &str = "/api/ingest/event/order.paid";
const BODY: &str = "{\"payload\":{}}";
const DISABLED_KEY: &str = "nhk_eu_disabled_00000000000000000000";
const BOUND_KEY: &str = "nhk_bound_00000000000000000000000000";
const STAGING_KEY: &str = "nhk_us_staging_000000000000000000000";
const THROTTLED_KEY: &str = "nhk_us_throttled_0000000000000000000";
const TOKEN: &str = "nhm_0123456789abcdef_000000000000000";

async fn server(receiver: &Receiver) -> Server {
    let mut staging = endpoint("ep_staging", &receiver.url("/staging"));
    staging["environment"] = json!("staging");
    let mut manifest = shop(vec![endpoint("ep_1", &receiver.url("/1")), staging]);
    let workspaces = manifest["workspaces"].as_array_mut().unwrap();
    workspaces[0]["plan"] = json!({ "payload_len_max": 100 });
    workspaces[0]["environments"] = json!([{ "slug": "staging", "published": [EVENT_TYPE] }]);
    workspaces[0]["management_tokens"] = json!([{ "name": "token", "token": TOKEN }]);
    workspaces[0]["api_keys"].as_array_mut().unwrap().extend([
        json!({ "name": "disabled", "key": DISABLED_KEY, "disabled": true }),
        json!({ "name": "bound", "key": BOUND_KEY, "endpoint": "ep_1" }),
        json!({ "name": "staging", "key": STAGING_KEY, "environment": "staging" }),
    ]);
    workspaces.push(json!({
        "name": "Throttled",
        "plan": { "payload_len_max": 100, "key_rate": { "count": 1, "period_secs": 3600 } },
        "event_types": [{ "name": EVENT_TYPE }],
        "endpoints": [endpoint("ep_other", &receiver.url("/other"))],
        "api_keys": [{ "name": "throttled", "key": THROTTLED_KEY }],
    }));
    Server::with(&manifest).await
}

fn with_key(key: &str, path: &str, body: &str) -> String {
    request_without_key(
        "POST",
        path,
        &[&format!("Authorization: Bearer {key}")],
        body,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_known_is_unauthorized_whatever_is_wrong_with_the_header() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    wire.exchange(request_without_key("POST", PATH, &[], BODY))
        .await
        .assert_error(401, "unauthorized");
    for value in [
        String::new(),
        KEY.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {KEY}"),
        format!("Bearer {KEY}x"),
        format!("Bearer {}", &KEY[..KEY.len() - 1]),
        format!("Bearer {}", KEY.to_uppercase()),
        format!("Bearer {TOKEN}"),
        "Bearer \u{e4}".to_owned(),
    ] {
        let header = format!("Authorization: {value}");
        let answer = wire
            .exchange(request_without_key("POST", PATH, &[&header], BODY))
            .await;
        answer.assert_error(401, "unauthorized");
    }
    receiver.exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_environment_reaches_only_that() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    wire.exchange(with_key(STAGING_KEY, PATH, BODY))
        .await
        .assert_accepted(1);
    assert_eq!(receiver.exactly(1).await[0].path, "/staging");
    // One without an environment reaches all of its workspace, and nothing of another.
    wire.exchange(with_key(KEY, PATH, BODY))
        .await
        .assert_accepted(2);
    let paths: Vec<_> = receiver
        .exactly(3)
        .await
        .into_iter()
        .map(|arrival| arrival.path)
        .collect();
    assert!(!paths.contains(&"/other".to_owned()), "{paths:?}");
    // What is not published in an environment fans out to nobody there.
    wire.exchange(with_key(
        STAGING_KEY,
        "/api/ingest/event/nobody.listens",
        BODY,
    ))
    .await
    .assert_accepted(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_several_faults_is_the_one_that_is_told() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    let malformed = "/api/ingest/event/order..paid";
    let unknown = "/api/ingest/event/un.known";
    let large = format!("{{\"payload\":{{\"x\":\"{}\"}}}}", "x".repeat(100));
    let huge = "x".repeat(300_000);
    let broken = "{\"payload\":";
    // The order of the contract: key, scope, name, size, body, rate, event type.
    for (key, path, body, status, code) in [
        (
            "nhk_nobody_0000000000000000000000000",
            malformed,
            broken,
            401,
            "unauthorized",
        ),
        (DISABLED_KEY, malformed, broken, 403, "token_disabled"),
        (BOUND_KEY, malformed, broken, 400, "invalid_api_key"),
        (KEY, malformed, &huge, 400, "validation_error"),
        (KEY, unknown, &huge, 413, "payload_too_large"),
        (KEY, unknown, &large, 413, "payload_too_large"),
        (KEY, unknown, broken, 400, "validation_error"),
        (KEY, unknown, BODY, 404, "not_found"),
        // None of the refusals before the limiter has cost anything: this one is still admitted.
        (THROTTLED_KEY, malformed, BODY, 400, "validation_error"),
        (THROTTLED_KEY, PATH, broken, 400, "validation_error"),
        (THROTTLED_KEY, PATH, &large, 413, "payload_too_large"),
    ] {
        let answer = wire.exchange(with_key(key, path, body)).await;
        answer.assert_error(status, code);
        if answer.header("connection") == Some("close") {
            wire = Wire::connect(server.address).await;
        }
    }
    wire.exchange(with_key(THROTTLED_KEY, PATH, BODY))
        .await
        .assert_accepted(1);
    let limited = wire.exchange(with_key(THROTTLED_KEY, unknown, BODY)).await;
    limited.assert_error(429, "rate_limited");
    let retry_after: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&retry_after), "{limited:?}");
    receiver.exactly(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_says_how_to_authenticate() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let mut wire = Wire::connect(server.address).await;
    let answer = wire
        .exchange(request_without_key("POST", PATH, &[], BODY))
        .await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}
