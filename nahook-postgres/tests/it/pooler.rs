//! Behind PgBouncer in transaction mode: what other programs of the pool find, and how changes are heard of.

use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::{StoreErrorKind, SubscriptionStore};
use nahook_postgres::{ConnectError, PostgresSettings, PostgresStore};
use nahook_queue::DeliveryQueue;
use nahook_testkit::declare::{event_type_name, scope, workspace_id};
use nahook_testserver::{PgBouncer, PostgresServer};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::proxy::Proxy;
use crate::support::{
    client, connect, database, leasable, listeners, outcomes, pooler, publish, request, settings,
    shop, until,
};

/// Everything of a session that a program of the pool may come to feel.
const SESSION: &str =
    "SELECT name || '=' || setting FROM pg_settings WHERE name NOT LIKE 'plpgsql.%' ORDER BY name";

async fn column(client: &Client, query: &str) -> Vec<String> {
    let answered = client.simple_query(query).await.unwrap();
    let rows = answered.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

fn assert_same(before: &[String], after: &[String]) {
    let changed: Vec<_> = after.iter().filter(|it| !before.contains(it)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(before.len(), after.len());
}

/// Uses a store in all kinds of ways, with another program on the same session.
async fn is_left_alone(pooled: &str, store_url: &str) {
    let other = client(pooled).await;
    let orders = "CREATE TABLE orders (id integer); INSERT INTO orders VALUES (1); \
        CREATE TABLE event (id integer); CREATE TABLE delivery (id integer)";
    other.batch_execute(orders).await.unwrap();
    let before = column(&other, SESSION).await;
    let mut settings = settings(2);
    settings.retention_interval = Duration::from_millis(20);
    let store = connect(store_url, settings).await;
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    for number in 1..=20 {
        let published = publish(&store, number, 2).await;
        assert_eq!(outcomes(&published), ["published"; 2]);
        assert_same(&before, &column(&other, SESSION).await);
        let orders = column(&other, "SELECT count(*) FROM orders").await;
        assert_eq!(orders, ["1"]);
    }
    // A change that fails, and some that are dropped in the middle.
    let (name, nowhere) = (event_type_name("a"), workspace_id("ws_none"));
    store.ensure_event_type(&name, &nowhere).await.unwrap_err();
    let manifest = shop(200);
    for pause in [1, 3, 10] {
        let applying = store.apply(&manifest, ApplyMode::Commit);
        let _ = tokio::time::timeout(Duration::from_millis(pause), applying).await;
    }
    assert_eq!(leasable(&store).await.len(), 40);
    store.check_writable().await.unwrap();
    store.close().await.unwrap();
    assert_same(&before, &column(&other, SESSION).await);
    let nothing: &[&str] = &[];
    let public = "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM delivery)";
    for (query, left) in [
        ("SELECT name FROM pg_prepared_statements", nothing),
        ("SELECT pg_listening_channels()", nothing),
        (
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            nothing,
        ),
        ("SELECT count(*) FROM orders", &["1"]),
        (public, &["0"]),
    ] {
        assert_eq!(column(&other, query).await, left, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_share_the_pool_find_their_settings_and_tables() {
    let server = PostgresServer::shared();
    for further in [
        "",
        // Options are dropped without a word.
        "ignore_startup_parameters = extra_float_digits,options",
    ] {
        let pooler = PgBouncer::start(server, 1, further);
        let url = pooler.url(&server.create_database());
        is_left_alone(&url, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_may_be_named_in_the_url() {
    let server = PostgresServer::shared();
    let pooler = PgBouncer::start(server, 1, "");
    let url = pooler.url(&server.create_database());
    is_left_alone(&url, &format!("{url}&pooler=transaction")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_share_a_pool() {
    let url = pooler().url(&PostgresServer::shared().create_database());
    let (one, other) = tokio::join!(connect(&url, settings(4)), connect(&url, settings(4)));
    one.apply(&shop(3), ApplyMode::Commit).await.unwrap();
    let publishing = (0..40).map(|number| {
        let store = if number % 2 == 0 { &one } else { &other };
        publish(store, number, 3)
    });
    for published in futures_util::future::join_all(publishing).await {
        assert_eq!(outcomes(&published), ["published"; 3]);
    }
    let (mut some, rest) = tokio::join!(leasable(&one), leasable(&other));
    some.extend(rest);
    some.sort();
    some.dedup();
    assert_eq!(some.len(), 120);
}

async fn subscribers(store: &PostgresStore) -> Option<usize> {
    let found = store
        .subscribers(&event_type_name("order.paid"), &scope("ws_shop", None))
        .await;
    Some(found.ok()?.map_or(0, |found| found.endpoints.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_seen_at_once_without_a_direct_url() {
    let url = pooler().url(&PostgresServer::shared().create_database());
    let one = connect(&url, settings(2)).await;
    let other = connect(&url, settings(2)).await;
    for endpoints in 1..=5 {
        one.apply(&shop(endpoints), ApplyMode::Commit)
            .await
            .unwrap();
        assert_eq!(subscribers(&other).await, Some(endpoints));
    }
    // Nothing is heard of what is queued, and so it is looked for.
    let generation = other.lease(&request(1)).await.unwrap().generation;
    publish(&one, 1, 1).await;
    other.changed(generation).await;
}

fn with_direct_url(url: &str) -> PostgresSettings {
    let mut settings = settings(2);
    settings.direct_url = Some(url.to_owned());
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_heard_over_the_direct_url() {
    let direct = PostgresServer::shared().create_database();
    let url = pooler().url(&direct);
    let one = connect(&url, settings(2)).await;
    one.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    let observer = client(&direct).await;
    assert!(listeners(&observer).await.is_empty());
    let hearing = connect(&url, with_direct_url(&direct)).await;
    until("it listens", || async {
        !listeners(&observer).await.is_empty()
    })
    .await;
    until("what was looked up is kept", || async {
        subscribers(&hearing).await.unwrap();
        let hide = "ALTER TABLE nahook.subscription RENAME TO hidden";
        observer.batch_execute(hide).await.unwrap();
        let is_kept = subscribers(&hearing).await == Some(1);
        let show = "ALTER TABLE nahook.hidden RENAME TO subscription";
        observer.batch_execute(show).await.unwrap();
        is_kept
    })
    .await;
    one.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    until("the change is heard of", || async {
        subscribers(&hearing).await == Some(2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_url_that_leads_to_a_pooler_is_refused() {
    let url = pooler().url(&PostgresServer::shared().create_database());
    let refused = PostgresStore::connect(&url, with_direct_url(&url)).await;
    assert!(
        matches!(refused, Err(ConnectError::DirectUrl)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_url_of_another_database_is_refused() {
    let server = PostgresServer::shared();
    let url = pooler().url(&server.create_database());
    let refused = PostgresStore::connect(&url, with_direct_url(&server.create_database())).await;
    assert!(
        matches!(refused, Err(ConnectError::OtherDatabase)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_pooler_fails_a_look_up_in_time() {
    let url = pooler().url(&PostgresServer::shared().create_database());
    let proxy = Proxy::to(&url).await;
    let mut settings = settings(2);
    settings.connect_timeout = Duration::from_millis(500);
    let store = connect(&proxy.url, settings).await;
    store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    assert_eq!(subscribers(&store).await, Some(1));
    proxy.mute(true);
    let (name, scope) = (event_type_name("order.paid"), scope("ws_shop", None));
    // Far beyond its time-out; without one it would wait for ever.
    let asked = tokio::time::timeout(Duration::from_mins(1), store.subscribers(&name, &scope));
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    proxy.mute(false);
    proxy.cut();
    until("it answers again", || async {
        subscribers(&store).await == Some(1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_is_durable_where_the_database_is_not() {
    let direct = PostgresServer::shared().create_database();
    let store = connect(&direct, settings(2)).await;
    store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    let observer = client(&direct).await;
    let note = format!(
        "ALTER DATABASE {} SET synchronous_commit = off;
         CREATE TABLE noted (setting text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.noted VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
         CREATE TRIGGER note BEFORE INSERT ON nahook.event FOR EACH ROW EXECUTE FUNCTION note()",
        database(&direct)
    );
    observer.batch_execute(&note).await.unwrap();
    for (number, url) in [(1, direct.clone()), (2, pooler().url(&direct))] {
        let store = connect(&url, settings(2)).await;
        let published = publish(&store, number, 1).await;
        assert_eq!(outcomes(&published), ["published"]);
    }
    let noted = column(&observer, "SELECT setting FROM noted").await;
    assert_eq!(noted, ["on", "on"]);
}
