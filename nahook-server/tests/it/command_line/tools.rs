//! `nahook trigger`, `nahook listen` and `nahook demo`.

use std::time::Duration;

use crate::support::manifest::{EVENT_TYPE, KEY, SECRET, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::Receiver;
use crate::support::server::{Server, announced_address};
use crate::support::{SOON, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_triggered_from_the_shell_is_seen_by_the_listener() {
    let dir = tempfile::tempdir().unwrap();
    let listen = ["listen", "--listen", "127.0.0.1:0", "--secret", SECRET];
    let mut listener = Nahook::start(dir.path(), &listen);
    let inbox = announced_address(&mut listener).await;
    let server = Server::with(&shop(vec![endpoint(
        "ep_1",
        &format!("http://{inbox}/hook"),
    )]))
    .await;
    let url = format!("http://{}", server.address);

    let payload = "{\"order_id\" : \"ord_123\", \"amount\":49.990}";
    let arguments = [
        "trigger",
        EVENT_TYPE,
        "--payload",
        payload,
        "--metadata",
        "source=shell=1",
        "--url",
        &url,
    ];
    let triggered = Nahook::run_with(server.dir(), &arguments, &[("NAHOOK_API_KEY", KEY)]).await;

    assert!(triggered.success, "{}", triggered.stderr);
    let receipt: serde_json::Value = serde_json::from_str(&triggered.stdout).unwrap();
    assert_eq!(receipt["deliveryIds"].as_array().unwrap().len(), 1);
    let seen = listener.line("/hook").await;
    for part in ["order.paid", "attempt 1", "signature valid", "msg_"] {
        assert!(seen.contains(part), "{seen}");
    }
    let printed = listener.stdout.clone();
    until(SOON, "the payload is printed", || printed.find(payload)).await;
    listener.terminate();
    assert!(listener.exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_tells_a_wrong_signature_and_answers_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let other = "whsec_b3RoZXJfc2VjcmV0X290aGVyX3NlY3JldF8zMmJ5dGU=";
    let listen = [
        "listen",
        "--listen",
        "127.0.0.1:0",
        "--secret",
        other,
        "--status",
        "500",
    ];
    let mut listener = Nahook::start(dir.path(), &listen);
    let inbox = announced_address(&mut listener).await;
    let server = Server::with(&shop(vec![endpoint(
        "ep_1",
        &format!("http://{inbox}/hook"),
    )]))
    .await;
    server.trigger("{}").await;
    let seen = listener.line("/hook").await;
    assert!(seen.contains("signature INVALID"), "{seen}");
    // Told to answer 500, it sees the delivery again.
    listener.line("attempt 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_reads_signing_secrets_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let other = "whsec_b3RoZXJfc2VjcmV0X290aGVyX3NlY3JldF8zMmJ5dGU=";
    let listen = [
        "listen",
        "--listen",
        "127.0.0.1:0",
        "--secret-file",
        "secrets",
    ];
    // A file without a secret does not mean that none is checked.
    std::fs::write(dir.path().join("secrets"), "\n").unwrap();
    let refused = Nahook::run(dir.path(), &listen).await;
    assert!(!refused.success, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("--secret-file"),
        "{}",
        refused.stderr
    );

    std::fs::write(
        dir.path().join("secrets"),
        format!("{other}\r\n {SECRET}\n\n"),
    )
    .unwrap();
    let mut listener = Nahook::start(dir.path(), &listen);
    let inbox = announced_address(&mut listener).await;
    let server = Server::with(&shop(vec![endpoint(
        "ep_1",
        &format!("http://{inbox}/hook"),
    )]))
    .await;
    server.trigger("{}").await;
    let seen = listener.line("/hook").await;
    assert!(seen.contains("signature valid"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_comes_from_a_file_unchanged() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let payload = "{\n  \"a\": 1.0,\n  \"b\": \"ä\"\n}";
    std::fs::write(server.dir().join("payload.json"), format!("{payload}\n")).unwrap();
    let url = format!("http://{}/", server.address);
    let arguments = [
        "trigger",
        EVENT_TYPE,
        "--payload",
        "@payload.json",
        "--url",
        &url,
        "--api-key",
        KEY,
    ];
    let triggered = Nahook::run(server.dir(), &arguments).await;
    assert!(triggered.success, "{}", triggered.stderr);
    assert_eq!(receiver.exactly(1).await[0].body, payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_not_accepted_fails_and_shows_why() {
    let server = Server::with(&shop(vec![])).await;
    let url = format!("http://{}", server.address);
    let trigger = async |arguments: &[&str]| {
        let arguments = [&["trigger"], arguments, &["--api-key", KEY]].concat();
        let ended = Nahook::run(server.dir(), &arguments).await;
        assert!(
            !ended.success && !ended.stderr.contains(KEY),
            "{}",
            ended.stderr
        );
        ended
    };
    let refused = trigger(&["order.unheard-of", "--url", &url]).await;
    assert!(
        refused.stdout.contains("not_found") && refused.stderr.contains("404"),
        "{}",
        refused.stderr
    );
    let unreachable = trigger(&[EVENT_TYPE, "--url", "http://127.0.0.1:1"]).await;
    assert!(
        unreachable.stderr.contains("request failed"),
        "{}",
        unreachable.stderr
    );
    for wrong in [
        &["order paid", "--url", &url][..],
        &[EVENT_TYPE, "--url", &url, "--payload", "[1]"],
        &[EVENT_TYPE, "--url", &url, "--payload", "@missing.json"],
        &[EVENT_TYPE, "--url", &url, "--metadata", "no-value"],
    ] {
        let ended = trigger(wrong).await;
        assert!(
            ended.stderr.starts_with("nahook: ") && ended.stdout.is_empty(),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trigger_without_a_server_says_why_it_failed() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["trigger", EVENT_TYPE, "--url", "http://127.0.0.1:1"];
    let triggered = Nahook::run_with(dir.path(), &arguments, &[("NAHOOK_API_KEY", KEY)]).await;
    assert!(!triggered.success);
    let said = triggered.stderr;
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_everything_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Nahook::start(dir.path(), &["demo"])
        .ended(Duration::from_secs(15))
        .await;
    assert!(demo.success, "{}\n{}", demo.stdout, demo.stderr);
    for part in [
        "202",
        "deliveryIds",
        "signature valid",
        "answers 500",
        "delivered",
        "again in",
    ] {
        assert!(
            demo.stdout.contains(part),
            "no {part:?} in:\n{}",
            demo.stdout
        );
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "the demo leaves nothing behind: {left:?}");
}
