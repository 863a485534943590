//! States of a whole server: stopped, full, read-only, a standby, waiting for a standby.

use std::time::Duration;

use nahook_control::{ApplyMode, Catalog, CatalogError, KeyHash, KeyStore};
use nahook_core::admission::{Caller, Plan, Rate};
use nahook_core::{RateLimiter, StoreErrorKind, SubscriptionStore};
use nahook_postgres::{ConnectError, PostgresStore};
use nahook_queue::DeliveryQueue;
use nahook_testkit::declare::{caller, event_type_name, scope};
use nahook_testserver::PostgresServer;

use crate::support::{
    self, chain, client, connect, execute, leasable, outcomes, publish, request, rows, settings,
    shop, shop_store, until,
};

/// Returns the number of subscribed endpoints.
async fn subscribers(store: &PostgresStore) -> usize {
    let (name, scope) = (event_type_name("order.paid"), scope("ws_shop", None));
    let found = store.subscribers(&name, &scope).await.unwrap();
    found.unwrap().endpoints.len()
}

/// The name of the database that a URL names.
fn database(url: &str) -> &str {
    let (address, _) = url.split_once('?').unwrap();
    address.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_refuses_and_comes_back() {
    let server = PostgresServer::start();
    let url = server.create_database();
    let store = connect(&url, settings(2)).await;
    store
        .apply(&support::shop(2), ApplyMode::Commit)
        .await
        .unwrap();
    let before = publish(&store, 1, 2).await;
    assert_eq!(outcomes(&before), ["published"; 2]);
    server.crash();
    let refused = publish(&store, 2, 2).await;
    // The end of the line may not have been noticed: then it is not known.
    assert!(
        refused
            .iter()
            .all(|delivery| delivery.outcome() != nahook_core::Outcome::Published),
        "{:?}",
        outcomes(&refused)
    );
    let refused = publish(&store, 3, 2).await;
    assert_eq!(outcomes(&refused), ["queue_unavailable"; 2]);
    let name = event_type_name("order.paid");
    let looked_up = store.subscribers(&name, &scope("ws_shop", None)).await;
    assert_eq!(looked_up.unwrap_err().kind(), StoreErrorKind::Unavailable);
    server.start_again();
    assert_eq!(leasable(&store).await, [before[0].id(), before[1].id()]);
    assert_eq!(outcomes(&publish(&store, 4, 2).await), ["published"; 2]);
    assert!(
        store
            .subscribers(&name, &scope("ws_shop", None))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_queues_nothing_and_answers_look_ups() {
    let (url, _) = shop_store(2).await;
    let database = url
        .rsplit('/')
        .next()
        .unwrap()
        .split('?')
        .next()
        .unwrap()
        .to_owned();
    execute(
        &client(&url).await,
        &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
    )
    .await;
    let store = connect(&url, settings(2)).await;
    assert_eq!(
        outcomes(&publish(&store, 1, 2).await),
        ["queue_unavailable"; 2]
    );
    let found = store
        .subscribers(&event_type_name("order.paid"), &scope("ws_shop", None))
        .await;
    assert_eq!(found.unwrap().unwrap().endpoints.len(), 2);
    let leased = store.lease(&support::request(1)).await;
    assert_eq!(leased.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(rows(&url).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_outlives_a_killed_server() {
    let server = PostgresServer::start();
    let url = server.create_database();
    let store = connect(&url, settings(2)).await;
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..20 {
        acknowledged.extend(publish(&store, number, 2).await);
    }
    assert_eq!(outcomes(&acknowledged), ["published"; 40]);
    server.kill();
    server.start_again();
    assert_eq!(leasable(&store).await.len(), 40);
    assert_eq!(outcomes(&publish(&store, 20, 2).await), ["published"; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_answers_look_ups_and_queues_nothing_until_it_is_promoted() {
    let primary = PostgresServer::start();
    let url = primary.create_database();
    let writer = connect(&url, settings(1)).await;
    writer.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    let standby = primary.start_standby();
    let url = standby.url(database(&url));
    let store = connect(&url, settings(1)).await;

    assert_eq!(
        outcomes(&publish(&store, 1, 2).await),
        ["queue_unavailable"; 2]
    );
    assert_eq!(subscribers(&store).await, 2);
    let no_key = store
        .api_key(&KeyHash::of("nhk_none_000000000000000000000000000"))
        .await;
    assert!(no_key.unwrap().is_none());
    let unavailable = [
        store.lease(&request(1)).await.unwrap_err(),
        store.limiter().check(&limited()).await.unwrap_err(),
        match store.apply(&shop(3), ApplyMode::Commit).await {
            Err(CatalogError::Store(error)) => error,
            other => panic!("{other:?}"),
        },
    ];
    for error in unavailable {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    // Nothing can be listened to there, so nothing is kept: what has arrived is seen.
    writer.apply(&shop(3), ApplyMode::Commit).await.unwrap();
    until("the standby has it, too", || async {
        subscribers(&store).await == 3
    })
    .await;

    primary.kill();
    assert_eq!(
        outcomes(&publish(&store, 2, 2).await),
        ["queue_unavailable"; 2]
    );
    assert_eq!(subscribers(&store).await, 3);

    standby.execute("postgres", "SELECT pg_promote()");
    let mut number = 3;
    let published = loop {
        let slots = publish(&store, number, 3).await;
        if outcomes(&slots) == ["published"; 3] {
            break slots;
        }
        assert_eq!(outcomes(&slots), ["queue_unavailable"; 3]);
        number += 1;
        assert!(number < 1_000, "it stays read-only");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // What was refused is not there, by whatever route.
    let ids: Vec<_> = published.iter().map(nahook_core::Delivery::id).collect();
    assert_eq!(leasable(&store).await, ids);
}

/// A caller who may do ten things a second.
fn limited() -> Caller {
    let ten = std::num::NonZeroU32::new(10).unwrap();
    let plan = Plan {
        key_rate: Rate::new(ten, Duration::from_secs(1), ten),
        ..Plan::default()
    };
    assert!(plan.key_rate.is_some());
    Caller {
        plan,
        ..caller("ws_shop", "key_1")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_connection_left_is_unavailable_and_definite() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    let name = database(&url);
    server.execute("postgres", &format!("CREATE ROLE {name} LOGIN"));
    server.execute(
        "postgres",
        &format!("ALTER DATABASE {name} OWNER TO {name}"),
    );
    let url = url.replace("postgres@", &format!("{name}@"));
    let store = connect(&url, settings(1)).await;
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    drop(store);
    let store = connect(&url, settings(1)).await;
    let limit = async |limit: i32| {
        server.execute(
            "postgres",
            &format!("ALTER ROLE {name} CONNECTION LIMIT {limit}"),
        );
    };
    limit(0).await;
    // Its other connections are made when they are needed, which is too late.
    let open = format!("FROM pg_stat_activity WHERE usename = '{name}'");
    server.execute(
        "postgres",
        &format!("SELECT pg_terminate_backend(pid) {open}"),
    );
    assert_eq!(
        outcomes(&publish(&store, 1, 2).await),
        ["queue_unavailable"; 2]
    );
    // A connection that was just ended may be found to be so first.
    until("the reason is told", || async {
        let refused = store.check_writable().await.unwrap_err();
        chain(&refused).contains("too many connections for role")
    })
    .await;
    let refused = store
        .api_key(&KeyHash::of("nhk_none_000000000000000000000000000"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    let refused = PostgresStore::connect(&url, settings(1)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Full(_)), "{refused:?}");
    assert!(chain(&refused).contains("too many connections for role"));
    limit(-1).await;
    let published = publish(&store, 2, 2).await;
    assert_eq!(outcomes(&published), ["published"; 2]);
    assert_eq!(
        leasable(&store).await,
        [published[0].id(), published[1].id()]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_during_the_commit_is_unconfirmed_and_queued() {
    let server = PostgresServer::start();
    let url = server.create_database();
    let store = connect(&url, settings(1)).await;
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    // From here on a commit is on disk, and then waits for a standby that never comes.
    for statement in [
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ] {
        server.execute("postgres", statement);
    }
    let client = client(&url).await;
    until("it has been told", || async {
        let shown = "SHOW synchronous_standby_names";
        client
            .query_one(shown, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
            == "nobody"
    })
    .await;
    let publishing = tokio::spawn({
        let store = store.clone();
        async move { publish(&store, 1, 2).await }
    });
    until("the commit was interrupted", || async {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'SyncRep'";
        !client.query(end, &[]).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(outcomes(&publishing.await.unwrap()), ["unconfirmed"; 2]);
    assert_eq!(rows(&url).await, 2);
}
