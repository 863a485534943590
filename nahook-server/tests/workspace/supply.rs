//! The crates that the server is linked from: their licences, their sources, and which of them there are twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that a crate may be used under.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// The one source besides the workspace itself.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates of which there are several versions, because others have not moved on. One that is gone from here must not come
/// back, and a new one needs a reason.
const REPEATED: &[&str] = &[
    // RustCrypto's releases of 2026, which `async-nats` and `x509-cert` do not use yet.
    "base64",
    "block-buffer",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "digest",
    "sha2",
    // Random numbers of three years.
    "getrandom",
    "rand",
    "rand_chacha",
    "rand_core",
    // `sqlx` and `rusqlite`.
    "fallible-iterator",
    "hashbrown",
    // Macros.
    "syn",
];

/// Crates that must not be linked: OpenSSL, whose work `rustls` does, and a second provider of cryptography.
const BANNED: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

/// The packages that the server is linked from on this machine.
fn linked() -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let arguments = [
        "metadata",
        "--format-version",
        "1",
        "--offline",
        "--filter-platform",
    ];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg(host.unwrap())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let nodes = list(&metadata["resolve"]["nodes"]).into_iter();
    let nodes: BTreeMap<_, _> = nodes.map(|node| (node["id"].to_string(), node)).collect();
    let packages = list(&metadata["packages"]).into_iter();
    let packages: BTreeMap<_, _> = packages.map(|it| (it["id"].to_string(), it)).collect();
    let server = packages
        .iter()
        .find(|(_, it)| it["name"] == "nahook-server");
    let mut left = vec![server.unwrap().0.clone()];
    let mut found = BTreeSet::new();
    while let Some(id) = left.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        let links = |dependency: &Value| {
            list(&dependency["dep_kinds"])
                .iter()
                .any(|it| it["kind"].is_null())
        };
        let dependencies = list(&nodes[&id]["deps"]).into_iter().filter(links);
        left.extend(dependencies.map(|it| it["pkg"].to_string()));
    }
    found.iter().map(|id| packages[id].clone()).collect()
}

/// Returns true if a licence expression can be met: each of its `AND` parts by one of its alternatives.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    expression.split(" AND ").all(|part| {
        let mut alternatives = part.split(" OR ").map(str::trim);
        alternatives.any(|licence| LICENCES.contains(&licence))
    })
}

#[test]
fn every_linked_crate_has_a_licence_that_is_allowed() {
    let refused: Vec<_> = linked()
        .iter()
        .filter(|it| !it["license"].as_str().is_some_and(is_allowed))
        .map(|it| format!("{} {}", it["name"], it["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(is_allowed("MIT/Apache-2.0") && is_allowed("(MIT OR GPL-3.0) AND ISC"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0"));
}

#[test]
fn every_linked_crate_is_from_the_registry_and_none_is_banned() {
    for package in linked() {
        let (name, source) = (&package["name"], &package["source"]);
        assert!(source.is_null() || source == REGISTRY, "{name}: {source}");
        assert!(!BANNED.iter().any(|banned| name == banned), "{name}");
    }
}

/// `cargo deny` looks at all crates of the workspace and at their advisories, where it is installed.
#[test]
fn cargo_deny_goes_by_the_same_rules() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml");
    let rules: toml::Value = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let texts = |value: &toml::Value| -> Vec<String> {
        let values = value.as_array().unwrap().iter();
        values.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&rules["licenses"]["allow"]), LICENCES);
    assert_eq!(texts(&rules["bans"]["deny"]), BANNED);
    let registry = REGISTRY.trim_start_matches("registry+");
    assert_eq!(texts(&rules["sources"]["allow-registry"]), [registry]);
}

#[test]
fn linked_crates_of_several_versions_are_known() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in linked() {
        *versions
            .entry(package["name"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    versions.retain(|_, count| *count > 1);
    let repeated: BTreeSet<_> = versions.keys().map(String::as_str).collect();
    assert_eq!(repeated, REPEATED.iter().copied().collect());
}
