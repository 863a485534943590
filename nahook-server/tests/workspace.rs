//! The dependency rules between the crates (ARCHITECTURE.md), read off the manifests themselves.
#![expect(clippy::unwrap_used, reason = "what a test calls fails like a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// For each library of the workspace: what it may depend on, and what it may besides in its own tests.
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("nahook-core", &[], &[TESTKIT, MEMORY, CONTROL, QUEUE]),
    (QUEUE, &["nahook-core"], &[TESTKIT, MEMORY, CONTROL]),
    (CONTROL, &["nahook-core"], &[TESTKIT, MEMORY]),
    (MEMORY, PORTS, &[TESTKIT]),
    // It knows nothing of webhooks.
    ("nahook-supervision", &[], &[]),
    ("nahook-delivery", LIBRARIES, &[TESTKIT, MEMORY]),
    ("nahook-http", LIBRARIES, &[TESTKIT, MEMORY]),
    // For programs that receive webhooks and have nothing else of nahook. Its tests receive what the sender signs.
    ("nahook-receive", &[], &["nahook-delivery"]),
    (
        "nahook-nats",
        LIBRARIES,
        &[TESTKIT, MEMORY, "nahook-testserver"],
    ),
    (
        "nahook-postgres",
        LIBRARIES,
        &[TESTKIT, "nahook-testserver"],
    ),
    ("nahook-sqlite", LIBRARIES, &[TESTKIT, MEMORY]),
    (TESTKIT, PORTS, &[MEMORY]),
    ("nahook-testserver", &[], &[]),
];

const QUEUE: &str = "nahook-queue";
const CONTROL: &str = "nahook-control";
const MEMORY: &str = "nahook-memory";
const TESTKIT: &str = "nahook-testkit";
const PORTS: &[&str] = &["nahook-core", QUEUE, CONTROL];
const LIBRARIES: &[&str] = &["nahook-core", QUEUE, CONTROL, "nahook-supervision"];

/// Crates that may depend on everything.
const COMPOSERS: &[&str] = &[
    "nahook-embed",
    "nahook-server",
    "nahook-examples",
    "nahook-benches",
    "nahook-instructions",
    "nahook-load",
];

/// Crates from outside that core may use: no runtime with I/O, no HTTP, no database.
const CORE_USES: &[&str] = &[
    "async-trait",
    // Makes references and `Arc`s of an adapter adapters.
    "auto_impl",
    "bytes",
    "futures-util",
    "rand",
    "serde",
    "serde_json",
    "thiserror",
    "tokio",
    // Spans: nothing is written by it.
    "tracing",
    "ulid",
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The names of a package's dependencies: those of its library and those of its tests.
fn dependencies(package: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut of_library = BTreeSet::new();
    let mut of_tests = BTreeSet::new();
    for dependency in package["dependencies"].as_array().unwrap() {
        let name = dependency["name"].as_str().unwrap().to_owned();
        if dependency["kind"] == "dev" {
            &mut of_tests
        } else {
            &mut of_library
        }
        .insert(name);
    }
    (of_library, of_tests)
}

#[test]
fn every_crate_depends_only_on_what_its_layer_may_know() {
    let rules: BTreeMap<_, _> = RULES
        .iter()
        .map(|(name, own, tests)| (*name, (own, tests)))
        .collect();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if COMPOSERS.contains(&name) {
            continue;
        }
        let (own_allowed, tests_allowed) = rules
            .get(name)
            .unwrap_or_else(|| panic!("no rule for {name}: add it with its reason"));
        let (of_library, of_tests) = dependencies(&package);
        let of_workspace = |name: &&String| name.starts_with("nahook-");
        for dependency in of_library.iter().filter(of_workspace) {
            assert!(
                own_allowed.contains(&dependency.as_str()),
                "{name} depends on {dependency}"
            );
        }
        for dependency in of_tests.iter().filter(of_workspace) {
            let allowed = own_allowed.iter().chain(tests_allowed.iter());
            assert!(
                allowed.clone().any(|allowed| allowed == dependency),
                "the tests of {name} depend on {dependency}"
            );
        }
    }
}

#[test]
fn core_knows_nothing_of_the_outside() {
    let packages = packages();
    let core = packages
        .iter()
        .find(|package| package["name"] == "nahook-core")
        .unwrap();
    for dependency in dependencies(core).0 {
        assert!(
            CORE_USES.contains(&dependency.as_str()),
            "nahook-core uses {dependency}"
        );
    }
    let tokio = core["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["name"] == "tokio")
        .unwrap();
    for feature in ["net", "fs", "process", "signal", "full"] {
        assert!(
            !tokio["features"]
                .as_array()
                .unwrap()
                .contains(&feature.into()),
            "tokio/{feature}"
        );
    }
}

/// An embedder who only fans out meets few names.
#[test]
fn core_has_at_most_fifty_names_at_its_root_and_4500_lines() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../nahook-core/src");
    let lib = std::fs::read_to_string(format!("{root}/lib.rs")).unwrap();
    let mut names = 0;
    for item in lib.split(';') {
        let item = item.trim();
        if item.contains("pub mod ") {
            names += 1;
        } else if let Some((_, path)) = item.split_once("pub use ") {
            assert!(!path.contains('*'), "{path}: name what is exported");
            let list = path.rsplit("::").next().unwrap();
            let listed = list.trim_matches(['{', '}']).split(',');
            names += listed.filter(|name| !name.trim().is_empty()).count();
        }
    }
    assert!((30..=50).contains(&names), "{names} names");
    let lines = lines_below(std::path::Path::new(root));
    assert!((3_000..=4_500).contains(&lines), "{lines} lines");
}

fn lines_below(path: &std::path::Path) -> usize {
    if path.is_file() {
        return std::fs::read_to_string(path).unwrap().lines().count();
    }
    let entries = std::fs::read_dir(path).unwrap();
    entries
        .map(|entry| lines_below(&entry.unwrap().path()))
        .sum()
}

/// A patch that no longer applies would plant nothing, and the script that plants them is run seldom.
#[test]
fn every_planted_bug_still_applies() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut patches = 0;
    for entry in std::fs::read_dir(format!("{root}/nahook-core/planted-bugs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "patch") {
            continue;
        }
        patches += 1;
        let checked = Command::new("git")
            .args(["apply", "--check"])
            .arg(&path)
            .current_dir(root)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {said}", path.display());
    }
    assert!(patches >= 20, "{patches} patches");
}
