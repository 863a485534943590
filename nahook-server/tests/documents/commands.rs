//! Commands in documents name programs, packages, scripts, subcommands and flags that exist.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;

use serde_json::Value;

use crate::markdown::{Document, files, root};
use crate::{check_documents, problems, program, shell};

/// Returns the problems of the commands of a document.
fn check_commands(document: &Document) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    let mut check = |line: usize, words: &[String], is_whole: bool| {
        if let Err(problem) = check_command(words, is_whole) {
            wrong.push((line, format!("{}: {problem}", words.join(" "))));
        }
    };
    for block in document.blocks() {
        if ["sh", "bash", "shell", "console"].contains(&block.language.as_str()) {
            for (line, words) in shell::commands(&block.text) {
                check(block.line + 1 + line, &words, true);
            }
        }
    }
    for (line, code) in document.spans() {
        for (_, words) in shell::commands(&code) {
            check(line, &words, false);
        }
    }
    wrong
}

fn check_command(words: &[String], is_whole: bool) -> Result<(), String> {
    let words = shell::without_environment(words);
    match words.first().map(String::as_str) {
        Some("nahook") => program::check(&words[1..], is_whole),
        Some("cargo") if words.len() > 1 => check_cargo(&words[1..]),
        Some(script) if script.starts_with("scripts/") => {
            let metadata = root().join(script).metadata().map_err(|e| e.to_string())?;
            let is_executable = metadata.permissions().mode() & 0o111 != 0;
            is_executable
                .then_some(())
                .ok_or("it is no program".to_owned())
        }
        _ => Ok(()),
    }
}

/// The commands of cargo that documents may name.
const CARGO: &[&str] = &[
    "bench", "build", "clippy", "doc", "fmt", "install", "run", "test", "update",
];
/// The flags of cargo that documents may use and that have no value.
const FLAGS: &[&str] = &[
    "--all",
    "--all-targets",
    "--benches",
    "--check",
    "--doc",
    "--lib",
    "--locked",
    "--no-deps",
    "--no-run",
    "--offline",
    "--release",
    "--workspace",
];

fn check_cargo(words: &[String]) -> Result<(), String> {
    if !CARGO.contains(&words[0].as_str()) {
        return Err(format!("cargo {} is not one of {CARGO:?}", words[0]));
    }
    let mut rest = words[1..].iter();
    let mut package = None;
    let mut targets = Vec::new();
    let mut is_of_workspace = true;
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{word} has no value"));
        match word.as_str() {
            "-p" | "--package" => package = Some(value()?),
            "--test" | "--example" | "--bench" | "--bin" => targets.push((word, value()?)),
            "--features" | "--precise" | "--profile" => _ = value()?,
            "--path" => {
                let path = root().join(value()?).join("Cargo.toml");
                path.exists()
                    .then_some(())
                    .ok_or("there is no such package")?;
            }
            "--manifest-path" => {
                let is_there = root().join(value()?).exists();
                is_there.then_some(()).ok_or("there is no such manifest")?;
                is_of_workspace = false;
            }
            "--" => break,
            flag if flag.starts_with('-') && !FLAGS.contains(&flag) => {
                return Err(format!("cargo's flag {flag} is not one of {FLAGS:?}"));
            }
            _ => {}
        }
    }
    if !is_of_workspace {
        return Ok(());
    }
    let name = package.map_or("nahook-server", String::as_str);
    let found = packages().iter().find(|package| package["name"] == name);
    let found = found.ok_or(format!("there is no package {name}"))?;
    for (kind, target) in &targets {
        check_target(found, kind.trim_start_matches('-'), target)?;
    }
    let arguments: Vec<String> = rest.cloned().collect();
    match (words[0].as_str(), targets.is_empty(), name) {
        ("run", true, "nahook-server") => program::check(&arguments, true),
        ("run", true, _) => check_flags(found, &arguments),
        _ => Ok(()),
    }
}

fn packages() -> &'static [Value] {
    static PACKAGES: OnceLock<Vec<Value>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let output = std::process::Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--offline",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        metadata["packages"].as_array().unwrap().clone()
    })
}

fn check_target(package: &Value, kind: &str, name: &str) -> Result<(), String> {
    let targets = package["targets"].as_array().unwrap();
    let is_it = |target: &&Value| target["name"] == name && target["kind"][0] == kind;
    match targets.iter().find(is_it) {
        Some(_) => Ok(()),
        None => Err(format!("{} has no {kind} {name}", package["name"])),
    }
}

/// Refuses flags of another program of ours that no field of its arguments is named after.
fn check_flags(package: &Value, arguments: &[String]) -> Result<(), String> {
    let manifest = package["manifest_path"].as_str().unwrap();
    let directory = std::path::Path::new(manifest).parent().unwrap().join("src");
    let source: String = files(&directory, "rs")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for flag in arguments.iter().filter_map(|word| word.strip_prefix("--")) {
        let field = format!("{}:", flag.split('=').next().unwrap().replace('-', "_"));
        let is_field = |line: &str| {
            line.trim()
                .trim_start_matches("pub(crate) ")
                .starts_with(&field)
        };
        if !source.lines().any(is_field) {
            return Err(format!("{} has no flag --{flag}", package["name"]));
        }
    }
    Ok(())
}

#[test]
fn every_command_exists() {
    check_documents(check_commands);
}

#[test]
fn wrong_commands_are_found() {
    for wrong in [
        "```sh\nnahook serve --no-such-flag\n```",
        "```sh\nA=1 nahook no-such-command\n```",
        "```sh\nnahook serve --role nobody\n```",
        "```sh\nnahook keys list --data-dir x\n```",
        "```sh\nnahook apply\n```",
        "```sh\ncargo run -- no-such-command\n```",
        "```sh\ncargo run --release -p nahook-load -- --no-such-flag 1\n```",
        "```sh\ncargo test -p no-such-package\n```",
        "```sh\ncargo test -p nahook-server --test no_such_test\n```",
        "```sh\ncargo run -p nahook-examples --example no_such_example\n```",
        "```sh\ncargo test --no-such-flag\n```",
        "```sh\ncargo no-such-command\n```",
        "```sh\nscripts/no-such-script\n```",
        "`nahook no-such-command`",
        "`cargo bench -p no-such-package`",
    ] {
        assert_eq!(problems(wrong, check_commands).len(), 1, "{wrong}");
    }
}

#[test]
fn right_commands_are_passed() {
    for right in [
        "```sh\nnahook keys --data-dir x create 'my app' # a comment\n```",
        "```sh\ncargo run --release -- demo\n```",
        "```sh\ncargo test -p nahook-server --test documents -- --nocapture\n```",
        "```sh\ncurl --no-such-flag\n```",
        "```text\nnahook no-such-command\n```",
        "`nahook apply`, `nahook`, `scripts/test`, `cargo`",
    ] {
        assert_eq!(problems(right, check_commands), [] as [&str; 0], "{right}");
    }
}
