//! The first start on an empty store, as the README promises it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::support::manifest::EVENT_TYPE;
use crate::support::process::Nahook;
use crate::support::receiver::Receiver;
use crate::support::server::Server;
use crate::support::shell::shell;
use crate::support::{SOON, until};

/// The word in the output that begins so.
fn word(text: &str, beginning: &str) -> String {
    let mut words = text.split(|c: char| c.is_whitespace() || c == '\'' || c == '=');
    words
        .find(|word| word.starts_with(beginning))
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

/// Everything that is kept on disk.
fn bytes_on_disk(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(bytes_on_disk(&path));
        } else {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_line_is_accepted_and_the_webhooks_are_seen_to_arrive() {
    let mut server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    let line = server.process.line("curl ").await;

    let (status, body) = shell(server.dir(), &line).await;

    assert_eq!(status, 202, "{body}");
    let receipt: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        receipt["deliveryIds"].as_array().unwrap().len(),
        2,
        "{body}"
    );
    assert_eq!(receipt["failures"].as_array().unwrap().len(), 0, "{body}");
    let logged = server.process.stderr.clone();
    let valid = ["sample endpoint received", "\"signature\":\"valid\""];
    let arrived = || (logged.count(&valid) == 2).then_some(());
    until(SOON, "two valid signatures are logged", arrived).await;
    assert_eq!(logged.count(&["sample endpoint received"]), 2);
    assert!(
        logged.find("ord_123").is_some(),
        "the inbox shows the payload"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inbox_stays_where_it_is_when_a_tenant_moves_a_sample_endpoint() {
    let victim = Receiver::start().await;
    let mut server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    server.process.line("curl ").await;
    let file = server.dir().join("nahook-data/first-start.env");
    let text = std::fs::read_to_string(&file).unwrap();
    let (key, token, workspace) = (word(&text, "nhk_"), word(&text, "nhm_"), word(&text, "ws_"));
    let path = format!("management/v1/workspaces/{workspace}/endpoints/ep_sample_1");
    let url = victim.url("/");
    let moving = format!(
        "curl -X PATCH http://{}/{path} -H 'Authorization: Bearer {token}' -d '{{\"url\":\"{url}\"}}'",
        server.address
    );
    assert_eq!(shell(server.dir(), &moving).await.0, 200);
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());

    server.start_again().await;
    let triggered = server.api_with(&key).trigger(EVENT_TYPE, "{}").await;
    assert_eq!(triggered.delivery_ids().len(), 2);
    let logged = server.process.stderr.clone();
    let arrived = || logged.find("sample endpoint received").map(drop);
    until(SOON, "the other sample endpoint's webhook", arrived).await;
    assert_eq!(victim.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once_and_kept_by_nobody() {
    let mut server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    server.process.line("curl ").await;
    let file = server.dir().join("nahook-data/first-start.env");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let (key, token) = (word(&text, "nhk_"), word(&text, "nhm_"));
    // It is no terminal: it may be kept for years.
    let printed = server.process.stdout.text();
    assert!(printed.contains(file.to_str().unwrap()), "{printed}");
    assert!(
        !printed.contains(&key) && !printed.contains(&token),
        "{printed}"
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        (key.len(), token.len()),
        ("nhk_us_".len() + 64, "nhm_".len() + 64)
    );

    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());
    let stored = bytes_on_disk(&server.dir().join("nahook-data"));
    assert!(
        holds(&stored, EVENT_TYPE),
        "this looks into the wrong files"
    );
    assert!(!holds(&stored, &key) && !holds(&stored, &token));
    let logged = server.process.stderr.text();
    assert!(
        !logged.contains(&key) && !logged.contains(&token),
        "{logged}"
    );

    server.start_again().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let text = server.process.stdout.text();
    assert!(
        !text.contains("nhk_") && !text.contains("nhm_") && !text.contains("curl"),
        "{text}"
    );
    assert!(!file.exists());
    // The key is the same, and so are the endpoints.
    assert_eq!(
        server
            .api_with(&key)
            .trigger(EVENT_TYPE, "{}")
            .await
            .delivery_ids()
            .len(),
        2
    );
    // A token is not a key.
    server
        .api_with(&token)
        .trigger(EVENT_TYPE, "{}")
        .await
        .assert_error(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_sample_nothing_is_subscribed() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir, &["--sample", "false"]).await;
    let line = server.process.line("curl ").await;

    let (status, body) = shell(server.dir(), &line).await;

    assert_eq!(status, 202, "{body}");
    assert!(body.contains("\"deliveryIds\":[]"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_empty_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("manifest.toml");
    std::fs::write(&manifest, "[[workspaces]]\nname = 'Own'\n").unwrap();
    let applied = Nahook::run(dir.path(), &["apply", manifest.to_str().unwrap()]).await;
    assert!(applied.success, "{}", applied.stderr);
    let server = Server::start(dir, &[]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let text = server.process.stdout.text();
    assert!(!text.contains("nhk_"), "{text}");
    let keys = Nahook::run(server.dir(), &["keys", "list"]).await;
    assert_eq!((keys.success, keys.stdout.trim()), (true, ""));
}
