//! Making, updating and refusing schemas.

use nahook_control::{ApplyMode, Catalog};
use nahook_postgres::{ConnectError, PostgresStore};
use nahook_testserver::PostgresServer;

use crate::support::{client, connect, leasable, outcomes, publish, settings, shop};

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
        DROP FUNCTION nahook.open_deliveries, nahook.open_deliveries_of, nahook.free_records;
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
