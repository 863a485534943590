//! Secrets at rest: a copy of the file gives none away, and they go when nobody needs them.

use std::time::Duration;

use nahook_control::{
    Actor, EndpointDirectory, EndpointRecord, Management, MasterKeyError, RotateError,
};
use nahook_sqlite::{OpenError, SqliteSettings, SqliteStore};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::workspace_id;
use nahook_testkit::secrets::{MASTER_KEYS, PASSWORD, SLACK_URL, master_keys, slack, webhook};

use crate::support::{Place, WORKSPACE, declare};

fn settings(keys: Option<&str>, clock: &ManualClock) -> SqliteSettings {
    let mut settings = SqliteSettings::server().with_clock(clock.clone());
    settings.secret_keys = keys.map(master_keys);
    settings.retention_interval = Duration::from_millis(2);
    settings
}

impl Place {
    fn opened_with(&self, keys: Option<&str>) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(self.file(), settings(keys, &ManualClock::default()))
    }

    /// Returns true if the file or its WAL has the text in it.
    fn has(&self, text: &str) -> bool {
        let has = |path: std::path::PathBuf| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        has(self.file()) || has(self.directory.path().join("nahook.db-wal"))
    }
}

/// Waits until it is so.
async fn becomes(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(condition(), "{what} in minutes");
}

/// Fails unless both are read and delivered to as they were made.
async fn assert_known(store: &SqliteStore, rows: [&EndpointRecord; 2]) {
    for row in rows {
        let management = Management::new(store.clone());
        let read = management.endpoint(&row.workspace, row.id).await.unwrap();
        assert_eq!(&read, row);
        let target = store.targets(&[row.id]).await.unwrap().remove(0).unwrap();
        assert_eq!((&target.url, &target.auth), (&row.url, &row.auth));
        assert_eq!(target.secrets[0], row.secret);
    }
}

#[tokio::test]
async fn copy_of_a_sealed_file_gives_no_secret_away() {
    let place = Place::new();
    let store = place.opened_with(Some(MASTER_KEYS[0])).unwrap();
    declare(&store, 0).await;
    let workspace = workspace_id(WORKSPACE);
    let first = webhook(store.clone(), &workspace).await;
    let management = Management::new(store.clone());
    let actor = Actor::operator();
    let rotated = management.rotate_secret(&workspace, &actor, first.id).await;
    let rotated = rotated.unwrap();
    let on_slack = slack(store.clone(), &workspace).await;
    assert_known(&store, [&rotated, &on_slack]).await;
    let secrets = [first.secret.expose(), rotated.secret.expose()];
    for hidden in secrets.into_iter().chain([PASSWORD, SLACK_URL, "whsec_"]) {
        assert!(!place.has(hidden), "{hidden}");
    }
    assert!(
        place.has("https://receiver.test/"),
        "the search finds what is plain"
    );
    store.close().await.unwrap();
    drop(store);
    let again = place.opened_with(Some(MASTER_KEYS[0])).unwrap();
    assert_known(&again, [&rotated, &on_slack]).await;
}

#[tokio::test]
async fn plain_rows_are_sealed_once_there_is_a_key() {
    let place = Place::new();
    let store = place.opened_with(None).unwrap();
    declare(&store, 300).await;
    let workspace = workspace_id(WORKSPACE);
    let first = webhook(store.clone(), &workspace).await;
    let on_slack = slack(store.clone(), &workspace).await;
    assert!(
        [PASSWORD, SLACK_URL, "whsec_"]
            .iter()
            .all(|text| place.has(text))
    );
    store.close().await.unwrap();
    drop(store);
    let store = place.opened_with(Some(MASTER_KEYS[0])).unwrap();
    assert_known(&store, [&first, &on_slack]).await;
    let raw = place.raw();
    let plain = "SELECT count(*) FROM nahook_endpoint WHERE secret LIKE 'whsec%'";
    becomes("sealed", || {
        raw.query_row(plain, [], |row| row.get(0)) == Ok(0)
    })
    .await;
    assert_known(&store, [&first, &on_slack]).await;
    store.close().await.unwrap();
    drop((store, raw));
    // The WAL is gone, and what was in the pages is overwritten.
    for hidden in [PASSWORD, SLACK_URL, first.secret.expose()] {
        assert!(!place.has(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn sealed_file_opens_with_its_key_alone() {
    let place = Place::new();
    let store = place.opened_with(Some(MASTER_KEYS[0])).unwrap();
    declare(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    let refused = |keys| place.opened_with(keys).unwrap_err();
    let missing = refused(None);
    assert!(matches!(
        missing,
        OpenError::SecretKey(MasterKeyError::Missing(_))
    ));
    let wrong = refused(Some(MASTER_KEYS[1]));
    assert!(matches!(
        wrong,
        OpenError::SecretKey(MasterKeyError::Wrong { .. })
    ));
    place.opened_with(Some(MASTER_KEYS[0])).unwrap();
}

#[tokio::test]
async fn master_key_is_rotated_while_the_store_serves() {
    let place = Place::new();
    let store = place.opened_with(Some(MASTER_KEYS[0])).unwrap();
    declare(&store, 0).await;
    let workspace = workspace_id(WORKSPACE);
    let before = webhook(store.clone(), &workspace).await;
    let both = format!("{}\n{}", MASTER_KEYS[1], MASTER_KEYS[0]);
    let mut tool = SqliteSettings::tool();
    tool.secret_keys = Some(master_keys(&both));
    let tool = SqliteStore::open(place.file(), tool).unwrap();
    let (both, new) = (master_keys(&both), master_keys(MASTER_KEYS[1]));
    assert!(tool.rotate_master_key(&both).await.unwrap());
    assert!(!tool.rotate_master_key(&new).await.unwrap());
    let old = tool.rotate_master_key(&master_keys(MASTER_KEYS[0])).await;
    assert!(matches!(
        old,
        Err(RotateError::Key(MasterKeyError::Wrong { .. }))
    ));
    drop(tool);
    // The server that was running goes on, and so does the next one, with the new key alone.
    let after = slack(store.clone(), &workspace).await;
    assert_known(&store, [&before, &after]).await;
    store.close().await.unwrap();
    drop(store);
    assert!(place.opened_with(Some(MASTER_KEYS[0])).is_err());
    let store = place.opened_with(Some(MASTER_KEYS[1])).unwrap();
    assert_known(&store, [&before, &after]).await;
}

#[tokio::test]
async fn secret_that_was_rotated_out_goes_after_a_day() {
    let (place, clock) = (Place::new(), ManualClock::default());
    let store = SqliteStore::open(place.file(), settings(None, &clock)).unwrap();
    declare(&store, 0).await;
    let workspace = workspace_id(WORKSPACE);
    let first = webhook(store.clone(), &workspace).await;
    let management = Management::new(store.clone()).with_clock(clock.clone());
    let actor = Actor::operator();
    let rotated = management.rotate_secret(&workspace, &actor, first.id).await;
    let rotated = rotated.unwrap();
    let raw = place.raw();
    let retired = "SELECT count(previous_secret) FROM nahook_endpoint";
    let count = || raw.query_row(retired, [], |row| row.get::<_, i64>(0));
    clock.advance(Duration::from_mins(24 * 60 - 1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(count(), Ok(1));
    clock.advance(Duration::from_mins(2));
    becomes("gone", || count() == Ok(0)).await;
    let target = store.targets(&[first.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(target.secrets, [rotated.secret]);
}

#[tokio::test]
async fn secrets_go_with_their_endpoint() {
    let place = Place::new();
    let store = place.opened_with(None).unwrap();
    declare(&store, 0).await;
    let workspace = workspace_id(WORKSPACE);
    let rows = [
        webhook(store.clone(), &workspace).await,
        slack(store.clone(), &workspace).await,
    ];
    let management = Management::new(store.clone());
    for row in &rows {
        let actor = Actor::operator();
        let deleted = management.delete_endpoint(&workspace, &actor, row.id).await;
        deleted.unwrap();
    }
    store.close().await.unwrap();
    drop((store, management));
    for hidden in [PASSWORD, SLACK_URL, "whsec_"] {
        assert!(!place.has(hidden), "{hidden}");
    }
}
