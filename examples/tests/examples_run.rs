//! Every example runs and does what its first line says.

#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nahook_delivery::Signer;
use nahook_testserver::PostgresServer;

const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";
const PATIENCE: Duration = Duration::from_mins(1);

/// An example that was started, ended with the test.
struct Example {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path(name))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The address in its first line.
    fn address(&mut self) -> String {
        let line = self.line();
        line.strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("{line:?}"))
            .to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of the example: beside the directory of this test's own binary.
fn path(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} was not built: run the tests with cargo test",
        path.display()
    );
    path
}

/// A POST by hand; answers the status and the body.
fn post(address: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn signed(id: &str, body: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let signature = Signer::new([SECRET])
        .unwrap()
        .sign(id, now, body.as_bytes());
    format!("webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: {signature}\r\n")
}

#[test]
fn the_receiver_takes_what_is_signed_once_and_nothing_else() {
    let mut receiver = Example::start("verify_receiver", &["127.0.0.1:0", SECRET]);
    let address = receiver.address();
    let first = signed("msg_1", r#"{"n":1}"#);
    assert_eq!(post(&address, "/hooks/a", &first, r#"{"n":1}"#).0, 204);
    assert_eq!(receiver.line(), r#"{"n":1}"#);
    assert_eq!(post(&address, "/hooks/a", &first, r#"{"n":2}"#).0, 401);
    assert_eq!(post(&address, "/hooks/a", "", "{}").0, 401);
    // The repeat is answered, and the next line is another webhook's.
    assert_eq!(post(&address, "/hooks/a", &first, r#"{"n":1}"#).0, 204);
    let second = signed("msg_2", r#"{"n":2}"#);
    assert_eq!(post(&address, "/hooks/a", &second, r#"{"n":2}"#).0, 204);
    assert_eq!(receiver.line(), r#"{"n":2}"#);
}

#[test]
fn a_desktop_app_saves_notes_and_their_webhooks_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes.db");
    let mut receiver = Example::start("verify_receiver", &["127.0.0.1:0", SECRET]);
    let hooks = format!("http://{}/hooks/notes", receiver.address());
    for text in ["first", "second"] {
        let mut child = Command::new(path("desktop"))
            .args([file.to_str().unwrap(), &hooks])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{text}").unwrap();
        assert_eq!(receiver.line(), format!(r#"{{"text":"{text}"}}"#));
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn the_quick_start_delivers_to_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}", dir.path().join("hooks.db").display());
    let mut receiver = Example::start("verify_receiver", &["127.0.0.1:0", SECRET]);
    let hooks = format!("http://{}/hooks/shop", receiver.address());
    // The second time, the endpoint is there already.
    for _ in 0..2 {
        let mut example = Example::start("quick_start", &[&hooks, &store]);
        assert_eq!(example.line(), "1 queued");
        assert_eq!(example.line(), "delivered after 1 attempts");
        assert_eq!(receiver.line(), r#"{"order":"ord_123"}"#);
        assert!(example.child.wait().unwrap().success());
    }
}

#[test]
fn each_tenant_has_endpoints_of_its_own() {
    let mut example = Example::start("multi_tenant", &[]);
    assert_eq!(example.line(), "ws_acme: 1 queued");
    assert_eq!(example.line(), "ws_umbrella: 2 queued");
    assert!(example.child.wait().unwrap().success());
}

#[test]
fn a_publisher_of_the_apps_own_appends_a_line_for_each_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deliveries.jsonl");
    let mut example = Example::start("own_adapter", &[file.to_str().unwrap()]);
    assert_eq!([example.line(), example.line()], ["Published", "Published"]);
    assert!(example.child.wait().unwrap().success());
    let lines = std::fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains(r#"{\"order\":\"ord_123\"}"#), "{lines}");
}

#[test]
fn a_shop_commits_an_order_with_its_webhooks_or_neither() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    let mut shop = Example::start("axum_shop", &[&url, "127.0.0.1:0"]);
    let address = shop.address();
    let (status, body) = post(&address, "/orders", "", "a book");
    assert_eq!((status, body.as_str()), (200, "1 queued"));
    // The table refuses it after its webhooks were queued.
    let (status, body) = post(&address, "/orders", "", "");
    assert_eq!(status, 422, "{body}");
    // The APIs are mounted beside the shop's own routes.
    let trigger = "/hooks/api/ingest/event/order.placed";
    assert_eq!(post(&address, trigger, "", "{}").0, 401);
    let count = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM nahook.event)";
    assert_eq!(count_in(&url, count), (1, 1));
}

#[tokio::main(flavor = "current_thread")]
async fn count_in(url: &str, count: &'static str) -> (i64, i64) {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    sqlx::query_as(count).fetch_one(&pool).await.unwrap()
}

#[test]
fn every_example_is_shorter_than_60_lines() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let files = std::fs::read_dir(folder).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < 60, "{} has {lines} lines", file.display());
    }
}
