//! The OpenAPI document is true: schemathesis, with all its checks, against the real program.
//!
//! `NAHOOK_SCHEMATHESIS_EXAMPLES` says how many cases each operation gets, and has every phase run;
//! `NAHOOK_SCHEMATHESIS_SEED` says which.
#![cfg(test)]

mod support;

use std::process::{Command, Output};

use serde_json::{Value, json};

use self::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use self::support::server::Server;

const TOKEN: &str = "nhm_0000000000000000000000000000000000000000000000000000000000000001";
const OTHER_TOKEN: &str = "nhm_0000000000000000000000000000000000000000000000000000000000000002";
/// Variable with the number of cases for each operation.
const EXAMPLES: &str = "NAHOOK_SCHEMATHESIS_EXAMPLES";
const EXAMPLES_DEFAULT: &str = "3";
/// Operations that would take the run's own token away.
const OF_TOKENS: [&str; 2] = ["revokeManagementToken", "updateManagementToken"];

fn manifest() -> Value {
    // Nobody listens there: deliveries are made and fail.
    let mut manifest = shop(vec![endpoint("ep_1", "http://127.0.0.1:9/")]);
    manifest["workspaces"][0]["management_tokens"] = json!([
        { "id": "tok_1", "name": "one", "token": TOKEN },
        { "id": "tok_2", "name": "two", "token": OTHER_TOKEN },
    ]);
    manifest
}

/// Runs it with these arguments in a folder of its own; panics with what it printed if it found something.
async fn run(server: &Server, secret: &str, arguments: &[&str]) {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let dir = tempfile::tempdir().unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml");
    let mut command = Command::new(nahook_testserver::python());
    command
        .current_dir(dir.path())
        .args(["-m", "schemathesis.cli", "--config-file", config, "run"])
        .arg(format!("http://{}/openapi.json", server.address))
        .arg("-H")
        .arg(format!("Authorization: Bearer {secret}"))
        .args(["--checks", "all", "--no-color", "--workers", "1"])
        .args(["--suppress-health-check", "all"])
        .args(["--max-examples", &setting(EXAMPLES, EXAMPLES_DEFAULT)])
        .args(["--seed", &setting("NAHOOK_SCHEMATHESIS_SEED", "1")])
        .args(arguments);
    if std::env::var_os(EXAMPLES).is_none() {
        command.args(["--phases", "examples,fuzzing,stateful"]);
    }
    let ended = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.unwrap().unwrap();
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    assert!(status.success(), "{text}");
    // How much was asked is worth nothing unless somebody can see it.
    for line in text.lines().filter(|line| line.contains(" generated")) {
        println!("schemathesis: {}", line.trim());
    }
}

/// Returns the number of requests that were answered so.
async fn answered(server: &Server, route: &str, status: &str) -> u64 {
    let text = server.metrics().await;
    let labels = [format!("route=\"{route}\""), format!("status=\"{status}\"")];
    let lines = text.lines().filter(|line| {
        line.starts_with("nahook_http_requests_total")
            && labels.iter().all(|label| line.contains(label))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_management_api_is_what_the_document_says() {
    let server = Server::with(&manifest()).await;
    for _ in 0..3 {
        assert_eq!(server.api().trigger(EVENT_TYPE, "{}").await.status, 202);
    }
    let mut arguments = vec!["--include-path-regex", "^/management"];
    for operation in OF_TOKENS {
        arguments.extend(["--exclude-operation-id", operation]);
    }
    run(&server, TOKEN, &arguments).await;
    for (status, least) in [
        ("200", 20),
        ("201", 10),
        ("204", 2),
        ("400", 20),
        ("404", 10),
    ] {
        let count = answered(&server, "management", status).await;
        assert!(count >= least, "only {count} answers with {status}");
    }
    let mut arguments = Vec::new();
    for operation in OF_TOKENS {
        arguments.extend(["--include-operation-id", operation]);
    }
    run(&server, OTHER_TOKEN, &arguments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ingestion_api_is_what_the_document_says() {
    let server = Server::with(&manifest()).await;
    run(&server, KEY, &["--include-path-regex", "/ingest/"]).await;
    let accepted = answered(&server, "trigger", "202").await;
    assert!(accepted >= 1, "only {accepted} were accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_key_is_told_anything_else() {
    let server = Server::with(&manifest()).await;
    for secret in [
        "nhm_unknown_000000000000000000000000",
        "nhk_us_unknown_000000000000000000000",
    ] {
        run(&server, secret, &[]).await;
    }
    for status in ["200", "201", "202", "204", "207"] {
        for route in ["management", "trigger"] {
            assert_eq!(
                answered(&server, route, status).await,
                0,
                "{route} {status}"
            );
        }
    }
    assert!(answered(&server, "management", "401").await > 50);
}
