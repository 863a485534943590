//! The dependency rules between the crates (ARCHITECTURE.md), read off the manifests themselves, and within them.
#![cfg(test)]

mod modules;
mod supply;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
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
    // The pages do what the Management API does, by its code, and show signatures as they were sent.
    ("nahook-dashboard", PAGES, &[TESTKIT, MEMORY]),
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
    (
        "nahook-sqlite",
        LIBRARIES,
        &[TESTKIT, MEMORY, "nahook-testserver"],
    ),
    (TESTKIT, PORTS, &[MEMORY]),
    // The parts that move, together, with nothing real around them.
    ("nahook-simulation", SIMULATED, &[]),
    ("nahook-testserver", &[], &[]),
];

const QUEUE: &str = "nahook-queue";
const CONTROL: &str = "nahook-control";
const MEMORY: &str = "nahook-memory";
const TESTKIT: &str = "nahook-testkit";
const PORTS: &[&str] = &["nahook-core", QUEUE, CONTROL];
const LIBRARIES: &[&str] = &["nahook-core", QUEUE, CONTROL, "nahook-supervision"];

const PAGES: &[&str] = &[
    "nahook-core",
    QUEUE,
    CONTROL,
    "nahook-delivery",
    "nahook-http",
];

const SIMULATED: &[&str] = &[
    "nahook-core",
    QUEUE,
    CONTROL,
    MEMORY,
    "nahook-delivery",
    TESTKIT,
];

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

/// For each published crate the largest number of crates that it may consist of with its default features, itself included.
const CRATES_MAX: &[(&str, usize)] = &[
    ("nahook-core", 45),
    (QUEUE, 45),
    ("nahook-supervision", 20),
    ("nahook-receive", 40),
    // URLs of endpoints are judged as the web does: the tables of Unicode are half of these.
    (CONTROL, 80),
    (MEMORY, 85),
    (TESTKIT, 90),
    // The bundled SQLite.
    ("nahook-sqlite", 95),
    // axum.
    ("nahook-http", 120),
    // The front end, the signatures of deliveries, and templates.
    ("nahook-dashboard", 170),
    // An HTTP client with TLS: hyper, rustls and the certificates.
    ("nahook-delivery", 120),
    // `tokio-postgres` with TLS.
    ("nahook-postgres", 140),
    // `async-nats`, which has TLS, too.
    ("nahook-nats", 150),
    // Delivery and the bundled SQLite.
    ("nahook-embed", 140),
    // Everything.
    ("nahook-server", 285),
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
    let lines = lines_below(Path::new(root));
    assert!((3_000..=4_500).contains(&lines), "{lines} lines");
}

fn lines_below(path: &Path) -> usize {
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
    let folders = ["nahook-core", "nahook-simulation"];
    let entries = folders.map(|of| std::fs::read_dir(format!("{root}/{of}/planted-bugs")).unwrap());
    for entry in entries.into_iter().flatten() {
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
    assert!(patches >= 30, "{patches} patches");
}

/// The packages that a registry may get.
fn published() -> Vec<Value> {
    let is_published = |package: &Value| package["publish"].is_null();
    packages().into_iter().filter(is_published).collect()
}

#[test]
fn published_crates_consist_of_few() {
    let names: BTreeSet<_> = CRATES_MAX
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let published = published().into_iter();
    let published = published.map(|package| package["name"].as_str().unwrap().to_owned());
    assert_eq!(names, published.collect::<BTreeSet<_>>());
    for (name, max) in CRATES_MAX {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--edges", "normal", "--prefix", "none"])
            .args(["--offline", "--package", name])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let tree = String::from_utf8(output.stdout).unwrap();
        let crates: BTreeSet<_> = tree.lines().map(|it| it.trim_end_matches(" (*)")).collect();
        println!("{name}: {} of at most {max}", crates.len());
        assert!((1..=*max).contains(&crates.len()), "{name}: {crates:#?}");
    }
}

#[test]
fn published_crates_tell_a_registry_what_it_shows() {
    let front = include_str!("../../../README.md");
    for package in published() {
        let name = package["name"].as_str().unwrap();
        let rust = package["rust_version"].as_str().unwrap();
        assert!(front.contains(&format!("Rust {rust} and newer")), "{name}");
        for field in [
            "description",
            "license",
            "repository",
            "readme",
            "rust_version",
        ] {
            assert!(package[field].is_string(), "{name} has no {field}");
        }
        for (field, max) in [("categories", 5), ("keywords", 5)] {
            let listed = package[field].as_array().unwrap().len();
            assert!((1..=max).contains(&listed), "{name}: {listed} {field}");
        }
        let folder = Path::new(package["manifest_path"].as_str().unwrap())
            .parent()
            .unwrap();
        let library = std::fs::read_to_string(folder.join("src/lib.rs")).unwrap();
        let readme = r#"doc = include_str!("../README.md")"#;
        assert!(
            library.contains(readme),
            "{name} documents something else than its README"
        );
        if !package["features"].as_object().unwrap().is_empty() {
            let shown = &package["metadata"]["docs"]["rs"];
            assert_eq!(shown["all-features"], true, "{name}");
            assert!(
                library.contains("#![cfg_attr(docsrs, feature(doc_cfg))]"),
                "{name}"
            );
        }
        // What is by path alone cannot be had from a registry.
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_of_tests = dependency["kind"] == "dev";
            let has_version = dependency["req"] != "*";
            assert!(is_of_tests || has_version, "{name}: {}", dependency["name"]);
        }
    }
}

/// The tests are compiled by the oldest compiler that the crates claim to need, or by a newer one.
#[test]
fn the_compiler_is_not_older_than_the_crates_say() {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let version = version.split(' ').nth(1).unwrap().to_owned();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    for package in published() {
        let needed = package["rust_version"].as_str().unwrap();
        assert!(minor(needed) <= minor(&version), "{needed}, {version}");
    }
}
