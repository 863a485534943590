//! Publishing within a transaction of the app's own.

use nahook_embed::{Hooks, HooksError};
use nahook_testkit::run;
use nahook_testserver::PostgresServer;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::receiver::Receiver;

#[test]
fn an_order_and_its_webhooks_are_committed_or_neither() {
    run(async {
        let mut receiver = Receiver::start().await;
        let url = PostgresServer::shared().create_database();
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let hooks = Hooks::builder(&url).allow_endpoint_range("127.0.0.0/8".parse().unwrap());
        let hooks = hooks.open().await.unwrap();
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        endpoint.await.unwrap();
        for (n, is_committed) in [(1, false), (2, true)] {
            let mut tx = client.transaction().await.unwrap();
            let order = json!({ "n": n });
            let receipt = hooks.trigger_in(&mut tx, "order.paid", &order).await;
            assert_eq!(receipt.unwrap().delivery_ids().count(), 1);
            if is_committed {
                tx.commit().await.unwrap();
            } else {
                tx.rollback().await.unwrap();
            }
        }
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = hooks.clone();
        let running = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            running.run(stopped).await;
        });
        assert_eq!(receiver.bodies(1).await, [r#"{"n":2}"#]);
        drop(stop);
        running.await.unwrap();
        assert!(receiver.has_no_more());
        hooks.close().await.unwrap();
    });
}

#[test]
fn a_store_elsewhere_has_no_part_in_the_transaction() {
    run(async {
        let url = PostgresServer::shared().create_database();
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let hooks = Hooks::open("memory://").await.unwrap();
        let mut tx = client.transaction().await.unwrap();
        let refused = hooks.trigger_in(&mut tx, "order.paid", &json!({})).await;
        assert!(matches!(refused, Err(HooksError::NotOnPostgres)));
    });
}

#[test]
fn an_event_type_is_made_for_a_transaction() {
    run(async {
        let url = PostgresServer::shared().create_database();
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let hooks = Hooks::builder(&url).create_event_types();
        let hooks = hooks.open().await.unwrap();
        let endpoint = hooks.create_endpoint("https://customer.example/hooks");
        endpoint.on("order.**").await.unwrap();
        let mut tx = client.transaction().await.unwrap();
        let receipt = hooks.trigger_in(&mut tx, "order.paid", &json!({})).await;
        assert_eq!(receipt.unwrap().delivery_ids().count(), 1, "by its pattern");
        tx.rollback().await.unwrap();
        assert_eq!(hooks.event_types().await.unwrap().len(), 1);
        hooks.close().await.unwrap();
    });
}
