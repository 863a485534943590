//! Roles and servers with few connections.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog, KeyHash, KeyStore};
use nahook_core::{FanOut, NewEvent};
use nahook_postgres::{ConnectError, PostgresSettings, PostgresStore};
use nahook_testkit::declare::{event_type_name, metadata, payload, workspace_id};
use nahook_testserver::PostgresServer;

use crate::support::{client, connect, database, leasable, limited_role, shop, until};

/// Triggers from many callers at once, all of which have to be queued.
async fn all_is_queued(store: &PostgresStore) {
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    let engine = Arc::new(FanOut::new(store.clone(), store.clone()));
    let callers = (0..8).map(|_| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            for _ in 0..10 {
                let event = NewEvent {
                    event_type: event_type_name("order.paid"),
                    payload: payload("{}"),
                    metadata: metadata(&[]),
                };
                let workspace = workspace_id("ws_shop");
                let receipt = engine.trigger(event, workspace).await.unwrap();
                assert_eq!(receipt.failures().count(), 0, "{receipt:?}");
            }
        })
    });
    for caller in futures_util::future::join_all(callers).await {
        caller.unwrap();
    }
    store.check_writable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_with_few_connections_publishes() {
    for connections in [3, 4, 5, 8] {
        let server = PostgresServer::shared();
        let url = limited_role(server, &server.create_database(), connections);
        let store = connect(&url, PostgresSettings::default()).await;
        all_is_queued(&store).await;
        assert_eq!(leasable(&store).await.len(), 160, "{connections}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_with_few_connections_publishes() {
    let server = PostgresServer::shared();
    let direct = server.create_database();
    let url = limited_role(server, &direct, -1);
    let limit = format!("ALTER DATABASE {} CONNECTION LIMIT 4", database(&direct));
    server.execute("postgres", &limit);
    all_is_queued(&connect(&url, PostgresSettings::default()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_with_few_connections_publishes() {
    let small = "max_connections = 7\nsuperuser_reserved_connections = 3\nmax_wal_senders = 0";
    let server = PostgresServer::start_with(small, &[]);
    let url = limited_role(&server, &server.create_database(), -1);
    all_is_queued(&connect(&url, PostgresSettings::default()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_connections_are_refused_with_numbers() {
    let server = PostgresServer::shared();
    let url = limited_role(server, &server.create_database(), 2);
    let refused = PostgresStore::connect(&url, PostgresSettings::default()).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused,
            ConnectError::TooFewConnections {
                needed: 3,
                found: 2
            }
        ),
        "{refused:?}"
    );
    assert_eq!(
        refused.to_string(),
        "at least 3 connections are needed, and the server allows 2 for this role and database"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_role_by_their_settings() {
    let server = PostgresServer::shared();
    let url = limited_role(server, &server.create_database(), 6);
    let mut settings = PostgresSettings::default();
    settings.connections_max = Some(3);
    let one = connect(&url, settings.clone()).await;
    let other = connect(&url, settings).await;
    all_is_queued(&one).await;
    all_is_queued(&other).await;
}

/// One that was given up may exist on the server for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_waits_for_a_connection_of_a_full_server() {
    let server = PostgresServer::shared();
    let url = limited_role(server, &server.create_database(), -1);
    let mut settings = PostgresSettings::default();
    settings.connect_timeout = Duration::from_mins(1);
    settings.statement_timeout = Duration::from_mins(1);
    settings.lock_timeout = Duration::from_mins(1);
    let store = connect(&url, settings).await;
    let limit = |limit: i32| {
        let role = format!("ALTER ROLE {} CONNECTION LIMIT {limit}", database(&url));
        server.execute("postgres", &role);
    };
    // The connection that is open already is kept busy: the second look-up needs another.
    let holder = client(&url).await;
    let lock = "BEGIN; LOCK TABLE nahook.api_key";
    holder.batch_execute(lock).await.unwrap();
    limit(0);
    let asking = ["one", "two"].map(|key| {
        let store = store.clone();
        tokio::spawn(async move { store.api_key(&KeyHash::of(key)).await })
    });
    let refused = format!("too many connections for role \"{}\"", database(&url));
    until("it was refused", || async {
        server.log().contains(&refused)
    })
    .await;
    limit(-1);
    holder.batch_execute("COMMIT").await.unwrap();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap(), None);
    }
}
