//! Making, updating and refusing schemas.

use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::{Clock, Delivery};
use nahook_postgres::{ConnectError, PostgresStore};
use nahook_queue::{DeliveryQueue, Next, Settled, Settlement};
use nahook_testkit::ManualClock;
use nahook_testserver::PostgresServer;

use crate::support::{
    client, connect, execute, leasable, outcomes, publish, request, settings, shop, spread,
    until_locked,
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
        11
    );
}

/// The first version had the table of the cursors' key, a recorder that took every entry for a request, labels of any
/// length in `trigger`, and no patterns.
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
        INSERT INTO nahook.delivery (key, endpoint, due_at, attempts, status)
            SELECT key, endpoint, due_at, 0, 0 FROM nahook.open_deliveries(0, 9223372036854775807);
        DROP FUNCTION nahook.open_deliveries, nahook.open_deliveries_of, nahook.free_records, nahook.forget_process;
        DROP TABLE nahook.record, nahook.process;
        ALTER TABLE nahook.lease DROP COLUMN owner;
        DROP INDEX nahook.event_by_key;
        DROP TABLE nahook.counts;
        ALTER TABLE nahook.attempt DROP COLUMN response_body;
        DROP FUNCTION nahook.record_entries;
        DROP FUNCTION nahook.count_inserted_rows, nahook.count_deleted_rows, nahook.count_inserted_kept_rows,
            nahook.count_deleted_kept_rows, nahook.count_updated_kept_rows CASCADE;
        DROP TABLE nahook.row_count, nahook.page_session, nahook.secret_key;
        DROP INDEX nahook.endpoint_by_retired_secret;
        ALTER TABLE nahook.management_token DROP COLUMN is_read_only;
        DROP INDEX nahook.endpoint_by_environment, nahook.publication_by_event_type, nahook.api_key_by_environment,
            nahook.api_key_by_endpoint;
        ALTER TABLE nahook.workspace DROP COLUMN delivery_rate_interval, DROP COLUMN delivery_rate_burst,
            DROP COLUMN pending_max, DROP COLUMN stored_len_max, DROP COLUMN endpoints_max;
        DROP TABLE nahook.pattern;
        ALTER TABLE nahook.subscription DROP COLUMN is_named;
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
    let recorders =
        "SELECT count(*) FROM pg_proc WHERE proname = 'record_entries' AND pronargs = 21";
    let recorders: i64 = client.query_one(recorders, &[]).await.unwrap().get(0);
    assert_eq!(recorders, 1);
    let counted = "SELECT rows FROM nahook.row_count WHERE kind = 'endpoint'";
    let counted: i64 = client.query_one(counted, &[]).await.unwrap().get(0);
    assert_eq!(counted, 1);
    // What was subscribed to before is subscribed to by name.
    let unchanged = store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    assert_eq!(unchanged, []);
}

/// The version before the present one had a row for each delivery, and its leases no owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_every_state_outlives_an_update_that_is_killed_once() {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let store = connect(&url, settings(1).with_clock(clock.clone())).await;
    store.apply(&shop(8), ApplyMode::Commit).await.unwrap();
    let ids: Vec<_> = publish(&store, 1, 8)
        .await
        .iter()
        .map(Delivery::id)
        .collect();
    store.close().await.unwrap();
    spread(&url).await;
    let client = client(&url).await;
    let at = |seconds: u64| {
        let at = clock.now().saturating_add(Duration::from_secs(seconds));
        at.as_nanos()
    };
    let back = format!(
        "DELETE FROM migration WHERE version >= 11;
        DROP FUNCTION open_deliveries, open_deliveries_of, free_records, forget_process;
        DROP TABLE record, process;
        ALTER TABLE lease DROP COLUMN owner;
        CREATE TEMP TABLE s AS SELECT * FROM (VALUES
            (0, 0, 0, {now}, NULL, NULL, NULL),
            (1, 0, 0, {now}, {now}, 101, NULL),
            (2, 0, 0, {now}, {later}, 102, NULL),
            (3, 1, 1, {soon}, {soon}, NULL, NULL),
            (4, 1, 2, {now}, NULL, NULL, NULL),
            (5, 2, 1, NULL, NULL, NULL, {now}),
            (6, 3, 1, NULL, NULL, NULL, NULL),
            (7, 4, 9, NULL, NULL, NULL, NULL)
        ) AS s (ordinal, status, attempts, due_at, wake_at, token, delivered_at);
        UPDATE delivery d SET status = s.status, attempts = s.attempts, due_at = s.due_at::bigint,
            wake_at = s.wake_at::bigint, lease_token = s.token, delivered_at = s.delivered_at::bigint, updated_at = {now}
            FROM s WHERE d.key & 1048575 = s.ordinal;
        INSERT INTO lease (token, look_at, keys)
            SELECT lease_token, wake_at, ARRAY[key] FROM delivery WHERE lease_token IS NOT NULL;",
        now = at(0),
        soon = at(20),
        later = at(40),
    );
    let schema = "SET search_path = nahook, pg_temp";
    execute(&client, &format!("{schema}; {back}")).await;

    // The one that updates is killed on its way.
    execute(&client, "BEGIN; LOCK TABLE nahook.lease").await;
    let updating = tokio::spawn({
        let (url, settings) = (url.clone(), settings(1));
        async move { PostgresStore::connect(&url, settings).await.map(drop) }
    });
    until_locked(&url).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    client.query(kill, &[]).await.unwrap();
    updating.await.unwrap().unwrap_err();
    execute(&client, "ROLLBACK").await;
    let seen = "SELECT max(version), to_regclass('nahook.record') IS NULL FROM nahook.migration";
    let row = client.query_one(seen, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (10_i32, true));

    let store = connect(&url, settings(2).with_clock(clock.clone())).await;
    let mut leased = Vec::new();
    for (after, expected) in [
        (0, vec![(0, 0), (1, 0), (4, 2)]),
        (20, vec![(3, 1)]),
        (20, vec![(2, 0)]),
    ] {
        clock.advance(Duration::from_secs(after));
        let batch = store.lease(&request(10)).await.unwrap().deliveries;
        let of = |id| ids.iter().position(|known| *known == id).unwrap();
        let mut found: Vec<_> = batch
            .iter()
            .map(|it| (of(it.lease.delivery), it.attempts))
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{after} s later");
        leased.extend(batch.into_iter().map(|it| it.lease));
    }
    let settlements = leased
        .into_iter()
        .map(|lease| Settlement::unattempted(lease, Next::Delivered));
    let settled = store
        .settle(&settlements.collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(settled, [Settled::Done; 5]);
    clock.advance(Duration::from_hours(1));
    assert_eq!(leasable(&store).await, []);
    let states = "SELECT array_agg(status::integer ORDER BY key) FROM nahook.delivery";
    let states: Vec<i32> = client.query_one(states, &[]).await.unwrap().get(0);
    assert_eq!(states, [2, 2, 2, 2, 2, 2, 3, 4]);
    assert_eq!(outcomes(&publish(&store, 2, 8).await), ["published"; 8]);
    assert_eq!(leasable(&store).await.len(), 8);
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
