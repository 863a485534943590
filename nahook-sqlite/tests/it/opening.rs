//! Requirements on a file to be opened, and the errors of those that do not meet them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{FailureKind, StoreErrorKind};
use nahook_queue::DeliveryQueue;
use nahook_sqlite::{OpenError, Role, SqliteSettings, SqliteStore};
use nahook_testkit::declare::Workspace;
use rusqlite::Connection;

use crate::support::{
    self, Place, all_failed, all_published, declare, lease, publish, queued, server,
};

fn refused(file: &Path) -> OpenError {
    SqliteStore::open(file, server()).unwrap_err()
}

#[tokio::test]
async fn a_new_file_is_made_and_found_again() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    drop(store);
    assert_eq!(place.open().workspaces().await.unwrap().len(), 1);
}

#[test]
fn a_missing_directory_is_named() {
    let place = Place::new();
    let file = place.directory.path().join("missing").join("nahook.db");
    assert!(matches!(refused(&file), OpenError::DirectoryMissing));
}

#[test]
fn a_newer_schema_is_refused_and_kept() {
    let place = Place::new();
    drop(place.open());
    let newer = "UPDATE nahook_schema SET version = 99";
    place.raw().execute_batch(newer).unwrap();
    let error = refused(&place.file());
    let OpenError::NewerSchema { found: 99, known } = error else {
        panic!("{error:?}");
    };
    let text = error.to_string();
    assert!(
        text.contains("99") && text.contains(&known.to_string()),
        "{text}"
    );
    let version: i64 = place
        .raw()
        .query_row("SELECT version FROM nahook_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[test]
fn another_applications_database_is_refused_and_kept() {
    let place = Place::new();
    place
        .raw()
        .execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let before = fs::read(place.file()).unwrap();
    assert!(matches!(refused(&place.file()), OpenError::Foreign));
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn what_is_no_database_is_refused_and_kept() {
    let place = Place::new();
    let text = "this is a letter to a friend\n".repeat(200);
    fs::write(place.file(), &text).unwrap();
    assert!(matches!(refused(&place.file()), OpenError::NotADatabase));
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_header_is_refused() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    store.close().await.unwrap();
    drop(store);
    overwrite(&place.file(), 0, 64);
    assert!(matches!(refused(&place.file()), OpenError::NotADatabase));
}

/// Writes garbage over so many bytes.
fn overwrite(file: &Path, at: u64, len: usize) {
    let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&vec![0xa5; len]).unwrap();
}

#[tokio::test]
async fn damage_inside_is_an_error_and_never_a_wrong_answer() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    for number in 0..200 {
        assert!(all_published(&publish(&store, number, 3).await));
    }
    store.close().await.unwrap();
    drop(store);
    // Everything behind the first page, where the header and the list of tables are.
    let len = fs::metadata(place.file()).unwrap().len();
    overwrite(
        &place.file(),
        4096 * 2,
        usize::try_from(len).unwrap() - 4096 * 2,
    );

    let mut verified = server();
    verified.verify = true;
    let error = SqliteStore::open(place.file(), verified).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt), "{error:?}");

    match SqliteStore::open(place.file(), server()) {
        Err(error) => assert!(matches!(error, OpenError::Corrupt), "{error:?}"),
        Ok(store) => {
            let leased = store.lease(&support::request(10)).await;
            assert_eq!(leased.unwrap_err().kind(), StoreErrorKind::Internal);
            assert!(all_failed(
                &publish(&store, 999, 3).await,
                FailureKind::QueueUnavailable
            ));
        }
    }
}

#[tokio::test]
async fn a_damaged_index_of_what_is_due_is_an_error() {
    for index in [
        "nahook_delivery_by_status",
        "nahook_queued",
        "nahook_member",
    ] {
        let place = Place::new();
        let store = place.open();
        declare(&store, 3).await;
        assert!(all_published(&publish(&store, 1, 3).await));
        store.close().await.unwrap();
        drop(store);
        let root: i64 = place
            .raw()
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
                [index],
                |row| row.get(0),
            )
            .unwrap();
        overwrite(&place.file(), u64::try_from(root - 1).unwrap() * 4096, 4096);
        assert!(
            matches!(refused(&place.file()), OpenError::Corrupt),
            "{index}"
        );
    }
}

#[tokio::test]
async fn a_second_server_is_refused_and_a_tool_is_not() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    let mut impatient = server();
    impatient.busy_timeout = Duration::from_millis(20);
    let second = SqliteStore::open(place.file(), impatient.clone());
    assert!(matches!(second.unwrap_err(), OpenError::InUse));

    let tool = SqliteStore::open(place.file(), SqliteSettings::tool()).unwrap();
    assert_eq!(tool.workspaces().await.unwrap().len(), 1);
    let slots = publish(&tool, 1, 2).await;
    assert!(all_failed(&slots, FailureKind::QueueUnavailable));
    assert!(tool.lease(&support::request(1)).await.is_err());

    drop(store);
    assert!(SqliteStore::open(place.file(), impatient).is_ok());
}

#[tokio::test]
async fn closing_lets_the_next_server_in_and_refuses_what_comes_later() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    assert!(all_published(&publish(&store, 1, 2).await));
    store.close().await.unwrap();
    // Everything is in the one file now.
    let log = fs::metadata(place.directory.path().join("nahook.db-wal"));
    assert!(log.is_ok_and(|log| log.len() == 0));
    let next = place.open();
    assert!(all_failed(
        &publish(&store, 2, 2).await,
        FailureKind::QueueUnavailable
    ));
    assert!(store.lease(&support::request(1)).await.is_err());
    let manifest = Workspace::new("ws_other").manifest();
    assert!(store.apply(&manifest, ApplyMode::Commit).await.is_err());
    store.close().await.unwrap();
    assert_eq!(queued(&next).await.len(), 2);
}

#[tokio::test]
async fn a_tool_makes_a_new_store_too() {
    let place = Place::new();
    let tool = SqliteStore::open(place.file(), SqliteSettings::tool()).unwrap();
    declare(&tool, 1).await;
    // Beside it, since it only took the lock to make the tables.
    let store = place.open();
    assert_eq!(store.workspaces().await.unwrap().len(), 1);
    assert!(lease(&store, 1).await.is_empty());
}

#[test]
fn the_roles_are_what_they_are_called() {
    assert_eq!(SqliteSettings::server().role, Role::Server);
    assert_eq!(SqliteSettings::tool().role, Role::Tool);
    assert_eq!(SqliteSettings::default().role, Role::Server);
}

/// Variable by which a test passes the file on when it starts itself again as an unprivileged user.
const FILE: &str = "NAHOOK_TEST_READ_ONLY_FILE";

/// An ordinary user's number: whoever runs the tests as root may write to what is read-only.
const NOBODY: u32 = 65_534;

#[test]
fn a_read_only_file_is_said_to_be_one() {
    if let Some(file) = std::env::var_os(FILE) {
        let error = refused(Path::new(&file));
        assert!(matches!(error, OpenError::ReadOnly), "{error:?}");
        return;
    }
    let place = Place::new();
    drop(place.open());
    let file = place.file();
    set_mode(&file, 0o444);
    set_mode(&place.directory.path().join("nahook.db-server"), 0o666);
    set_mode(place.directory.path(), 0o777);
    refused_to_nobody(&place, &file);
}

#[test]
fn a_read_only_directory_is_said_to_be_one() {
    if let Some(file) = std::env::var_os(FILE) {
        let error = refused(Path::new(&file));
        assert!(matches!(error, OpenError::ReadOnly), "{error:?}");
        return;
    }
    let place = Place::new();
    let (inside, file) = (
        place.directory.path().join("inside"),
        place.directory.path().join("inside").join("nahook.db"),
    );
    fs::create_dir(&inside).unwrap();
    set_mode(&inside, 0o555);
    set_mode(place.directory.path(), 0o755);
    refused_to_nobody(&place, &file);
}

/// Runs this test again as a user who may do nothing but read.
fn refused_to_nobody(place: &Place, file: &Path) {
    let name = std::thread::current().name().unwrap().to_owned();
    let program = place.directory.path().join("test");
    // By a process of its own: a program that is open for writing here, in whatever child was just forked, does not start.
    let mut copy = Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&program);
    assert!(copy.status().unwrap().success());
    set_mode(&program, 0o755);
    let mut again = Command::new(program);
    again.args(["--exact", &name]).env(FILE, file);
    if is_root() {
        again.uid(NOBODY);
    }
    let outcome = again.output().unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    assert!(
        String::from_utf8_lossy(&outcome.stdout).contains("1 passed"),
        "{outcome:?}"
    );
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_locked_for_long_is_in_use() {
    let place = Place::new();
    drop(place.open());
    let other = Connection::open(place.file()).unwrap();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .unwrap();
    let mut impatient = server();
    impatient.busy_timeout = Duration::from_millis(20);
    let error = SqliteStore::open(place.file(), impatient).unwrap_err();
    assert!(matches!(error, OpenError::InUse), "{error:?}");
}

/// The statements that made a file of version 14, the last in which each delivery that waits is a row.
const VERSION_14: [&str; 11] = [
    include_str!("../../src/schema/schema.sql"),
    include_str!("../../src/schema/5_submission.sql"),
    include_str!("../../src/schema/6_payload_len_max.sql"),
    include_str!("../../src/schema/7_secrets.sql"),
    include_str!("../../src/schema/8_page_sessions.sql"),
    include_str!("../../src/schema/9_plans.sql"),
    include_str!("../../src/schema/10_labels.sql"),
    include_str!("../../src/schema/11_response_body.sql"),
    include_str!("../../src/schema/12_counts.sql"),
    include_str!("../../src/schema/13_event_by_key.sql"),
    include_str!("../../src/schema/14_changed_in.sql"),
];

/// Three events for two endpoints: one is fresh, one has a retry that is due and one that is pending, and the last was queued by an app and
/// nobody has adopted it. A fourth is half delivered.
const WAITING: &str = "
    UPDATE nahook_schema SET version = 14;
    INSERT INTO nahook_workspace (row, id, name, payload_len_max, created_at) VALUES (1, 'ws_a', 'a', 1000, 1);
    INSERT INTO nahook_environment VALUES (1, 'env_a', 1, 'e', 'e', 1, 1, 1, NULL);
    INSERT INTO nahook_endpoint (row, id, workspace, environment, url, kind, config, metadata, secret, is_active, created_at, updated_at)
    VALUES (1, 'ep_a', 1, 1, 'https://a/', 0, '{}', '{}', 's', 1, 1, 1), (2, 'ep_b', 1, 1, 'https://b/', 0, '{}', '{}', 's', 1, 1, 1);
    INSERT INTO nahook_event (seq, id, workspace, accepted_at, width, payload)
    SELECT value, unhex(printf('%032x', value * 1048576)), 1, 1, 2, x'7b7d' FROM json_each('[1, 2, 3, 4]');
    INSERT INTO nahook_submission (event) VALUES (3);
    INSERT INTO nahook_delivery (key, endpoint, status, attempts, due_at) VALUES
        (1 << 20, 1, NULL, 0, NULL), (1 << 20 | 1, 2, NULL, 0, NULL), (2 << 20, 1, 1, 1, 2), (2 << 20 | 1, 2, 0, 0, NULL),
        (3 << 20, 1, NULL, 0, NULL), (3 << 20 | 1, 2, NULL, 0, NULL), (4 << 20, 1, 2, 1, NULL), (4 << 20 | 1, 2, NULL, 0, NULL)";

#[tokio::test]
async fn what_waits_in_a_file_from_before_records_is_delivered() {
    let place = Place::new();
    let raw = place.raw();
    for statements in VERSION_14.into_iter().chain([WAITING]) {
        raw.execute_batch(statements).unwrap();
    }
    drop(raw);
    let waits = |event: u128, ordinal| DeliveryId::nth(MessageId::from_bits(event << 20), ordinal);
    let mut expected: BTreeSet<DeliveryId> = (1..=3)
        .flat_map(|event| [waits(event, 0), waits(event, 1)])
        .collect();
    expected.insert(waits(4, 1));
    let store = place.open();
    let mut found = BTreeSet::new();
    // What an app has queued is adopted soon after the start.
    while found.len() < expected.len() {
        found.extend(queued(&store).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(found, expected);
}
