//! The example `transactional` runs against a real server and does what its first line says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;

use nahook_testserver::PostgresServer;

#[test]
fn an_order_and_its_webhooks_are_there_together_or_not_at_all() {
    let server = PostgresServer::start();
    let output = Command::new(example("transactional"))
        .arg(server.create_database())
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problems}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "a book that is sold out: 2 deliveries, once this commits\n\
         after the roll-back: 0 orders, 0 deliveries\n\
         a book: 2 deliveries, once this commits\n\
         after the commit: 1 orders, 2 deliveries\n"
    );
}

/// The example's program, which lies beside the tests' own.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join(name);
    assert!(
        path.exists(),
        "the example was not built: run the tests with cargo test"
    );
    path
}
