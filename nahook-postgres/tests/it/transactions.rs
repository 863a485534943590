//! Publishing inside the caller's own transaction, by `sqlx`, by `tokio-postgres`, by `deadpool-postgres` and by plain SQL.

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::WorkspaceId;
use nahook_core::{NewEvent, Receipt, TriggerError};
use nahook_postgres::{CallersTransaction, PostgresStore};
use nahook_testkit::declare::{Workspace, event_type_name, metadata, payload, workspace_id};

use crate::support::{self, client, count, execute, leasable, shop_store};

fn order_paid(number: u32) -> NewEvent {
    NewEvent {
        event_type: event_type_name("order.paid"),
        payload: payload(&format!("{{\"b\": {number}.0, \"a\":1}}")),
        metadata: metadata(&[("origin", "test")]),
    }
}

/// Triggers the event with this number in the transaction.
async fn trigger(
    store: &PostgresStore,
    transaction: &mut impl CallersTransaction,
    number: u32,
) -> Receipt {
    let event = order_paid(number);
    let triggered = store.trigger_in(transaction, &event, me());
    triggered.await.unwrap()
}

fn me() -> WorkspaceId {
    workspace_id("ws_shop")
}

fn queued(receipt: &Receipt) -> Vec<nahook_core::id::DeliveryId> {
    receipt.delivery_ids().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_leaves_everything_and_wakes_a_worker() {
    let (url, store) = shop_store(2).await;
    let mut client = client(&url).await;
    execute(&client, "CREATE TABLE orders (id int)").await;
    let mut transaction = client.transaction().await.unwrap();
    execute(&transaction, "INSERT INTO orders VALUES (1)").await;
    let receipt = trigger(&store, &mut transaction, 1).await;
    assert_eq!(queued(&receipt).len(), 2);
    let batch = nahook_queue::DeliveryQueue::lease(&store, &support::request(10))
        .await
        .unwrap();
    assert!(
        batch.deliveries.is_empty(),
        "nobody sees what is not committed"
    );
    let changed = tokio::spawn({
        let store = store.clone();
        async move { nahook_queue::DeliveryQueue::changed(&store, batch.generation).await }
    });
    transaction.commit().await.unwrap();
    tokio::time::timeout(std::time::Duration::from_mins(2), changed)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(leasable(&store).await, queued(&receipt));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_back_leaves_nothing() {
    let (url, store) = shop_store(2).await;
    let mut client = client(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    trigger(&store, &mut transaction, 1).await;
    transaction.rollback().await.unwrap();
    assert_eq!(leasable(&store).await, []);
    let events = count(&client, "event").await;
    assert_eq!(events, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_rolled_back_leaves_what_was_before_it() {
    let (url, store) = shop_store(1).await;
    let mut client = client(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    let kept = trigger(&store, &mut transaction, 1).await;
    let mut savepoint = transaction.savepoint("nahook_trigger").await.unwrap();
    trigger(&store, &mut savepoint, 2).await;
    savepoint.rollback().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(leasable(&store).await, queued(&kept));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_statement_does_not_poison_the_transaction() {
    let (url, store) = shop_store(3).await;
    let mut client = client(&url).await;
    let staged = "CREATE TABLE orders (id int);
        CREATE FUNCTION staged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM orders) = 1 THEN RAISE EXCEPTION 'staged'; END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER staged BEFORE INSERT ON nahook.record FOR EACH ROW EXECUTE FUNCTION staged()";
    execute(&client, staged).await;
    let mut transaction = client.transaction().await.unwrap();
    execute(&transaction, "INSERT INTO orders VALUES (1)").await;
    let refused = trigger(&store, &mut transaction, 1).await;
    assert_eq!(
        support::outcomes(refused.deliveries()),
        ["queue_unavailable"; 3]
    );
    execute(&transaction, "INSERT INTO orders VALUES (2)").await;
    let receipt = trigger(&store, &mut transaction, 2).await;
    transaction.commit().await.unwrap();
    assert_eq!(leasable(&store).await, queued(&receipt));
    let orders = client.query("SELECT FROM orders", &[]).await.unwrap();
    assert_eq!(orders.len(), 2);
}

/// The store's look-up does not see what only this transaction has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_goes_in_the_transaction_is_gone() {
    let (url, store) = shop_store(3).await;
    let other = Workspace::new("ws_other").manifest();
    store.apply(&other, ApplyMode::Commit).await.unwrap();
    let mut client = client(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    let change = "UPDATE nahook.endpoint SET deleted_at = 1 WHERE id = 'ep_0';
        UPDATE nahook.endpoint SET workspace = 2 WHERE id = 'ep_1'";
    transaction.batch_execute(change).await.unwrap();
    let receipt = trigger(&store, &mut transaction, 1).await;
    assert_eq!(
        support::outcomes(receipt.deliveries()),
        ["endpoint_gone", "endpoint_gone", "published"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_lost_in_the_middle_queues_nothing() {
    let (url, store) = shop_store(4).await;
    let mut client = client(&url).await;
    let staged = "CREATE FUNCTION staged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid());
            RETURN NEW; END $$;
        CREATE TRIGGER staged BEFORE INSERT ON nahook.record FOR EACH ROW EXECUTE FUNCTION staged()";
    execute(&client, staged).await;
    let mut transaction = client.transaction().await.unwrap();
    let receipt = trigger(&store, &mut transaction, 1).await;
    assert_eq!(
        support::outcomes(receipt.deliveries()),
        ["queue_unavailable"; 4]
    );
    assert!(transaction.commit().await.is_err());
    assert_eq!(leasable(&store).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_has_failed_before_queues_nothing() {
    let (url, store) = shop_store(2).await;
    let mut client = client(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    assert!(transaction.batch_execute("SELECT 1/0").await.is_err());
    let receipt = trigger(&store, &mut transaction, 1).await;
    assert_eq!(
        support::outcomes(receipt.deliveries()),
        ["queue_unavailable"; 2]
    );
    transaction.rollback().await.unwrap();
    assert_eq!(leasable(&store).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_trigger_leaves_the_transaction_as_it_was() {
    let (url, store) = shop_store(1).await;
    let mut client = client(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    let unknown = NewEvent {
        event_type: event_type_name("order.lost"),
        ..order_paid(1)
    };
    let refused = store.trigger_in(&mut transaction, &unknown, me()).await;
    assert!(matches!(refused, Err(TriggerError::UnknownEventType)));
    execute(&transaction, "SELECT 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooled_transaction_is_joined_too() {
    let (url, store) = shop_store(1).await;
    let manager = deadpool_postgres::Manager::new(url.parse().unwrap(), tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(1)
        .build()
        .unwrap();
    let mut client = pool.get().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    let receipt = trigger(&store, &mut transaction, 1).await;
    transaction.commit().await.unwrap();
    assert_eq!(leasable(&store).await, queued(&receipt));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_sql_fans_out_in_its_own_transaction() {
    let (url, store) = shop_store(2).await;
    let client = client(&url).await;
    let trigger = r#"SELECT message_id, event_type_id, delivery_id, endpoint_id
        FROM nahook.trigger('ws_shop', 'order.paid', '{"b": 1.0, "a":1}', '{"origin": "sql"}')"#;
    execute(&client, "BEGIN").await;
    client.query(trigger, &[]).await.unwrap();
    execute(&client, "ROLLBACK").await;
    assert_eq!(leasable(&store).await, []);
    execute(&client, "BEGIN").await;
    let rows = client.query(trigger, &[]).await.unwrap();
    execute(&client, "COMMIT").await;
    let batch = nahook_queue::DeliveryQueue::lease(&store, &support::request(10))
        .await
        .unwrap();
    let mut leased = batch.deliveries;
    leased.sort_by_key(|leased| leased.lease.delivery);
    assert_eq!(rows.len(), 2);
    for (row, leased) in rows.iter().zip(leased) {
        assert_eq!(row.get::<_, &str>(0), leased.message.to_string());
        assert_eq!(row.get::<_, &str>(2), leased.lease.delivery.to_string());
        assert_eq!(row.get::<_, &str>(3), leased.endpoint.to_string());
        assert_eq!(&leased.payload.as_bytes()[..], br#"{"b": 1.0, "a":1}"#);
        assert_eq!(leased.event_type.unwrap().as_str(), "order.paid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_sql_fans_out_by_patterns() {
    let (url, store) = shop_store(1).await;
    let client = client(&url).await;
    let patterns = Workspace::new("ws_shop").endpoint("ep_pattern", &["order.*"]);
    let later = Workspace::new("ws_shop").event_type("order.new");
    for step in [patterns.manifest(), later.manifest()] {
        store.apply(&step, ApplyMode::Commit).await.unwrap();
    }
    let endpoints = async |name: &str| {
        let call = "SELECT endpoint_id FROM nahook.trigger('ws_shop', $1, '{}')";
        let rows = client.query(call, &[&name]).await.unwrap();
        rows.len()
    };
    assert_eq!(endpoints("order.paid").await, 2);
    assert_eq!(endpoints("order.new").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_sql_is_told_what_is_wrong() {
    let (url, _store) = shop_store(1).await;
    let client = client(&url).await;
    for (arguments, code) in [
        ("'ws_none', 'order.paid', '{}'", "NH001"),
        ("'ws_shop', 'order.lost', '{}'", "NH002"),
        ("'ws_shop', 'order.paid', '[]'", "NH003"),
        ("'ws_shop', 'order.paid', '{}', '{\"a\": 1}'", "NH003"),
        ("'ws_shop', 'order.paid', '{}', '[]'", "NH003"),
    ] {
        let call = format!("SELECT * FROM nahook.trigger({arguments})");
        let error = client.query(&call, &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), code, "{arguments}");
    }
}

/// By the table of which the Management API and manifests are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_sql_follows_the_rules_for_events() {
    use nahook_control::rules::event;
    let (url, _store) = shop_store(1).await;
    let client = client(&url).await;
    let call = "SELECT FROM nahook.trigger('ws_shop', $1, '{}', $2::text::json)";
    for sample in event::METADATA.rule.samples() {
        let metadata = sample.value.to_string();
        let told = client.query(call, &[&"order.paid", &metadata]).await;
        match told {
            Ok(rows) => assert!(sample.is_allowed && rows.len() == 1, "{metadata}"),
            Err(error) => {
                let code = error.code().unwrap_or_else(|| panic!("{error}")).code();
                assert!(
                    !sample.is_allowed && code == "NH003",
                    "{metadata}: {error:?}"
                );
            }
        }
    }
    // Escapes are one character each.
    let escaped = format!("{{\"a\": \"{}\"}}", "\\u00e4".repeat(1_024));
    client
        .query(call, &[&"order.paid", &escaped])
        .await
        .unwrap();
    for sample in event::TYPE.rule.samples() {
        // Postgres has no NUL in a text.
        let name = sample.value.as_str().unwrap();
        if !sample.is_allowed && !name.contains('\0') {
            let refused = client.query(call, &[&name, &"{}"]).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "NH002", "{name}");
        }
    }
}

#[cfg(feature = "sqlx")]
mod by_sqlx {
    use sqlx::postgres::PgPoolOptions;
    use sqlx::{Connection as _, PgPool};

    use super::*;
    use crate::support::until;

    async fn pool(url: &str) -> PgPool {
        PgPoolOptions::new()
            .max_connections(2)
            .connect(url)
            .await
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_order_and_its_webhooks_or_neither() {
        let (url, store) = shop_store(2).await;
        let pool = pool(&url).await;
        sqlx::query("CREATE TABLE orders (id int)")
            .execute(&pool)
            .await
            .unwrap();
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO orders VALUES (1)")
            .execute(&mut *tx)
            .await
            .unwrap();
        trigger(&store, &mut tx, 1).await;
        tx.rollback().await.unwrap();
        assert_eq!(leasable(&store).await, []);
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO orders VALUES (1)")
            .execute(&mut *tx)
            .await
            .unwrap();
        let receipt = trigger(&store, &mut tx, 1).await;
        assert_eq!(leasable(&store).await, []);
        tx.commit().await.unwrap();
        assert_eq!(leasable(&store).await, queued(&receipt));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_savepoint_rolled_back_leaves_what_was_before_it() {
        let (url, store) = shop_store(1).await;
        let pool = pool(&url).await;
        let mut tx = pool.begin().await.unwrap();
        let kept = trigger(&store, &mut tx, 1).await;
        let mut inner = tx.begin().await.unwrap();
        trigger(&store, &mut inner, 2).await;
        inner.rollback().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(leasable(&store).await, queued(&kept));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failing_statement_does_not_poison_the_transaction() {
        let (url, store) = shop_store(2).await;
        let pool = pool(&url).await;
        let mut tx = pool.begin().await.unwrap();
        // The store's own statement fails: its function is hidden from this transaction.
        sqlx::query("ALTER FUNCTION nahook.publish RENAME TO hidden")
            .execute(&mut *tx)
            .await
            .unwrap();
        let receipt = trigger(&store, &mut tx, 1).await;
        assert_eq!(
            support::outcomes(receipt.deliveries()),
            ["queue_unavailable"; 2]
        );
        sqlx::query("ALTER FUNCTION nahook.hidden RENAME TO publish")
            .execute(&mut *tx)
            .await
            .unwrap();
        let receipt = trigger(&store, &mut *tx, 2).await;
        tx.commit().await.unwrap();
        assert_eq!(leasable(&store).await, queued(&receipt));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_killed_before_the_commit_leaves_nothing() {
        let (url, store) = shop_store(1).await;
        let pool = pool(&url).await;
        let mut tx = pool.begin().await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        trigger(&store, &mut tx, 1).await;
        let killer = client(&url).await;
        killer
            .execute("SELECT pg_terminate_backend($1)", &[&pid])
            .await
            .unwrap();
        until("it is gone", || async {
            let rows = killer
                .query("SELECT 1 FROM pg_stat_activity WHERE pid = $1", &[&pid])
                .await;
            rows.unwrap().is_empty()
        })
        .await;
        let receipt = trigger(&store, &mut tx, 2).await;
        assert_eq!(
            support::outcomes(receipt.deliveries()),
            ["queue_unavailable"]
        );
        assert!(tx.commit().await.is_err());
        assert_eq!(leasable(&store).await, []);
    }
}
