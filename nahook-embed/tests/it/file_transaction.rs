//! Publishing within a transaction of the app's own, on one file.

use nahook_embed::core::Delivery;
use nahook_embed::{Hooks, HooksError};
use nahook_testkit::run;
use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;

use crate::receiver::Receiver;

const MAKE: &str = "CREATE TABLE IF NOT EXISTS delivery (item TEXT); PRAGMA user_version = 3";

async fn open(file: &std::path::Path) -> Hooks {
    let url = format!("sqlite://{}", file.display());
    let hooks = Hooks::builder(&url).allow_endpoint_range("127.0.0.0/8".parse().unwrap());
    hooks.open().await.unwrap()
}

#[test]
fn an_order_and_its_webhooks_are_committed_or_neither() {
    run(async {
        let mut receiver = Receiver::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        let mut app = Connection::open(&file).unwrap();
        app.execute_batch(MAKE).unwrap();
        let hooks = open(&file).await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        endpoint.await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = hooks.clone();
        let running = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            running.run(stopped).await;
        });
        for n in 0..6 {
            let mut tx = app
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .unwrap();
            tx.execute("INSERT INTO delivery VALUES ('book')", [])
                .unwrap();
            let order = json!({ "n": n });
            let receipt = hooks.trigger_in(&mut tx, "order.paid", &order).unwrap();
            assert_eq!(receipt.delivery_ids().count(), 1);
            if n % 2 == 0 {
                tx.rollback().unwrap();
            } else {
                tx.commit().unwrap();
                let (_, body) = receiver.next().await;
                assert_eq!(body, order.to_string());
            }
        }
        drop(stop);
        running.await.unwrap();
        assert!(receiver.has_no_more());
        hooks.close().await.unwrap();
        let (orders, version): (i64, i64) = app
            .query_row(
                "SELECT (SELECT count(*) FROM delivery), user_version FROM pragma_user_version",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!((orders, version), (3, 3));
    });
}

#[test]
fn a_store_elsewhere_has_no_part_in_the_transaction() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut app = Connection::open(folder.path().join("app.db")).unwrap();
        let memory = Hooks::open("memory://").await.unwrap();
        let refused = memory.trigger_in(&mut app, "order.paid", &json!({}));
        assert!(matches!(refused, Err(HooksError::NotOnSqlite)));
        let hooks = open(&folder.path().join("hooks.db")).await;
        hooks.ensure_event_type("order.paid").await.unwrap();
        let refused = hooks.trigger_in(&mut app, "order.paid", &json!({}));
        assert!(matches!(refused, Err(HooksError::Trigger(_))));
        hooks.close().await.unwrap();
    });
}

#[test]
fn an_event_type_is_made_in_the_transaction_for_those_whose_pattern_matches_it() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        let url = format!("sqlite://{}", file.display());
        let hooks = Hooks::builder(&url).create_event_types().open().await;
        let hooks = hooks.unwrap();
        let endpoint = hooks.create_endpoint("https://shop.example/hooks");
        let endpoint = endpoint.on("order.*").await.unwrap();
        let mut app = Connection::open(&file).unwrap();
        for is_committed in [false, true] {
            let mut tx = app
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .unwrap();
            let receipt = hooks.trigger_in(&mut tx, "order.paid", &json!({}));
            let receipt = receipt.unwrap();
            let reached = receipt.deliveries().iter().map(Delivery::endpoint);
            assert_eq!(reached.collect::<Vec<_>>(), [endpoint.id]);
            if is_committed {
                tx.commit().unwrap();
            } else {
                tx.rollback().unwrap();
            }
            let made = hooks.event_types().await.unwrap();
            assert_eq!(made.len(), usize::from(is_committed));
        }
        let refused = hooks.trigger_in(&mut app, "order.paid", "no object");
        assert!(matches!(refused, Err(HooksError::Payload(_))));
        hooks.close().await.unwrap();
    });
}
