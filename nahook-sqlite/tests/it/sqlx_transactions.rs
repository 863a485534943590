//! Queueing in a transaction of `sqlx`, on the same file.

use std::error::Error as _;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::WorkspaceId;
use nahook_core::{
    Delivery, EventTypeName, Metadata, NewEvent, Payload, Scope, StoreErrorKind, TriggerError,
};
use nahook_sqlite::SqliteStore;
use nahook_testkit::declare::{Workspace, endpoint_id};
use rusqlite::types::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{EVENT_TYPE, Place, WORKSPACE, server};

/// A file with a store in it, and an app's connection to it.
async fn shop(place: &Place) -> (SqliteStore, SqliteConnection) {
    let mut settings = server();
    settings.shares_file = true;
    let store = SqliteStore::open(place.file(), settings).unwrap();
    let declared = Workspace::new(WORKSPACE)
        .event_type(EVENT_TYPE)
        .endpoint("ep_named", &[EVENT_TYPE])
        .endpoint("ep_pattern", &["order.*"]);
    store
        .apply(&declared.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    let options = SqliteConnectOptions::new().filename(place.file());
    let options = options.busy_timeout(Duration::from_millis(1));
    let app = SqliteConnection::connect_with(&options).await.unwrap();
    (store, app)
}

fn event(name: &str) -> NewEvent {
    let name = EventTypeName::new(name).unwrap();
    let mut event = NewEvent::new(name, Payload::new(r#"{ "order": 1 }"#).unwrap());
    event.metadata = Metadata::new([("tenant".to_owned(), "acme".to_owned())].into()).unwrap();
    event
}

fn scope() -> Scope {
    Scope::from(WORKSPACE.parse::<WorkspaceId>().unwrap())
}

/// All rows of what a trigger and a new event type write, without what is drawn for each.
fn rows(place: &Place) -> Vec<Vec<Value>> {
    let raw = place.raw();
    let statements = [
        "SELECT workspace, name, description, deleted_at FROM nahook_event_type ORDER BY row",
        "SELECT id, workspace, endpoint, event_type, is_named FROM nahook_subscription WHERE NOT is_named ORDER BY row",
        "SELECT workspace, actor_kind, actor_id, actor_label, action, resource_type, metadata
         FROM nahook_audit_entry WHERE actor_kind = 'system' ORDER BY rowid",
        "SELECT version FROM nahook_catalog_state",
        "SELECT seq, length(id), workspace, event_type, width, metadata, payload FROM nahook_event ORDER BY seq",
        "SELECT event, endpoints FROM nahook_record ORDER BY event",
    ];
    let mut all = Vec::new();
    for statement in statements {
        let mut statement = raw.prepare(statement).unwrap();
        let columns = statement.column_count();
        let found = statement.query_map([], |row| {
            (0..columns).map(|column| row.get(column)).collect()
        });
        all.extend(found.unwrap().map(Result::unwrap));
    }
    all
}

#[tokio::test]
async fn both_drivers_write_the_same_rows() {
    let (by_sqlx, by_rusqlite) = (Place::new(), Place::new());
    let (store, mut app) = shop(&by_sqlx).await;
    let mut tx = app.begin().await.unwrap();
    for name in [EVENT_TYPE, "order.refunded"] {
        let event = event(name);
        for _ in 0..2 {
            let ensured =
                store.ensure_event_type_in_sqlx(&mut tx, &event.event_type, scope().workspace);
            ensured.await.unwrap();
        }
        let receipt = store
            .trigger_in_sqlx(&mut tx, &event, scope())
            .await
            .unwrap();
        let reached = receipt.deliveries().iter().map(Delivery::endpoint);
        let expected: &[&str] = if name == EVENT_TYPE {
            &["ep_named", "ep_pattern"]
        } else {
            &["ep_pattern"]
        };
        let expected = expected.iter().map(|id| endpoint_id(id));
        assert!(reached.eq(expected), "{name}");
    }
    tx.commit().await.unwrap();
    store.close().await.unwrap();

    let (store, _) = shop(&by_rusqlite).await;
    let mut app = by_rusqlite.raw();
    let tx = app.transaction().unwrap();
    for name in [EVENT_TYPE, "order.refunded"] {
        let event = event(name);
        store
            .ensure_event_type_in(&tx, &event.event_type, scope().workspace)
            .unwrap();
        store.trigger_in(&tx, &event, scope()).unwrap();
    }
    tx.commit().unwrap();
    store.close().await.unwrap();
    assert_eq!(rows(&by_sqlx), rows(&by_rusqlite));
}

#[tokio::test]
async fn refusal_leaves_the_transaction_as_it_was() {
    let place = Place::new();
    let (store, mut app) = shop(&place).await;
    let before = rows(&place);
    let mut tx = app.begin().await.unwrap();
    let refused = store
        .trigger_in_sqlx(&mut tx, &event("order.lost"), scope())
        .await;
    assert!(matches!(refused, Err(TriggerError::UnknownEventType)));
    let nowhere = Scope::from("ws_other".parse::<WorkspaceId>().unwrap());
    let name = EventTypeName::new("order.lost").unwrap();
    let ensured = store.ensure_event_type_in_sqlx(&mut tx, &name, nowhere.workspace);
    ensured.await.unwrap();
    sqlx::query("CREATE TABLE orders (id)")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&place), before);

    let mut elsewhere = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let refused = store
        .trigger_in_sqlx(&mut elsewhere, &event(EVENT_TYPE), scope())
        .await;
    assert!(matches!(refused, Err(TriggerError::StoreUnavailable(_))));
}

#[tokio::test]
async fn a_locked_file_is_unavailable_for_now() {
    let place = Place::new();
    let (store, mut app) = shop(&place).await;
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store
        .trigger_in_sqlx(&mut app, &event(EVENT_TYPE), scope())
        .await;
    let Err(TriggerError::StoreUnavailable(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.source().unwrap().to_string().contains("locked"));
    other.execute_batch("ROLLBACK").unwrap();
    store
        .trigger_in_sqlx(&mut app, &event(EVENT_TYPE), scope())
        .await
        .unwrap();
}
