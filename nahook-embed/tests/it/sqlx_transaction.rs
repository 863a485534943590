//! Publishing within a transaction of `sqlx`, on one file.

use nahook_embed::core::Delivery;
use nahook_embed::{Hooks, HooksError};
use nahook_testkit::run;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::receiver::Receiver;

#[test]
fn an_order_and_its_webhooks_are_committed_or_neither() {
    run(async {
        let mut receiver = Receiver::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        let options = SqliteConnectOptions::new().filename(&file);
        let app = SqlitePool::connect_with(options.create_if_missing(true)).await;
        let app = app.unwrap();
        let table = "CREATE TABLE orders (n INTEGER)";
        sqlx::query(table).execute(&app).await.unwrap();
        let hooks = Hooks::builder(&format!("sqlite://{}", file.display()))
            .create_event_types()
            .allow_endpoint_range("127.0.0.0/8".parse().unwrap());
        let hooks = hooks.open().await.unwrap();
        let endpoint = hooks.create_endpoint(&receiver.url);
        let endpoint = endpoint.on("order.*").await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = hooks.clone();
        let running = tokio::spawn(async move { running.run(async { drop(stopped.await) }).await });
        for n in 0..6 {
            let mut tx = app.begin().await.unwrap();
            let insert = sqlx::query("INSERT INTO orders VALUES (?1)").bind(n);
            insert.execute(&mut *tx).await.unwrap();
            let order = json!({ "n": n });
            let receipt = hooks.trigger_in(&mut tx, "order.paid", &order).await;
            let receipt = receipt.unwrap();
            let reached = receipt.deliveries().iter().map(Delivery::endpoint);
            assert_eq!(reached.collect::<Vec<_>>(), [endpoint.id]);
            if n % 2 == 0 {
                tx.rollback().await.unwrap();
                let made = hooks.event_types().await.unwrap();
                assert_eq!(made.len(), usize::from(n > 0), "rolled back, too");
            } else {
                tx.commit().await.unwrap();
                let (_, body) = receiver.next().await;
                assert_eq!(body, order.to_string());
            }
        }
        drop(stop);
        running.await.unwrap();
        assert!(receiver.has_no_more());
        hooks.close().await.unwrap();
        let orders = sqlx::query_scalar("SELECT count(*) FROM orders");
        let orders: i64 = orders.fetch_one(&app).await.unwrap();
        assert_eq!(orders, 3);
    });
}

#[test]
fn a_store_elsewhere_has_no_part_in_the_transaction() {
    run(async {
        let app = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let mut app = app.acquire().await.unwrap();
        let hooks = Hooks::open("memory://").await.unwrap();
        let refused = hooks.trigger_in(&mut *app, "order.paid", &json!({})).await;
        assert!(matches!(refused, Err(HooksError::NotOnSqlite)));
    });
}
