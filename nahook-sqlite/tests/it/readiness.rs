//! Readiness of the store, and the outcome of writes while nothing can be queued.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nahook_control::EndpointDirectory;
use nahook_core::{FailureKind, StoreErrorKind, SubscriptionStore};
use nahook_queue::{DeliveryLog, DeliveryQueue, Next, Settlement};
use nahook_sqlite::SqliteStore;
use nahook_testkit::declare::{event_type_name, scope, workspace_id};

use crate::support::{
    self, EVENT_TYPE, NOW, Place, WORKSPACE, all_failed, all_published, declare, first_endpoints,
    ids, lease, publish, queued, server,
};

async fn is_ready(store: &SqliteStore) -> bool {
    match store.check_writable().await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            false
        }
    }
}

#[tokio::test]
async fn check_commits_and_leaves_nothing_behind() {
    let place = Place::new();
    let store = place.open();
    let before = store.writer_stats().commits;
    assert!(is_ready(&store).await);
    assert_eq!(store.writer_stats().commits, before + 1);
    let left: i64 = place
        .raw()
        .query_row("SELECT count(*) FROM nahook_limiter_arrival", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(left, 0);
    store.close().await.unwrap();
    assert!(!is_ready(&store).await);
}

/// Takes the file away, expects that nothing is queued, brings it back and expects that everything is.
async fn nothing_is_queued_while_gone(remove: impl Fn(&Path), restore: impl Fn(&Path)) {
    let place = Place::new();
    let directory = place.directory.path().join("data");
    fs::create_dir(&directory).unwrap();
    let store = support::open(&directory.join("nahook.db"));
    declare(&store, 2).await;
    let first = publish(&store, 1, 2).await;
    assert!(all_published(&first));
    assert!(is_ready(&store).await);

    remove(&directory);
    let refused = publish(&store, 2, 2).await;
    assert!(all_failed(&refused, FailureKind::QueueUnavailable));
    assert!(!is_ready(&store).await);

    restore(&directory);
    assert!(is_ready(&store).await);
    let second = publish(&store, 3, 2).await;
    assert!(all_published(&second));
    drop(store);
    let reopened = support::open(&directory.join("nahook.db"));
    assert_eq!(queued(&reopened).await, &ids(&first) | &ids(&second));
}

fn beside(directory: &Path) -> std::path::PathBuf {
    directory.with_file_name("elsewhere")
}

#[tokio::test]
async fn nothing_is_queued_while_the_directory_is_gone() {
    nothing_is_queued_while_gone(
        |directory| fs::rename(directory, beside(directory)).unwrap(),
        |directory| fs::rename(beside(directory), directory).unwrap(),
    )
    .await;
}

#[tokio::test]
async fn nothing_is_queued_while_another_file_is_in_its_place() {
    nothing_is_queued_while_gone(
        |directory| {
            fs::rename(directory, beside(directory)).unwrap();
            fs::create_dir(directory).unwrap();
            for name in ["nahook.db", "nahook.db-wal", "nahook.db-shm"] {
                fs::copy(beside(directory).join(name), directory.join(name)).unwrap();
            }
        },
        |directory| {
            fs::remove_dir_all(directory).unwrap();
            fs::rename(beside(directory), directory).unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn nothing_is_queued_while_the_wal_is_gone() {
    let wal = |directory: &Path| directory.join("nahook.db-wal");
    nothing_is_queued_while_gone(
        |directory| fs::rename(wal(directory), beside(directory)).unwrap(),
        |directory| fs::rename(beside(directory), wal(directory)).unwrap(),
    )
    .await;
}

#[tokio::test]
async fn deleted_directory_takes_no_deliveries_along() {
    let place = Place::new();
    let directory = place.directory.path().join("data");
    fs::create_dir(&directory).unwrap();
    let store = support::open(&directory.join("nahook.db"));
    declare(&store, 2).await;
    fs::remove_dir_all(&directory).unwrap();
    assert!(!is_ready(&store).await);
    let refused = publish(&store, 1, 2).await;
    assert!(all_failed(&refused, FailureKind::QueueUnavailable));
}

#[tokio::test]
async fn reason_of_a_failed_check_is_in_its_causes() {
    let place = Place::new();
    let store = place.open();
    fs::remove_file(place.file()).unwrap();
    let error = store.check_writable().await.unwrap_err();
    let first: &dyn std::error::Error = &error;
    let causes: Vec<_> = std::iter::successors(Some(first), |error| error.source())
        .map(ToString::to_string)
        .collect();
    let causes = causes.join(": ");
    assert!(causes.contains("no longer at its path"), "{causes}");
}

#[tokio::test]
async fn full_file_is_not_ready_until_something_is_deleted() {
    let place = Place::new();
    let mut small = server();
    small.pages_max = Some(160);
    let store = SqliteStore::open(place.file(), small).unwrap();
    declare(&store, 5).await;
    let mut number = 0;
    while all_published(&publish(&store, number, 5).await) {
        number += 1;
        assert!(number < 100_000, "the file never fills");
        for leased in lease(&store, 5).await {
            let delivered = Settlement {
                lease: leased.lease,
                attempt: None,
                next: Next::Delivered,
            };
            store.settle(&[delivered]).await.unwrap();
        }
    }
    assert!(!is_ready(&store).await);
    let delete = "DELETE FROM nahook_delivery; DELETE FROM nahook_event WHERE seq < (SELECT max(seq) FROM nahook_event)";
    place.raw().execute_batch(delete).unwrap();
    assert!(is_ready(&store).await);
    assert!(all_published(&publish(&store, 1_000_000, 5).await));
}

#[tokio::test]
async fn stalled_writer_holds_up_nobody_else() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    let first = publish(&store, 1, 3).await;
    assert!(all_published(&first));
    // Another process that writes for long. On one thread whatever blocks holds up all the rest.
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let patience = Duration::from_millis(50);
    let event = nahook_testkit::declare::event(WORKSPACE, EVENT_TYPE, 2, NOW);
    let mut slots = nahook_testkit::declare::deliveries(&event, &first_endpoints(3));
    let publishing = nahook_core::DeliveryPublisher::publish(&store, &event, &mut slots);
    let checking = store.check_writable();
    let (published, checked) = tokio::join!(
        tokio::time::timeout(patience, publishing),
        tokio::time::timeout(patience, checking)
    );
    assert!(published.is_err() && checked.is_err());
    assert!(all_failed(&slots, FailureKind::QueueUnavailable));

    let (name, scope) = (event_type_name(EVENT_TYPE), scope(WORKSPACE, None));
    assert!(store.subscribers(&name, &scope).await.unwrap().is_some());
    let targets = store.targets(&first_endpoints(3)).await.unwrap();
    assert!(targets.iter().all(Option::is_some));
    let workspace = workspace_id(WORKSPACE);
    let record = store.delivery(first[0].id(), &workspace).await.unwrap();
    assert!(record.is_some());
    let leased = lease(&store, 3).await;
    assert_eq!(leased.len(), 3);
    let all: Vec<_> = leased.iter().map(|leased| leased.lease).collect();
    let extended = store.extend(&all, Duration::from_mins(5)).await.unwrap();
    assert_eq!(extended, [true; 3]);
    assert!(!other.is_autocommit(), "the lock was held all along");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(is_ready(&store).await);
}
