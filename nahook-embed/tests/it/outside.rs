//! The programs of the documents, compiled outside of the workspace and killed at random between a commit and its delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use nahook_testkit::run;
use nahook_testserver::PostgresServer;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::receiver::Receiver;

/// Number of times that each program is killed.
fn rounds() -> u64 {
    let rounds = env::var("NAHOOK_KILLED_APP_ROUNDS");
    rounds.map_or(9, |rounds| rounds.parse().unwrap())
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The whole programs among a document's blocks.
fn programs(document: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(document)).unwrap();
    let blocks = text.split("```rust,no_run\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let programs = blocks.filter(|block| block.contains("#[tokio::main]"));
    programs.map(str::to_owned).collect()
}

/// Replaces a part that the program must have.
fn with(program: &str, part: &str, by: &str) -> String {
    assert!(program.contains(part), "{part:?} is in the program");
    program.replace(part, by)
}

/// The program with what the test tells it: the receiver's address, and whether to roll back, which takes this `end` of a call.
fn prepared(program: &str, end: &str) -> String {
    let own_machine = r#".create_event_types().allow_endpoint_range("127.0.0.0/8".parse()?)"#;
    let program = with(program, ".create_event_types()", own_machine);
    let receiver = r#"std::env::var("RECEIVER")?.as_str()"#;
    let program = with(&program, r#""https://customer.example/hooks""#, receiver);
    let commit = format!("tx.commit(){end};");
    let choice = format!(
        r#"if std::env::var("ROLL_BACK").is_err() {{ {commit} }} else {{ tx.rollback(){end}; }}"#
    );
    with(&program, &commit, &choice)
}

/// The folder of the compiled programs: a package of its own with path dependencies, and with the versions and the target folder of
/// the workspace, so that nothing is fetched and little is compiled twice.
fn compiled() -> PathBuf {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let compile = || {
        let folder = TempDir::new().unwrap();
        let [on_file] = programs("README.md").try_into().unwrap();
        let on_file = with(&on_file, "127.0.0.1:3000", "127.0.0.1:0");
        let [on_postgres] = programs("docs/embed.md").try_into().unwrap();
        let url = r#""postgres://postgres@localhost/shop""#;
        let on_postgres = with(&on_postgres, url, r#"&std::env::var("DATABASE")?"#);
        let embed = env!("CARGO_MANIFEST_DIR");
        let manifest = format!(
            r#"
            [package]
            name = "outside"
            edition = "2024"
            [workspace]
            [dependencies]
            axum = {{ version = "0.8", default-features = false, features = ["http1", "tokio"] }}
            nahook-embed = {{ path = "{embed}", features = ["http", "postgres"] }}
            rusqlite = {{ version = "0.43", default-features = false }}
            serde_json = "1"
            tokio = {{ version = "1", features = ["macros", "net", "rt-multi-thread", "signal"] }}
            tokio-postgres = "0.7"
            [profile.dev]
            debug = false
            "#
        );
        fs::create_dir_all(folder.path().join("src/bin")).unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::write(
            folder.path().join("src/bin/on_file.rs"),
            prepared(&on_file, "?"),
        )
        .unwrap();
        fs::write(
            folder.path().join("src/bin/on_postgres.rs"),
            prepared(&on_postgres, ".await?"),
        )
        .unwrap();
        fs::copy(
            workspace().join("Cargo.lock"),
            folder.path().join("Cargo.lock"),
        )
        .unwrap();
        let target = workspace().join("target/outside");
        let compiled = Command::new(env::var("CARGO").unwrap())
            .args(["build", "--offline", "--quiet"])
            .current_dir(folder.path())
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{said}");
        target.join("debug")
    };
    COMPILED.get_or_init(compile).clone()
}

/// A program of the documents, in a folder of its own.
struct Program {
    name: &'static str,
    folder: TempDir,
    receiver: String,
    database: String,
}

impl Program {
    fn start(&self, rolls_back: bool) -> Child {
        let mut command = Command::new(compiled().join(self.name));
        if rolls_back {
            command.env("ROLL_BACK", "");
        }
        command
            .current_dir(self.folder.path())
            .env("RECEIVER", &self.receiver)
            .env("DATABASE", &self.database)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Waits until the program has said that its transaction is over.
fn wait_for_commit(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("is committed")));
}

/// Ids of the webhooks of each order.
type Arrived = BTreeMap<i64, BTreeSet<String>>;

fn note((headers, body): (HeaderMap, Bytes), arrived: &mut Arrived) {
    let body: Value = serde_json::from_slice(&body).unwrap();
    // The other event of the program is of a text.
    if let Some(order) = body["order"].as_i64() {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        arrived.entry(order).or_default().insert(id);
    }
}

/// Kills the program in every round at another moment, and lets it end its work at last.
async fn killed(
    program: &Program,
    receiver: &mut Receiver,
    committed: impl AsyncFn() -> BTreeSet<i64>,
) {
    for round in 0..rounds() {
        let rolls_back = round % 3 == 2;
        let mut child = program.start(rolls_back);
        let moment = Duration::from_micros(round * 7_919 % 20_000);
        if round % 2 == 0 {
            wait_for_commit(&mut child);
            thread::sleep(moment);
        } else {
            // Before, within or after the transaction.
            thread::sleep(moment * 10);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = program.start(false);
    wait_for_commit(&mut child);
    let committed = committed().await;
    let mut arrived = Arrived::new();
    while !committed.iter().all(|order| arrived.contains_key(order)) {
        note(receiver.next().await, &mut arrived);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(webhook) = receiver.next_now() {
        note(webhook, &mut arrived);
    }
    let orders: BTreeSet<i64> = arrived.keys().copied().collect();
    assert_eq!(orders, committed, "nothing was sent after a roll-back");
    for (order, webhooks) in arrived {
        assert_eq!(webhooks.len(), 1, "order {order} was queued once");
    }
}

#[test]
fn program_of_the_readme_loses_nothing_when_killed() {
    compiled();
    run(async {
        let mut receiver = Receiver::start().await;
        let program = Program {
            name: "on_file",
            folder: TempDir::new().unwrap(),
            receiver: receiver.url.clone(),
            database: String::new(),
        };
        let committed = async || {
            let app = Connection::open(program.folder.path().join("shop.db")).unwrap();
            let mut orders = app.prepare("SELECT id FROM orders").unwrap();
            let orders = orders.query_map([], |row| row.get(0)).unwrap();
            orders.collect::<Result<_, _>>().unwrap()
        };
        killed(&program, &mut receiver, committed).await;
    });
}

#[test]
fn program_on_postgres_loses_nothing_when_killed() {
    compiled();
    run(async {
        let mut receiver = Receiver::start().await;
        let program = Program {
            name: "on_postgres",
            folder: TempDir::new().unwrap(),
            receiver: receiver.url.clone(),
            database: PostgresServer::shared().create_database(),
        };
        let committed = async || {
            let connected = tokio_postgres::connect(&program.database, NoTls).await;
            let (client, connection) = connected.unwrap();
            tokio::spawn(connection);
            let orders = client.query("SELECT id FROM orders", &[]).await.unwrap();
            orders.iter().map(|row| row.get(0)).collect()
        };
        killed(&program, &mut receiver, committed).await;
    });
}
