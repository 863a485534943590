//! Caches of look-ups, and notifications of changes.

use std::future::poll_fn;
use std::time::Duration;

use nahook_control::{ApiKeySpec, ApplyMode, Catalog, KeyHash, KeyStore};
use nahook_core::id::ApiKeyId;
use nahook_core::{SubscriptionStore, Timestamp};
use nahook_postgres::PostgresStore;
use nahook_queue::{DeliveryQueue, Next, Redelivery, RedeliveryRequest, Settlement};
use nahook_testkit::declare::{Workspace, endpoint_id, event_type_name, scope, workspace_id};
use nahook_testserver::PostgresServer;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::support::proxy::Proxy;
use crate::support::{client, connect, listeners, pooler, publish, request, settings, shop, until};

/// A store that hears of changes, with a subscribed endpoint and an API key.
async fn hearing() -> (String, Client, PostgresStore) {
    let url = PostgresServer::shared().create_database();
    let store = connect(&url, settings(4)).await;
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoint("ep_0", &["order.paid"])
        .with(|workspace| {
            workspace.api_keys.push(ApiKeySpec {
                id: Some(ApiKeyId::new("key_1").unwrap()),
                name: "key".to_owned(),
                key: Some("nhk_us_1_000000000000000000000000000".to_owned()),
                ..ApiKeySpec::default()
            });
        });
    let declared = store.apply(&shop.manifest(), ApplyMode::Commit).await;
    declared.unwrap();
    let observer = client(&url).await;
    until("it listens", || async {
        !listeners(&observer).await.is_empty()
    })
    .await;
    (url, observer, store)
}

/// Returns true if the subscriber, or the key, is there.
async fn finds(store: &PostgresStore, table: &str) -> bool {
    if table == "api_key" {
        let found = store
            .api_key(&KeyHash::of("nhk_us_1_000000000000000000000000000"))
            .await;
        return found.unwrap().is_some();
    }
    let (name, scope) = (event_type_name("order.paid"), scope("ws_shop", None));
    let found = store.subscribers(&name, &scope).await.unwrap();
    !found.unwrap().endpoints.is_empty()
}

/// A look-up that the database has begun before a change, and answers after the change was heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_a_change_has_overtaken_is_not_kept() {
    for (late, prompt) in [("subscription", "api_key"), ("api_key", "subscription")] {
        let (_, observer, store) = hearing().await;
        assert!(finds(&store, prompt).await);
        let wait = format!(
            "ALTER TABLE nahook.{late} RENAME TO hidden;
             CREATE VIEW nahook.{late} AS SELECT * FROM nahook.hidden
                 WHERE (SELECT pg_advisory_xact_lock_shared(1)) IS NOT NULL;
             SELECT pg_advisory_lock(1)"
        );
        observer.batch_execute(&wait).await.unwrap();
        let asking = tokio::spawn({
            let store = store.clone();
            async move { finds(&store, late).await }
        });
        until("it has been asked", || async {
            let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
            !observer.query(waiting, &[]).await.unwrap().is_empty()
        })
        .await;
        let keys = if late == "api_key" {
            "hidden"
        } else {
            "api_key"
        };
        let change = format!(
            "BEGIN; UPDATE nahook.endpoint SET is_active = false; UPDATE nahook.{keys} SET state = 2;
             NOTIFY nahook, 'cws_shop'; COMMIT"
        );
        observer.batch_execute(&change).await.unwrap();
        until("the change is heard of", || async {
            !finds(&store, prompt).await
        })
        .await;
        let release = "SELECT pg_advisory_unlock(1)";
        observer.batch_execute(release).await.unwrap();
        assert!(asking.await.unwrap(), "it was asked before the change");
        assert!(!finds(&store, late).await, "{late}: an old answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_no_workspace_in_particular_is_one_of_all() {
    let (_, observer, store) = hearing().await;
    assert!(finds(&store, "subscription").await);
    let change = "BEGIN; UPDATE nahook.endpoint SET is_active = false; NOTIFY nahook, 'c'; COMMIT";
    observer.batch_execute(change).await.unwrap();
    until("it is seen", || async {
        !finds(&store, "subscription").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_kept_counts_once_the_listener_is_lost() {
    let url = PostgresServer::shared().create_database();
    let proxy = Proxy::to(&url).await;
    let mut through_proxy = settings(2);
    through_proxy.direct_url = Some(proxy.url.clone());
    let store = connect(&url, through_proxy).await;
    let other = connect(&url, settings(1)).await;
    other.apply(&shop(0), ApplyMode::Commit).await.unwrap();
    let observer = client(&url).await;
    until("both listen", || async {
        listeners(&observer).await.len() == 2
    })
    .await;
    assert!(!finds(&store, "subscription").await);
    // From here on the listener hears nothing, and can only be lost.
    proxy.mute(true);
    proxy.cut();
    other.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    until("what was kept does not count", || async {
        finds(&store, "subscription").await
    })
    .await;
}

/// As if a process had died between its commit and telling of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_look_for_what_nobody_tells_of() {
    let (_, _, store) = hearing().await;
    let generation = store.lease(&request(1)).await.unwrap().generation;
    timeout(Duration::from_mins(1), store.changed(generation))
        .await
        .unwrap();
}

/// The payloads of the notifications from here on.
async fn listening(url: &str) -> (Client, mpsc::UnboundedReceiver<String>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let (hear, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                hear.send(notification.payload().to_owned()).unwrap();
            }
        }
    });
    client.batch_execute("LISTEN nahook").await.unwrap();
    (client, heard)
}

async fn next(heard: &mut mpsc::UnboundedReceiver<String>) -> String {
    let heard = timeout(Duration::from_mins(1), heard.recv()).await;
    heard.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_through_a_pooler_is_told_to_those_who_listen() {
    let direct = PostgresServer::shared().create_database();
    let store = connect(&pooler().url(&direct), settings(2)).await;
    store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    let (_client, mut heard) = listening(&direct).await;
    publish(&store, 1, 1).await;
    assert_eq!(next(&mut heard).await, "r");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_leased_again_is_told_to_those_who_listen() {
    let (url, _, store) = hearing().await;
    let (_client, mut heard) = listening(&url).await;
    let id = publish(&store, 1, 1).await[0].id();
    assert_eq!(next(&mut heard).await, "r");
    let settle = async |next| {
        let lease = store.lease(&request(1)).await.unwrap().deliveries[0].lease;
        let settlement = Settlement::unattempted(lease, next);
        store.settle(&[settlement]).await.unwrap();
    };
    // It is in hand, and no others can lease it.
    settle(Next::Release).await;
    settle(Next::Retry(Timestamp::default())).await;
    assert_eq!(next(&mut heard).await, "r");
    settle(Next::Release).await;
    assert_eq!(next(&mut heard).await, "q");
    let workspace = workspace_id("ws_shop");
    settle(Next::Failed).await;
    store.redeliver(id, &workspace).await.unwrap();
    assert_eq!(next(&mut heard).await, "q");
    settle(Next::Failed).await;
    let all = RedeliveryRequest {
        workspace,
        endpoint: endpoint_id("ep_0"),
        since: Timestamp::default(),
        limit: 10,
    };
    assert_eq!(store.redeliver_since(&all).await.unwrap(), 1);
    assert_eq!(next(&mut heard).await, "q");
}
