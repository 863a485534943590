//! Secrets at rest: a copy of the database gives none away, and they go when nobody needs them.

use std::time::Duration;

use nahook_control::{
    Actor, ApplyMode, Catalog, EndpointDirectory, EndpointRecord, Management, MasterKeyError,
    RotateError,
};
use nahook_postgres::{ConnectError, PostgresSettings, PostgresStore};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::workspace_id;
use nahook_testkit::secrets::{MASTER_KEYS, PASSWORD, SLACK_URL, master_keys, slack, webhook};
use nahook_testserver::PostgresServer;

use crate::support::{client, connect, settings, shop, until};

fn keyed(keys: Option<&str>, clock: &ManualClock) -> PostgresSettings {
    let mut settings = settings(2).with_clock(clock.clone());
    settings.secret_keys = keys.map(master_keys);
    settings.retention_interval = Duration::from_millis(20);
    settings
}

async fn opened_with(url: &str, keys: Option<&str>) -> Result<PostgresStore, ConnectError> {
    PostgresStore::connect(url, keyed(keys, &ManualClock::default())).await
}

/// Every row of endpoints, as a dump would have it.
async fn dump(url: &str) -> String {
    let rows = "SELECT coalesce(string_agg(e::text, ' '), '') FROM nahook.endpoint e";
    client(url).await.query_one(rows, &[]).await.unwrap().get(0)
}

/// Fails unless both are read and delivered to as they were made.
async fn assert_known(store: &PostgresStore, rows: [&EndpointRecord; 2]) {
    for row in rows {
        let management = Management::new(store.clone());
        let read = management.endpoint(&row.workspace, row.id).await.unwrap();
        assert_eq!(&read, row);
        let target = store.targets(&[row.id]).await.unwrap().remove(0).unwrap();
        assert_eq!((&target.url, &target.auth), (&row.url, &row.auth));
        assert_eq!(target.secrets[0], row.secret);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_of_a_sealed_database_gives_no_secret_away() {
    let url = PostgresServer::shared().create_database();
    // Two that start at once agree on the key.
    let opening = || opened_with(&url, Some(MASTER_KEYS[0]));
    let (store, other) = tokio::join!(opening(), opening());
    let (store, other) = (store.unwrap(), other.unwrap());
    store.apply(&shop(0), ApplyMode::Commit).await.unwrap();
    let workspace = workspace_id("ws_shop");
    let first = webhook(store.clone(), &workspace).await;
    let management = Management::new(other.clone());
    let actor = Actor::operator();
    let rotated = management.rotate_secret(&workspace, &actor, first.id).await;
    let rotated = rotated.unwrap();
    let on_slack = slack(store.clone(), &workspace).await;
    for store in [&store, &other] {
        assert_known(store, [&rotated, &on_slack]).await;
    }
    let dump = dump(&url).await;
    for hidden in [PASSWORD, SLACK_URL, "whsec_"] {
        assert!(!dump.contains(hidden), "{hidden}");
    }
    assert!(dump.contains("https://receiver.test/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_rows_are_sealed_once_there_is_a_key() {
    let url = PostgresServer::shared().create_database();
    let store = opened_with(&url, None).await.unwrap();
    store.apply(&shop(250), ApplyMode::Commit).await.unwrap();
    let workspace = workspace_id("ws_shop");
    let first = webhook(store.clone(), &workspace).await;
    let on_slack = slack(store.clone(), &workspace).await;
    assert!(dump(&url).await.contains("whsec_"));
    store.close().await.unwrap();
    let store = opened_with(&url, Some(MASTER_KEYS[0])).await.unwrap();
    assert_known(&store, [&first, &on_slack]).await;
    until("sealed", || async { !dump(&url).await.contains("whsec_") }).await;
    assert_known(&store, [&first, &on_slack]).await;
    let dump = dump(&url).await;
    assert!(
        [PASSWORD, SLACK_URL]
            .iter()
            .all(|text| !dump.contains(text))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_database_opens_with_its_key_alone_and_the_key_is_rotated() {
    let url = PostgresServer::shared().create_database();
    let serving = opened_with(&url, Some(MASTER_KEYS[0])).await.unwrap();
    serving.apply(&shop(0), ApplyMode::Commit).await.unwrap();
    let workspace = workspace_id("ws_shop");
    let before = webhook(serving.clone(), &workspace).await;
    let missing = opened_with(&url, None).await.unwrap_err();
    assert!(matches!(
        missing,
        ConnectError::SecretKey(MasterKeyError::Missing(_))
    ));
    let wrong = opened_with(&url, Some(MASTER_KEYS[1])).await.unwrap_err();
    assert!(matches!(
        wrong,
        ConnectError::SecretKey(MasterKeyError::Wrong { .. })
    ));
    let both = format!("{},{}", MASTER_KEYS[1], MASTER_KEYS[0]);
    let tool = opened_with(&url, Some(&both)).await.unwrap();
    assert!(tool.rotate_master_key(&master_keys(&both)).await.unwrap());
    assert!(!tool.rotate_master_key(&master_keys(&both)).await.unwrap());
    let old = tool.rotate_master_key(&master_keys(MASTER_KEYS[0])).await;
    assert!(matches!(
        old,
        Err(RotateError::Key(MasterKeyError::Wrong { .. }))
    ));
    let after = slack(serving.clone(), &workspace).await;
    let next = opened_with(&url, Some(MASTER_KEYS[1])).await.unwrap();
    for store in [&serving, &next] {
        assert_known(store, [&before, &after]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_go_a_day_after_their_rotation_and_with_their_endpoint() {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let store = connect(&url, keyed(None, &clock)).await;
    store.apply(&shop(0), ApplyMode::Commit).await.unwrap();
    let workspace = workspace_id("ws_shop");
    let rows = [
        webhook(store.clone(), &workspace).await,
        slack(store.clone(), &workspace).await,
    ];
    let management = Management::new(store.clone()).with_clock(clock.clone());
    let actor = Actor::operator();
    let rotated = management
        .rotate_secret(&workspace, &actor, rows[0].id)
        .await;
    let rotated = rotated.unwrap();
    clock.advance(Duration::from_hours(24));
    let first = rows[0].secret.expose();
    until("gone", || async { !dump(&url).await.contains(first) }).await;
    assert!(dump(&url).await.contains(rotated.secret.expose()));
    for row in &rows {
        let actor = Actor::operator();
        let deleted = management.delete_endpoint(&workspace, &actor, row.id).await;
        deleted.unwrap();
    }
    let dump = dump(&url).await;
    for hidden in [PASSWORD, SLACK_URL, "whsec_"] {
        assert!(!dump.contains(hidden), "{hidden}");
    }
}
