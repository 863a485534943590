//! Starts that must not succeed.

use std::path::Path;

use crate::support::SOON;
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::process::{Ended, Nahook};
use crate::support::server::Server;

async fn refused(dir: &Path, arguments: &[&str]) -> Ended {
    let ended = Nahook::run(dir, &[&["serve"], arguments].concat()).await;
    assert!(
        !ended.success && !ended.stdout.contains("listening"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .lines()
            .any(|line| line.starts_with("nahook: ")),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_file_is_refused_and_disturbs_nothing() {
    let server = Server::with(&shop(vec![endpoint("ep_1", "http://192.0.2.1/")])).await;

    let second = refused(server.dir(), &["--listen", "127.0.0.1:0"]).await;

    assert!(second.stderr.contains("nahook.db"), "{}", second.stderr);
    assert!(second.stderr.contains("another"), "{}", second.stderr);
    assert_eq!(server.trigger("{}").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_free_again_once_its_server_was_killed() {
    let mut server = Server::with(&shop(vec![])).await;
    server.process.kill();
    server.start_again().await;
    assert_eq!(server.api().trigger(EVENT_TYPE, "{}").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let server = Server::with(&shop(vec![])).await;
    let dir = tempfile::tempdir().unwrap();
    let address = server.address.to_string();
    let second = refused(dir.path(), &["--listen", &address]).await;
    assert!(second.stderr.contains(&address), "{}", second.stderr);
    assert!(!dir.path().join("nahook-data/nahook.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nahook-data/nahook.db");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let text = "this is somebody's diary, not a database\n".repeat(200);
    std::fs::write(&file, &text).unwrap();

    let ended = refused(dir.path(), &["--listen", "127.0.0.1:0"]).await;

    assert!(ended.stderr.contains("nahook.db"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut server = Server::with(&shop(vec![])).await;
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());
    let file = server.dir().join("nahook-data/nahook.db");
    let newer = rusqlite::Connection::open(&file).unwrap();
    let changed = newer.execute("UPDATE nahook_schema SET version = 9999", []);
    assert_eq!(changed, Ok(1));
    newer.close().unwrap();
    let bytes = std::fs::read(&file).unwrap();

    let ended = refused(server.dir(), &["--listen", "127.0.0.1:0"]).await;
    let tool = Nahook::run(server.dir(), &["keys", "list"]).await;

    for said in [ended.stderr, tool.stderr] {
        assert!(
            said.contains("nahook.db") && said.contains("newer"),
            "{said}"
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let ended = refused(
        dir.path(),
        &["--listen", "127.0.0.1:0", "--data-dir", "file/inside"],
    )
    .await;
    assert!(ended.stderr.contains("file/inside"), "{}", ended.stderr);
}
