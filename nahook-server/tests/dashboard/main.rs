//! The dashboard and the portal in a real browser, against the real program. The stories are in `browser/`, one function each.
//!
//! In each of them the console stays empty, nothing violates the pages' policy, and no request leaves the origin.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod stories;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The management token of every manifest here.
const TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000e2";

/// A workspace with these endpoints, and a token to sign in with.
fn shop(endpoints: Vec<Value>) -> Value {
    let mut manifest = support::manifest::shop(endpoints);
    manifest["workspaces"][0]["management_tokens"] = json!([{ "name": "test", "token": TOKEN }]);
    manifest
}

/// Lets the browser go through a story. What it is told comes as JSON; a story that fails says where, and leaves a screenshot in the
/// test's output folder.
async fn tell(story: &'static str, facts: Value) {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    std::fs::create_dir_all(&output).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/dashboard/browser/main.mjs"
    );
    let mut browser = Command::new("node");
    browser
        .args([script, story, &facts.to_string()])
        .env("NAHOOK_BROWSER", nahook_testserver::browser())
        .env("NAHOOK_BROWSER_OUTPUT", output);
    let told = tokio::task::spawn_blocking(move || browser.output());
    let told = told.await.unwrap().unwrap();
    let (said, failed) = (&told.stdout, &told.stderr);
    assert!(
        told.status.success(),
        "{story}:\n{}\n{}",
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(failed)
    );
}
