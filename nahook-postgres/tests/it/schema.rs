//! Making, updating and refusing schemas, and forgetting what is old.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock, DeliveryPublisher};
use nahook_postgres::{ConnectError, PostgresStore};
use nahook_queue::{
    Attempt, DeliveryQueue, DeliveryRecorder, LogEntry, Next, Settlement, Standing,
};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{deliveries, endpoint_id, event};
use nahook_testserver::PostgresServer;

use crate::support::{
    self, client, connect, leasable, outcomes, publish, request, settings, shop, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_may_make_the_schema_at_once() {
    let url = PostgresServer::shared().create_database();
    let connecting = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { PostgresStore::connect(&url, settings(1)).await })
    });
    for connected in futures_util::future::join_all(connecting).await {
        connected.unwrap().unwrap();
    }
    let versions = "SELECT version FROM nahook.migration";
    assert_eq!(
        client(&url).await.query(versions, &[]).await.unwrap().len(),
        3
    );
}

/// The first version had the table of the cursors' key, a recorder that took every entry for a request, and labels of any
/// length in `trigger`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_of_the_first_version_is_brought_up_to_date() {
    let url = PostgresServer::shared().create_database();
    let store = connect(&url, settings(1)).await;
    store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    assert_eq!(outcomes(&publish(&store, 1, 1).await), ["published"]);
    store.close().await.unwrap();
    let client = client(&url).await;
    let back = "
        DELETE FROM nahook.migration WHERE version >= 2;
        CREATE TABLE nahook.sealing_key (is_drawn boolean PRIMARY KEY, key bytea NOT NULL);
        CREATE OR REPLACE FUNCTION nahook.standing(attempts integer, status smallint) RETURNS bigint
            LANGUAGE sql IMMUTABLE AS $$ SELECT 0::bigint $$;
        DROP FUNCTION nahook.trigger;";
    client.batch_execute(back).await.unwrap();
    let store = connect(&url, settings(1)).await;
    assert_eq!(leasable(&store).await.len(), 1);
    let seen = "SELECT nahook.standing(2, 1::smallint), to_regclass('nahook.sealing_key') IS NULL";
    let row = client.query_one(seen, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (17_i64, true));
    let trigger = "SELECT FROM nahook.trigger('ws_shop', 'order.paid', '{}')";
    assert_eq!(client.query(trigger, &[]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused() {
    let url = PostgresServer::shared().create_database();
    drop(connect(&url, settings(1)).await);
    let newer = "INSERT INTO nahook.migration (version) VALUES (99)";
    client(&url).await.batch_execute(newer).await.unwrap();
    let refused = PostgresStore::connect(&url, settings(1)).await;
    assert!(
        matches!(refused, Err(ConnectError::NewerSchema { found: 99, .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_left_alone_if_the_settings_say_so() {
    let url = PostgresServer::shared().create_database();
    let mut settings = settings(1);
    settings.migrate = false;
    let refused = PostgresStore::connect(&url, settings).await;
    assert!(matches!(
        refused,
        Err(ConnectError::OutdatedSchema { found: 0, .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schemas_with_odd_names_share_a_database() {
    let url = PostgresServer::shared().create_database();
    let mut stores = Vec::new();
    for name in ["it's \"odd\"; DROP", "webhooks\\"] {
        let store = connect(&url, settings(1).with_schema(name)).await;
        store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
        stores.push(store);
    }
    assert_eq!(outcomes(&publish(&stores[0], 1, 1).await), ["published"]);
    assert_eq!(leasable(&stores[1]).await, []);
    assert_eq!(leasable(&stores[0]).await.len(), 1);
    for name in ["", "a$b", "{schema}"] {
        let refused = PostgresStore::connect(&url, settings(1).with_schema(name)).await;
        assert!(matches!(refused, Err(ConnectError::SchemaName)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_unreachable() {
    let refused = PostgresStore::connect("postgres://a@127.0.0.1:1/b", settings(1)).await;
    assert!(
        matches!(refused, Err(ConnectError::Unreachable(_))),
        "{refused:?}"
    );
    let refused = PostgresStore::connect("postgres://a@b/c?sslmode=maybe", settings(1)).await;
    assert!(matches!(refused, Err(ConnectError::Url(_))), "{refused:?}");
    let url = PostgresServer::shared().url("no_such_database");
    let refused = PostgresStore::connect(&url, settings(1)).await;
    assert!(
        matches!(refused, Err(ConnectError::Refused(_))),
        "{refused:?}"
    );
}

/// A shop of so many endpoints in a store that looks all the time for what has passed its time.
async fn forgetful(endpoints: usize) -> (String, ManualClock, PostgresStore) {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let mut settings = settings(2).with_clock(clock.clone());
    settings.retention_interval = Duration::from_millis(20);
    let store = connect(&url, settings).await;
    let declared = store.apply(&shop(endpoints), ApplyMode::Commit).await;
    declared.unwrap();
    (url, clock, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_and_settled_is_forgotten() {
    let (url, clock, store) = forgetful(2).await;
    let endpoints = [endpoint_id("ep_0"), endpoint_id("ep_1")];
    let publish_now = async |number| {
        let event = event("ws_shop", "order.paid", number, clock.now());
        let mut slots = deliveries(&event, &endpoints);
        store.publish(&event, &mut slots).await;
        slots
    };
    // One whose deliveries are settled, one of which a delivery waits, and a young one.
    publish_now(1).await;
    let batch = store.lease(&request(10)).await.unwrap();
    let settlements: Vec<_> = batch
        .deliveries
        .iter()
        .map(|leased| Settlement {
            lease: leased.lease,
            attempt: Some(Attempt {
                started_at: clock.now(),
                duration: Duration::from_millis(1),
                status_code: Some(200),
                error: None,
            }),
            next: Next::Delivered,
        })
        .collect();
    store.settle(&settlements).await.unwrap();
    let waiting = publish_now(2).await;
    let batch = store.lease(&request(1)).await.unwrap();
    let settlement = Settlement {
        lease: batch.deliveries[0].lease,
        attempt: None,
        next: Next::Failed,
    };
    store.settle(&[settlement]).await.unwrap();
    clock.advance(Duration::from_hours(7 * 24 + 1));
    let young = publish_now(3).await;
    let client = client(&url).await;
    let count = async |table: &str| {
        let query = format!("SELECT count(*) FROM nahook.{table}");
        client
            .query_one(&query, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    until("the old one is gone", || async {
        count("event").await == 2
    })
    .await;
    assert_eq!(count("delivery").await, 4);
    assert_eq!(count("attempt").await, 0);
    assert_eq!(
        leasable(&store).await,
        [waiting[1].id(), young[0].id(), young[1].id()]
    );
}

/// Their ids say nothing of the time, so that they sort behind all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_brought_along_is_forgotten_when_it_is_old() {
    let (url, clock, store) = forgetful(1).await;
    let entry = |id: String| {
        let delivery: DeliveryId = id.parse().unwrap();
        let mut event = event("ws_shop", "order.paid", 1, clock.now());
        event.id = delivery.message_if_first();
        LogEntry {
            event: Arc::new(event),
            delivery,
            endpoint: endpoint_id("ep_0"),
            attempts: 0,
            attempt: None,
            standing: Standing::Delivered,
            at: clock.now(),
        }
    };
    // More than one statement looks at, all of the same instant.
    let old: Vec<_> = (0..1_201)
        .map(|number| entry(format!("del_old_{number:04}")))
        .collect();
    store.record(&old).await.unwrap();
    clock.advance(Duration::from_hours(7 * 24 + 1));
    let young = [entry("del_0".to_owned())];
    store.record(&young).await.unwrap();
    let client = client(&url).await;
    let count = async |table: &str| {
        let query = format!("SELECT count(*) FROM nahook.{table}");
        client
            .query_one(&query, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    until("the old ones are gone", || async {
        count("event").await == 1
    })
    .await;
    assert_eq!(count("delivery").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_queue_elsewhere_is_kept() {
    let (url, clock, store) = forgetful(1).await;
    let accepted = clock.now();
    let entry = |number, standing| {
        let event = Arc::new(event("ws_shop", "order.paid", number, accepted));
        LogEntry {
            delivery: DeliveryId::nth(event.id, 0),
            event,
            endpoint: endpoint_id("ep_0"),
            attempts: 0,
            attempt: None,
            standing,
            at: accepted,
        }
    };
    let later = accepted.saturating_add(Duration::from_hours(24 * 30));
    let standings = [Standing::Pending, Standing::Retry(later), Standing::Failed];
    let entries: Vec<_> = (1..)
        .zip(standings)
        .map(|(number, standing)| entry(number, standing))
        .collect();
    store.record(&entries).await.unwrap();
    clock.advance(Duration::from_hours(7 * 24 + 1));
    let client = client(&url).await;
    let left = async || {
        let query = "SELECT status FROM nahook.delivery ORDER BY status";
        let rows = client.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<i16>>()
    };
    until("the settled one is gone", async || left().await.len() < 3).await;
    assert_eq!(left().await, [0, 1]);
    let entries = [
        entry(1, Standing::Delivered),
        entry(2, Standing::DeadLetter),
    ];
    store.record(&entries).await.unwrap();
    until("all are gone", async || left().await.is_empty()).await;
}

/// The statement that deletes has chosen before it waits, and has to look again after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_again_while_it_is_being_forgotten_is_kept() {
    let (url, clock, store) = forgetful(2).await;
    let endpoints = [endpoint_id("ep_0"), endpoint_id("ep_1")];
    let event = event("ws_shop", "order.paid", 1, clock.now());
    let mut slots = deliveries(&event, &endpoints);
    store.publish(&event, &mut slots).await;
    let batch = store.lease(&request(2)).await.unwrap();
    let failed = batch.deliveries.iter().map(|leased| Settlement {
        lease: leased.lease,
        attempt: None,
        next: Next::Failed,
    });
    store.settle(&failed.collect::<Vec<_>>()).await.unwrap();
    let (mut other, observer) = (client(&url).await, client(&url).await);
    let redelivering = other.transaction().await.unwrap();
    // As the store does it, for one of them.
    let again = "UPDATE nahook.delivery SET status = 0, due_at = 1, wake_at = NULL, lease_token = NULL, updated_at = 1
        WHERE key = (SELECT max(key) FROM nahook.delivery)";
    redelivering.batch_execute(again).await.unwrap();
    clock.advance(Duration::from_hours(7 * 24 + 1));
    until("it waits to forget them", || async {
        let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND query LIKE '%looked_at%'";
        !observer.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
    redelivering.commit().await.unwrap();
    // Ends once what was underway has.
    store.close().await.unwrap();
    let store = connect(&url, settings(1).with_clock(clock)).await;
    assert_eq!(leasable(&store).await, [slots[1].id()]);
    assert_eq!(support::rows(&url).await, 2);
}
