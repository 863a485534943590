//! The crate `nahook`, whose package carries its suites.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::run;
use crate::support::server::Server;

/// Runs its integration suites.
pub(crate) async fn passes(server: &Server) {
    // Out of our workspace's reach, which would claim it.
    let dir = tempfile::tempdir().unwrap();
    copy(&package(), dir.path());
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/published-suites");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(dir.path())
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // The others want files that are not in the package, or a server of their own.
        .args(["test", "--test", "integration_test"])
        .args(["--test", "management_integration_test"])
        .args(["--", "--nocapture"]);
    let text = run(command, server).await;
    assert!(!text.contains("skipping"), "{text}");
    for suite in ["integration_test", "management_integration_test"] {
        let name = format!("tests/{suite}.rs");
        assert!(text.contains(&name), "{name} did not run:\n{text}");
    }
}

/// Returns the folder in which cargo keeps the package.
fn package() -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let found = packages
        .find(|package| package["name"] == "nahook")
        .unwrap();
    let manifest = Path::new(found["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}
