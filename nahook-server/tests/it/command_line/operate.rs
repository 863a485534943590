//! `nahook send`, `nahook test-event`, `nahook retry` and `nahook dry-run`.

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::manifest::{KEY, endpoint, shop};
use crate::support::process::{Ended, Nahook};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::Server;

const TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000e2";

/// A server with one endpoint at that receiver, and one that is switched off.
async fn server(receiver: &Receiver) -> Server {
    let off = json!({ "id": "ep_off", "url": receiver.url("/off"), "is_active": false });
    let mut manifest = shop(vec![endpoint("ep_1", &receiver.url("/1")), off]);
    manifest["workspaces"][0]["management_tokens"] = json!([{ "name": "ops", "token": TOKEN }]);
    Server::with(&manifest).await
}

/// Runs the command with everything it wants to know in its environment.
async fn run(server: &Server, arguments: &[&str]) -> Ended {
    let url = format!("http://{}", server.address);
    let env = [
        ("NAHOOK_URL", url.as_str()),
        ("NAHOOK_API_KEY", KEY),
        ("NAHOOK_MANAGEMENT_TOKEN", TOKEN),
        ("NAHOOK_WORKSPACE", "ws_shop"),
    ];
    let ended = Nahook::run_with(server.dir(), arguments, &env).await;
    for secret in [KEY, TOKEN] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
    }
    ended
}

#[track_caller]
fn answer(ended: &Ended) -> Value {
    assert!(ended.success, "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_from_the_shell_arrives_once_for_its_key() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let payload = "{\"b\" : 1.0, \"a\":\"é\"}";
    let arguments = [
        "send",
        "ep_1",
        "--payload",
        payload,
        "--idempotency-key",
        "order \"1\"",
    ];
    let first = answer(&run(&server, &arguments).await);
    assert_eq!(first["idempotencyKey"], "order \"1\"");
    let again = answer(&run(&server, &arguments).await);
    assert_eq!(again, first);
    let arrivals = receiver.exactly(1).await;
    assert_eq!(arrivals[0].body, payload);
    assert_eq!(
        arrivals[0].header("nahook-delivery-id"),
        first["deliveryId"]
    );
    // Without a key each is one of its own.
    let arguments = ["send", "ep_1"];
    let other = answer(&run(&server, &arguments).await);
    assert_ne!(other["deliveryId"], first["deliveryId"]);
    assert_eq!(receiver.exactly(2).await[1].body, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_from_the_shell_arrives_as_it_is_given() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let sent = answer(&run(&server, &["test-event", "ep_1"]).await);
    let arrivals = receiver.exactly(1).await;
    assert_eq!(arrivals[0].header("nahook-delivery-id"), sent["deliveryId"]);
    let sample: Value = serde_json::from_slice(&arrivals[0].body).unwrap();
    assert_eq!(sample["type"], "nahook.test");
    let payload = "{\"n\" :1e400}";
    std::fs::write(server.dir().join("event.json"), payload).unwrap();
    answer(&run(&server, &["test-event", "ep_1", "--payload", "@event.json"]).await);
    assert_eq!(receiver.exactly(2).await[1].body, payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_attempted_again_from_the_shell() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    // 410 ends a delivery at once and switches its endpoint off.
    receiver.reply("/1", [Reply::Status(410), Reply::Status(200)]);
    let sent = answer(&run(&server, &["send", "ep_1"]).await);
    let delivery = sent["deliveryId"].as_str().unwrap();
    let api = server.api_with(TOKEN);
    let base = "/management/v1/workspaces/ws_shop";
    let status = async || {
        let shown = api
            .get(&format!("{base}/deliveries/{delivery}"))
            .await
            .json();
        shown["status"].as_str().unwrap().to_owned()
    };
    let give_up = std::time::Instant::now() + SOON;
    while status().await != "failed" {
        assert!(std::time::Instant::now() < give_up, "{}", status().await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let on = json!({ "isActive": true }).to_string();
    let patched = api
        .send(http::Method::PATCH, &format!("{base}/endpoints/ep_1"), on)
        .await;
    assert_eq!(patched.unwrap().status, 200);

    let retried = answer(&run(&server, &["retry", delivery]).await);
    assert_eq!(
        retried,
        json!({ "deliveryId": delivery, "status": "queued" })
    );
    let arrivals = receiver.exactly(2).await;
    assert_eq!(arrivals[1].header("nahook-delivery-id"), delivery);
    while status().await != "delivered" {
        assert!(
            std::time::Instant::now() < give_up + SOON,
            "{}",
            status().await
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Nothing is left that was given up.
    let refused = run(&server, &["retry", delivery]).await;
    assert!(
        !refused.success && refused.stderr.contains("409"),
        "{}",
        refused.stderr
    );
    let since = ["retry", "--endpoint", "ep_1", "--since", "2026-01-01"];
    let none = answer(&run(&server, &since).await);
    assert_eq!(none, json!({ "retried": 0, "complete": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_from_the_shell_tells_who_and_why_not() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let told = answer(&run(&server, &["dry-run", "evt_order_paid"]).await);
    let fates: Vec<_> = told["endpoints"].as_array().unwrap().iter().collect();
    let fate = |id: &str| fates.iter().find(|fate| fate["endpointId"] == id).unwrap();
    assert_eq!(fate("ep_1")["wouldReceive"], true);
    assert_eq!(fate("ep_off")["reason"], "not_subscribed");
    let unknown = ["dry-run", "evt_order_paid", "--environment", "env_none"];
    let refused = run(&server, &unknown).await;
    assert!(
        !refused.success && refused.stderr.contains("404"),
        "{}",
        refused.stderr
    );
    assert_eq!(receiver.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_fails_and_shows_why() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    for (arguments, status, code) in [
        (&["send", "ep_none"][..], "404", "not_found"),
        (&["send", "ep_off"], "409", "endpoint_disabled"),
        (
            &[
                "send",
                "ep_1",
                "--api-key",
                "nhk_us_none_000000000000000000000000",
            ],
            "401",
            "unauthorized",
        ),
        (&["test-event", "ep_off"], "409", "endpoint_disabled"),
        (
            &["test-event", "ep_1", "--workspace", "ws_none"],
            "404",
            "not_found",
        ),
        (
            &[
                "test-event",
                "ep_1",
                "--token",
                "nhm_none_000000000000000000000000000",
            ],
            "401",
            "unauthorized",
        ),
        (
            &["retry", "del_00000000000000000000000000"],
            "404",
            "not_found",
        ),
        (
            &["retry", "--endpoint", "ep_1", "--since", "yesterday"],
            "400",
            "validation_error",
        ),
        (&["dry-run", "evt_none"], "404", "not_found"),
    ] {
        let ended = run(&server, arguments).await;
        assert!(!ended.success, "{arguments:?}: {}", ended.stdout);
        assert!(
            ended.stdout.contains(code),
            "{arguments:?}: {}",
            ended.stdout
        );
        assert!(
            ended.stderr.contains(status),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    for wrong in [
        &["send", "ep/1"][..],
        &["send", "ep_1", "--payload", "[1]"],
        &["send", "ep_1", "--idempotency-key", ""],
        &["send"],
        &["test-event", "../x"],
        &["test-event", "ep_1", "--payload", "7"],
        &["retry"],
        &["retry", "del_?"],
        &["retry", "--endpoint", "ep_1"],
        &["dry-run", "evt 1"],
    ] {
        let ended = run(&server, wrong).await;
        assert!(
            !ended.success && ended.stdout.is_empty(),
            "{wrong:?}: {}",
            ended.stdout
        );
        assert!(!ended.stderr.is_empty(), "{wrong:?}");
    }
    assert_eq!(receiver.len(), 0);
}
