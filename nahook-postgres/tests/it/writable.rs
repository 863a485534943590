//! Readiness: checks that an event can be queued now.

use nahook_control::{ApplyMode, Catalog};
use nahook_core::StoreErrorKind;
use nahook_queue::DeliveryQueue;
use nahook_supervision::{Death, Loop};
use nahook_testserver::PostgresServer;

use crate::support::{
    chain, connect, database, leasable, limited_role, outcomes, publish, request, settings, shop,
    until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_only_reads_is_noticed_and_outlived() {
    let server = PostgresServer::start();
    let store = connect(&server.create_database(), settings(2)).await;
    store.apply(&shop(1), ApplyMode::Commit).await.unwrap();
    store.check_writable().await.unwrap();
    assert_eq!(outcomes(&publish(&store, 1, 1).await), ["published"]);
    let reload = "SELECT pg_reload_conf()";
    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    server.execute("postgres", read_only);
    server.execute("postgres", reload);
    until("it only reads", || async {
        store.check_writable().await.is_err()
    })
    .await;
    let refused = store.check_writable().await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert!(chain(&refused).contains("read-only transaction"));
    assert_eq!(
        outcomes(&publish(&store, 2, 1).await),
        ["queue_unavailable"]
    );
    // More often than there are connections, were each given up.
    for _ in 0..20 {
        let refused = store.lease(&request(1)).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    }
    let writing = "&options=-c%20default_transaction_read_only%3Doff";
    let url = server.url("postgres") + writing;
    server.query(&url, "ALTER SYSTEM RESET default_transaction_read_only");
    server.query(&url, reload);
    until("it writes again", || async {
        store.check_writable().await.is_ok()
    })
    .await;
    assert_eq!(outcomes(&publish(&store, 3, 1).await), ["published"]);
    assert_eq!(leasable(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_is_not_writable() {
    let server = PostgresServer::start();
    let url = server.create_database();
    let store = connect(&url, settings(1)).await;
    store.close().await.unwrap();
    let standby = server.start_standby();
    let store = connect(&standby.url(database(&url)), settings(1)).await;
    let refused = store.check_writable().await.unwrap_err();
    assert!(chain(&refused).contains("read-only transaction"));
    standby.execute("postgres", "SELECT pg_promote()");
    until("it writes", || async {
        store.check_writable().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_noticed() {
    let server = PostgresServer::shared();
    let direct = server.create_database();
    let url = limited_role(server, &direct, -1);
    let store = connect(&url, settings(1)).await;
    store.check_writable().await.unwrap();
    let name = database(&direct);
    for (right, what) in [
        ("INSERT", "nahook.event"),
        ("INSERT", "nahook.record"),
        ("SELECT", "nahook.endpoint"),
        ("USAGE, UPDATE", "SEQUENCE nahook.event_seq"),
        ("USAGE", "SCHEMA nahook"),
    ] {
        server.execute(name, &format!("REVOKE {right} ON {what} FROM {name}"));
        assert!(store.check_writable().await.is_err(), "{right} on {what}");
        server.execute(name, &format!("GRANT {right} ON {what} TO {name}"));
        store.check_writable().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_gone_is_noticed_and_outlived() {
    let server = PostgresServer::start();
    let store = connect(&server.create_database(), settings(2)).await;
    store.check_writable().await.unwrap();
    server.stop();
    assert!(store.check_writable().await.is_err());
    server.start_again();
    until("it is back", || async {
        store.check_writable().await.is_ok()
    })
    .await;
    store.close().await.unwrap();
    assert!(store.check_writable().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_outlives_the_writer() {
    let settings = settings(1);
    let supervisor = settings.supervisor.clone();
    let store = connect(&PostgresServer::shared().create_database(), settings).await;
    for death in Death::ALL {
        supervisor.kill(Loop::PostgresWriter, *death);
        until("it writes again", || async {
            store.check_writable().await.is_ok()
        })
        .await;
    }
}
