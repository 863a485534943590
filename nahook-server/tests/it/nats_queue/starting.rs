//! Starts that are refused, and first ones.

use std::path::Path;

use nahook_testserver::{NatsOptions, NatsServer};

use crate::support::process::Nahook;
use crate::support::server::Server;
use crate::support::shell::shell;
use crate::support::{SOON, until};

/// Starts the program, which must refuse to; answers what it says.
pub(crate) async fn refusal(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
    let ended = Nahook::start_with(dir, &arguments, env).ended(SOON).await;
    assert!(!ended.success, "{arguments:?}: {}", ended.stdout);
    ended.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_works_over_nats_as_printed() {
    let nats = NatsServer::start();
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir, &["--queue", &nats.url()]).await;
    let line = server.process.line("curl ").await;
    let (status, body) = shell(server.dir(), &line).await;
    assert_eq!(status, 202, "{body}");
    let logged = server.process.stderr.clone();
    let valid = ["sample endpoint received", "\"signature\":\"valid\""];
    let arrived = || (logged.count(&valid) == 2).then_some(());
    until(SOON, "two valid signatures are logged", arrived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_refuses_is_said_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let nats = NatsOptions::new().user("nahook", "right").start();
    let wrong = nats.url_with("nahook:hunter2");
    let said = refusal(dir.path(), &["--queue", &wrong], &[]).await;
    assert!(said.contains("the NATS server refused"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");

    nats.kill();
    let said = refusal(dir.path(), &["--queue", &wrong], &[]).await;
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_with_other_settings_are_left_alone_and_named() {
    let nats = NatsServer::start();
    let dir = tempfile::tempdir().unwrap();
    let mut first = Server::start(dir, &["--queue", &nats.url(), "--nats-storage", "memory"]).await;
    first.process.kill();
    let dir = tempfile::tempdir().unwrap();
    let said = refusal(dir.path(), &["--queue", &nats.url()], &[]).await;
    assert!(
        said.contains("NAHOOK_DELIVERIES") && said.contains("storage"),
        "{said}"
    );
    // Another prefix is another queue.
    Server::start(
        dir,
        &["--queue", &nats.url(), "--nats-prefix", "shop.hooks"],
    )
    .await;
    assert_eq!(nats.messages("SHOP-HOOKS_DELIVERIES"), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_may_come_from_a_file() {
    let nats = NatsOptions::new().token("s3cret").start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nahook.toml");
    let text = format!(
        "queue = '{}'\n[nats]\nprefix = 'filed'\ntoken = 's3cret'\nbytes_max = 1000000\n",
        nats.url()
    );
    std::fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap().to_owned();
    Server::start(dir, &["--config", &config]).await;
    assert_eq!(nats.messages("FILED_DELIVERIES"), Some(0));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nahook.toml");
    std::fs::write(&file, "[nats]\ncolour = 'red'\n").unwrap();
    let said = refusal(dir.path(), &["--config", file.to_str().unwrap()], &[]).await;
    assert!(said.contains("colour"), "{said}");
}
