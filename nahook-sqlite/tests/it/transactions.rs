//! Queueing in a transaction of the app's own, on the same file.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{
    Delivery, EventTypeName, FailureKind, NewEvent, Payload, Receipt, Scope, SubscriptionStore,
    TriggerError,
};
use nahook_queue::{
    DeliveryLog, DeliveryQuery, DeliveryQueue, DeliverySearch, DeliveryStatus, LeasedDelivery,
    Next, Settlement,
};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::declare::{Workspace, endpoint_id, nth_endpoint_id};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::support::{EVENT_TYPE, Place, WORKSPACE, all_failed, lease, publish, request, server};

fn sharing() -> SqliteSettings {
    let mut settings = server();
    settings.shares_file = true;
    settings
}

/// A file with a table of the app's, and a store in it with so many endpoints that are subscribed.
async fn shop(place: &Place, endpoints: usize) -> (SqliteStore, Connection) {
    let app = place.raw();
    app.execute_batch("CREATE TABLE event (item TEXT); PRAGMA user_version = 7")
        .unwrap();
    let store = SqliteStore::open(place.file(), sharing()).unwrap();
    let mut declared = Workspace::new(WORKSPACE).event_type(EVENT_TYPE);
    for n in 0..endpoints {
        declared = declared.endpoint(nth_endpoint_id(n).as_str(), &[EVENT_TYPE]);
    }
    store
        .apply(&declared.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    (store, app)
}

fn begin(app: &mut Connection) -> Transaction<'_> {
    let begun = app.transaction_with_behavior(TransactionBehavior::Immediate);
    begun.unwrap()
}

/// Triggers the usual event.
fn trigger(store: &SqliteStore, connection: &Connection) -> Receipt {
    store.trigger_in(connection, &paid(), scope()).unwrap()
}

/// Opens the store of the shop again, with other settings.
async fn reopened(
    place: &Place,
    store: SqliteStore,
    change: impl FnOnce(&mut SqliteSettings),
) -> SqliteStore {
    store.close().await.unwrap();
    drop(store);
    let mut settings = sharing();
    change(&mut settings);
    SqliteStore::open(place.file(), settings).unwrap()
}

/// Leases until so many have come, none of them twice.
async fn found(store: &SqliteStore, count: usize) -> BTreeSet<DeliveryId> {
    let mut found = BTreeSet::new();
    while found.len() < count {
        for leased in next(store).await {
            assert!(found.insert(leased.lease.delivery), "leased twice");
        }
    }
    found
}

fn paid() -> NewEvent {
    let name = EventTypeName::new(EVENT_TYPE).unwrap();
    NewEvent::new(name, Payload::new(r#"{ "order": 1 }"#).unwrap())
}

fn scope() -> Scope {
    Scope::from(WORKSPACE.parse::<WorkspaceId>().unwrap())
}

/// Waits until something is leased.
async fn next(store: &SqliteStore) -> Vec<LeasedDelivery> {
    loop {
        let batch = store.lease(&request(100)).await.unwrap();
        if !batch.deliveries.is_empty() {
            return batch.deliveries;
        }
        store.changed(batch.generation).await;
    }
}

/// Waits until everything that other connections have committed so far is adopted.
async fn adopted(store: &SqliteStore) {
    store.adopt();
    store.check_writable().await.unwrap();
}

fn ids(receipt: &Receipt) -> BTreeSet<DeliveryId> {
    receipt.delivery_ids().collect()
}

/// Refused at once, an app would have to begin every transaction as an immediate one.
#[tokio::test]
async fn a_deferred_transaction_waits_for_who_writes() {
    static WRITER: Mutex<Option<Connection>> = Mutex::new(None);
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    let other = place.raw();
    other.busy_timeout(Duration::from_mins(1)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    *WRITER.lock().unwrap() = Some(other);
    // Asked when the file is locked: whoever writes ends then.
    let ends = |_| {
        drop(WRITER.lock().unwrap().take());
        true
    };
    app.busy_handler(Some(ends)).unwrap();
    let transaction = app.transaction().unwrap();
    let receipt = trigger(&store, &transaction);
    transaction.commit().unwrap();
    assert!(WRITER.lock().unwrap().is_none());
    assert_eq!(ids(&receipt).len(), 1);
}

#[tokio::test]
async fn order_and_its_webhooks_are_committed_or_neither() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 2).await;
    let mut committed = BTreeSet::new();
    for is_committed in [false, true, false] {
        let tx = begin(&mut app);
        tx.execute("INSERT INTO event VALUES ('book')", []).unwrap();
        let receipt = trigger(&store, &tx);
        let endpoints: Vec<_> = receipt
            .deliveries()
            .iter()
            .map(Delivery::endpoint)
            .collect();
        assert_eq!(endpoints, [nth_endpoint_id(0), nth_endpoint_id(1)]);
        if is_committed {
            committed = ids(&receipt);
            tx.commit().unwrap();
        } else {
            tx.rollback().unwrap();
        }
    }
    let leased = next(&store).await;
    let found: BTreeSet<_> = leased.iter().map(|it| it.lease.delivery).collect();
    assert_eq!(found, committed);
    for delivery in &leased {
        assert_eq!(delivery.payload.as_bytes().as_ref(), br#"{ "order": 1 }"#);
        assert_eq!(delivery.event_type.as_ref().unwrap().as_str(), EVENT_TYPE);
    }
    adopted(&store).await;
    assert!(lease(&store, 10).await.is_empty());
    let orders: i64 = app
        .query_row("SELECT count(*) FROM event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(orders, 1);
    let version = app.pragma_query_value(None, "user_version", |row| row.get(0));
    assert_eq!(version, Ok(7));
}

#[tokio::test]
async fn nothing_is_leased_before_the_commit() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    let tx = begin(&mut app);
    trigger(&store, &tx);
    assert!(lease(&store, 10).await.is_empty());
    tx.commit().unwrap();
    assert_eq!(next(&store).await.len(), 1);
}

#[tokio::test]
async fn commit_wakes_whoever_waits_for_deliveries() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    // So seldom that a delivery can only be noticed because the trigger has said so.
    let seldom = Duration::from_hours(24);
    let store = reopened(&place, store, |settings| settings.watch_interval = seldom).await;
    for _ in 0..20 {
        let batch = store.lease(&request(1)).await.unwrap();
        let tx = begin(&mut app);
        let receipt = trigger(&store, &tx);
        tx.commit().unwrap();
        store.changed(batch.generation).await;
        let leased = next(&store).await;
        assert!(ids(&receipt).contains(&leased[0].lease.delivery));
    }
}

#[tokio::test]
async fn delivery_is_adopted_once_and_settled_like_any_other() {
    let place = Place::new();
    let (store, app) = shop(&place, 1).await;
    for round in 0..20 {
        // Without a transaction, the statement is one.
        let receipt = trigger(&store, &app);
        let own = publish(&store, round, 1).await;
        let mut expected = ids(&receipt);
        expected.insert(own[0].id());
        let mut found = BTreeSet::new();
        while found.len() < 2 {
            let leased = next(&store).await;
            let settlements: Vec<_> = leased
                .iter()
                .map(|leased| Settlement {
                    lease: leased.lease,
                    attempt: None,
                    next: Next::Delivered,
                })
                .collect();
            store.settle(&settlements).await.unwrap();
            for leased in leased {
                assert!(found.insert(leased.lease.delivery), "leased twice");
            }
        }
        assert_eq!(found, expected);
    }
    adopted(&store).await;
    assert!(lease(&store, 10).await.is_empty());
    let left: i64 = place
        .raw()
        .query_row("SELECT count(*) FROM nahook_submission", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert!(left <= 1, "{left} of 20 are left");
}

#[tokio::test]
async fn what_was_committed_before_a_start_is_found_by_it() {
    let place = Place::new();
    let (store, app) = shop(&place, 2).await;
    let own = publish(&store, 1, 1).await;
    store.close().await.unwrap();
    // As after a kill between the commit and the adoption.
    let receipt = trigger(&store, &app);
    drop(store);
    let mut expected = ids(&receipt);
    expected.insert(own[0].id());
    for _ in 0..3 {
        let store = SqliteStore::open(place.file(), sharing()).unwrap();
        assert_eq!(found(&store, expected.len()).await, expected);
        adopted(&store).await;
        assert!(lease(&store, 10).await.is_empty());
    }
}

#[tokio::test]
async fn any_connection_queues_by_plain_sql() {
    let place = Place::new();
    let (store, app) = shop(&place, 2).await;
    let insert = "INSERT INTO nahook_trigger (workspace, event_type, payload, metadata)
         VALUES (?1, ?2, ?3, '{\"a\": \"b\"}')";
    app.execute(insert, params![WORKSPACE, EVENT_TYPE, "{\"n\": 1.50}"])
        .unwrap();
    // Nobody says so: it is noticed.
    let leased = next(&store).await;
    assert_eq!(leased.len(), 2);
    assert_eq!(leased[0].payload.as_bytes().as_ref(), b"{\"n\": 1.50}");
    let id = leased[0].message.as_bits();
    assert_eq!(id >> 79 & 1, 0, "room for the ids of deliveries");
    let age = leased[0].accepted_at.as_millis() - u64::try_from(id >> 80).unwrap();
    assert_eq!(age, 0);
    assert!(leased[0].accepted_at.as_millis() > 1_700_000_000_000);
    for (workspace, event_type, payload, says) in [
        ("ws_other", EVENT_TYPE, "{}", "the workspace does not exist"),
        (
            WORKSPACE,
            "order.lost",
            "{}",
            "the event type does not exist",
        ),
        (WORKSPACE, EVENT_TYPE, "[1]", "the payload must be"),
        (WORKSPACE, EVENT_TYPE, "{", "the payload must be"),
    ] {
        let refused = app.execute(insert, params![workspace, event_type, payload]);
        assert!(refused.unwrap_err().to_string().contains(says));
    }
}

/// By the table of which the Management API and manifests are made.
#[tokio::test]
async fn plain_sql_follows_the_rules_for_events() {
    use nahook_control::rules::event;
    let place = Place::new();
    let (store, app) = shop(&place, 1).await;
    let insert = "INSERT INTO nahook_trigger (workspace, event_type, payload, metadata) VALUES (?1, ?2, '{}', ?3)";
    let mut allowed = 0;
    for sample in event::METADATA.rule.samples() {
        let metadata = sample.value.to_string();
        let inserted = app.execute(insert, params![WORKSPACE, EVENT_TYPE, metadata]);
        assert_eq!(inserted.is_ok(), sample.is_allowed, "{metadata}");
        allowed += usize::from(sample.is_allowed);
    }
    adopted(&store).await;
    let workspace = scope().workspace;
    for leased in lease(&store, 10).await {
        // What is in the file can be read.
        let shown = store.delivery(leased.lease.delivery, &workspace).await;
        assert!(!shown.unwrap().unwrap().metadata.is_empty());
        allowed -= 1;
    }
    assert_eq!(allowed, 0, "each of them is queued");
    for sample in event::TYPE.rule.samples() {
        let name = sample.value.as_str().unwrap();
        let refused = app.execute(insert, params![WORKSPACE, name, None::<String>]);
        assert!(sample.is_allowed || refused.is_err(), "{name}");
    }
}

#[tokio::test]
async fn payload_over_the_workspaces_limit_is_refused_to_plain_sql() {
    let place = Place::new();
    let (store, app) = shop(&place, 1).await;
    app.execute("UPDATE nahook_workspace SET payload_len_max = 10", [])
        .unwrap();
    let insert = "INSERT INTO nahook_trigger (workspace, event_type, payload) VALUES (?1, ?2, ?3)";
    let queue = |payload: &str| app.execute(insert, params![WORKSPACE, EVENT_TYPE, payload]);
    // The space around it counts for nothing, and what counts is bytes.
    queue(" {\"n\": \"ä\"}\r\n\t").unwrap_err();
    queue("  {\"n\":\"ä\"}\r\n\t").unwrap();
    adopted(&store).await;
    assert_eq!(lease(&store, 10).await.len(), 1);
    let own = store.trigger_in(&app, &paid(), scope());
    assert_eq!(ids(&own.unwrap()).len(), 1, "the app keeps no plan");
}

#[tokio::test]
async fn an_id_that_is_there_is_queued_once() {
    let place = Place::new();
    let (store, app) = shop(&place, 1).await;
    let insert =
        "INSERT INTO nahook_trigger (workspace, event_type, payload, id) VALUES (?1, ?2, '{}', ?3)";
    let mut id = [0_u8; 16];
    for last in [1, 1, 2, 1] {
        id[15] = last;
        let parameters = params![WORKSPACE, EVENT_TYPE, id.as_slice()];
        app.execute(insert, parameters).unwrap();
    }
    let refused = app.execute(insert, params![WORKSPACE, EVENT_TYPE, "id"]);
    assert!(refused.is_err());
    adopted(&store).await;
    assert_eq!(lease(&store, 10).await.len(), 2);
}

#[tokio::test]
async fn receipt_is_that_of_a_trigger_in_every_scope() {
    let place = Place::new();
    let (store, app) = shop(&place, 3).await;
    let disable = "UPDATE nahook_endpoint SET is_active = 0 WHERE id = ?1;";
    app.execute(disable, [nth_endpoint_id(1).as_str()]).unwrap();
    app.execute_batch("UPDATE nahook_catalog_state SET version = version + 1")
        .unwrap();
    let default: String = app
        .query_row("SELECT id FROM nahook_environment", [], |row| row.get(0))
        .unwrap();
    let mut scopes = vec![scope()];
    for environment in [default.as_str(), "env_other"] {
        let mut narrow = scope();
        narrow.environment = Some(environment.parse().unwrap());
        scopes.push(narrow);
    }
    for (scope, count) in scopes.into_iter().zip([2, 2, 0]) {
        let receipt = store.trigger_in(&app, &paid(), scope).unwrap();
        let subscribed = store.subscribers(&paid().event_type, &scope).await;
        let subscribed = subscribed.unwrap().unwrap();
        assert_eq!(receipt.event_type(), subscribed.event_type);
        let endpoints = receipt.deliveries().iter().map(Delivery::endpoint);
        assert_eq!(endpoints.collect::<Vec<_>>(), *subscribed.endpoints);
        assert_eq!(receipt.deliveries().len(), count);
    }
}

#[tokio::test]
async fn refusal_leaves_the_transaction_as_it_was() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    let tx = begin(&mut app);
    tx.execute("INSERT INTO event VALUES ('book')", []).unwrap();
    let mut unknown = paid();
    unknown.event_type = EventTypeName::new("order.lost").unwrap();
    let refused = store.trigger_in(&tx, &unknown, scope());
    assert!(matches!(refused, Err(TriggerError::UnknownEventType)));
    let elsewhere = Connection::open_in_memory().unwrap();
    let refused = store.trigger_in(&elsewhere, &paid(), scope());
    assert!(matches!(refused, Err(TriggerError::StoreUnavailable(_))));
    store
        .ensure_event_type_in(&tx, &unknown.event_type, scope().workspace)
        .unwrap();
    let receipt = store.trigger_in(&tx, &unknown, scope()).unwrap();
    assert_eq!(receipt.deliveries(), []);
    tx.commit().unwrap();
    let found = store.subscribers(&unknown.event_type, &scope()).await;
    assert!(found.unwrap().is_some());
}

#[tokio::test]
async fn event_type_made_in_the_transaction_reaches_those_whose_pattern_matches_it() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    let patterns = Workspace::new(WORKSPACE)
        .endpoint("ep_segment", &["order.*"])
        .endpoint("ep_all", &["**"])
        .endpoint("ep_other", &["invoice.*"]);
    store
        .apply(&patterns.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    let mut event = paid();
    event.event_type = EventTypeName::new("order.refunded").unwrap();
    let mut committed = BTreeSet::new();
    for is_committed in [false, true] {
        let tx = begin(&mut app);
        store
            .ensure_event_type_in(&tx, &event.event_type, scope().workspace)
            .unwrap();
        let receipt = store.trigger_in(&tx, &event, scope()).unwrap();
        let endpoints = receipt.deliveries().iter().map(Delivery::endpoint);
        let expected = ["ep_segment", "ep_all"].map(endpoint_id);
        assert_eq!(endpoints.collect::<Vec<_>>(), expected);
        if is_committed {
            committed = ids(&receipt);
            tx.commit().unwrap();
        } else {
            tx.rollback().unwrap();
        }
    }
    assert_eq!(found(&store, committed.len()).await, committed);
    let subscribed = store.subscribers(&event.event_type, &scope()).await;
    assert_eq!(subscribed.unwrap().unwrap().endpoints.len(), 2);
}

#[tokio::test]
async fn log_and_lists_have_what_an_app_has_queued() {
    let place = Place::new();
    let (store, app) = shop(&place, 1).await;
    let receipt = trigger(&store, &app);
    let id = receipt.delivery_ids().next().unwrap();
    let workspace = scope().workspace;
    // By its id from the commit on, in the lists once it is adopted.
    let found = store.delivery(id, &workspace).await.unwrap().unwrap();
    assert_eq!(found.status, DeliveryStatus::Pending);
    adopted(&store).await;
    let query = DeliveryQuery {
        workspace,
        endpoint: nth_endpoint_id(0),
        status: Some(DeliveryStatus::Pending),
        since: None,
        before: None,
        limit: 10,
    };
    let listed = store.deliveries(&query).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn long_transaction_of_the_app_costs_a_bounded_wait() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    let brief = Duration::from_millis(20);
    let store = reopened(&place, store, |settings| settings.busy_timeout = brief).await;
    let tx = begin(&mut app);
    let receipt = trigger(&store, &tx);
    // Refused, and not merely late: nothing of it will be queued.
    let slots = publish(&store, 1, 1).await;
    assert!(all_failed(&slots, FailureKind::QueueUnavailable));
    assert!(store.check_writable().await.is_err());
    tx.commit().unwrap();
    let leased = next(&store).await;
    assert_eq!(leased.len(), 1);
    assert!(ids(&receipt).contains(&leased[0].lease.delivery));
}

#[tokio::test]
async fn more_than_is_kept_in_mind_is_adopted_and_delivered_in_its_turn() {
    let place = Place::new();
    let (store, mut app) = shop(&place, 1).await;
    let store = reopened(&place, store, |settings| settings.known_max = 1).await;
    let mut expected = BTreeSet::new();
    for _ in 0..3 {
        let tx = begin(&mut app);
        for _ in 0..150 {
            expected.extend(ids(&trigger(&store, &tx)));
        }
        tx.commit().unwrap();
    }
    assert_eq!(found(&store, expected.len()).await, expected);
}
