//! A full disk refuses what is new, takes what must still be written, and says so.

use std::fs;
use std::time::Duration;

use nahook_control::{ApiKeySpec, ApplyMode, Catalog, KeyHash, KeyState, KeyStore};
use nahook_core::FailureKind;
use nahook_queue::{Attempt, DeliveryQueue, LeasedDelivery, Next, Settled, Settlement};
use nahook_sqlite::SqliteStore;
use nahook_testkit::declare::{Workspace, api_key_id};
use nahook_testserver::SmallDisk;

use crate::support::{
    self, EVENT_TYPE, NOW, WORKSPACE, all_failed, all_published, declare, ids, lease, publish,
    queued, set_key_state,
};

#[tokio::test]
async fn full_disk_is_not_ready_and_everything_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(4) else {
        return;
    };
    fs::write(disk.ballast(), vec![0; 1_500_000]).unwrap();
    let store = support::open(&disk.path().join("nahook.db"));
    declare(&store, 5).await;
    let mut accepted = std::collections::BTreeSet::new();
    let mut refused = 0;
    for number in 0.. {
        let slots = publish(&store, number, 5).await;
        if all_published(&slots) {
            accepted.extend(ids(&slots));
        } else {
            assert!(all_failed(&slots, FailureKind::QueueUnavailable));
            refused += 1;
        }
        if refused == 50 && store.check_writable().await.is_err() {
            break;
        }
        refused = refused.min(49);
        assert!(number < 100_000, "the disk never fills");
    }
    assert!(!accepted.is_empty());
    fs::remove_file(disk.ballast()).unwrap();
    assert!(store.check_writable().await.is_ok());
    let slots = publish(&store, 1_000_000, 5).await;
    assert!(all_published(&slots));
    accepted.extend(ids(&slots));
    assert_eq!(queued(&store).await, accepted);
    drop(store);
    let reopened = support::open(&disk.path().join("nahook.db"));
    assert_eq!(queued(&reopened).await, accepted);
}

const SECRET: &str = "nhk_us_0123456789abcdef0123456789abcdef";

/// Waits until the store has seen that the disk is low, or is not.
async fn becomes(store: &SqliteStore, is_low: bool) {
    let waiting = async {
        while store.disk_space().is_low != is_low {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_mins(2);
    tokio::time::timeout(patience, waiting).await.unwrap();
}

fn delivered(leased: &LeasedDelivery) -> Settlement {
    Settlement {
        lease: leased.lease,
        attempt: Some(Attempt {
            started_at: NOW,
            duration: Duration::from_secs(1),
            status_code: Some(204),
            error: None,
            response_body: None,
        }),
        next: Next::Delivered,
    }
}

#[tokio::test]
async fn full_disk_takes_settlements_and_a_revocation_and_nothing_new() {
    let Some(disk) = SmallDisk::mount(5) else {
        return;
    };
    let reserve = disk.path().join("nahook.db-reserve");
    let store = support::open(&disk.path().join("nahook.db"));
    let key = ApiKeySpec {
        id: Some(api_key_id("key_1")),
        name: "one".to_owned(),
        key: Some(SECRET.to_owned()),
        ..ApiKeySpec::default()
    };
    let manifest = Workspace::new(WORKSPACE)
        .event_type(EVENT_TYPE)
        .endpoints(50)
        .with(|workspace| workspace.api_keys.push(key))
        .manifest();
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    assert!(all_published(&publish(&store, 1, 50).await));
    let leased = lease(&store, 50).await;
    assert_eq!(leased.len(), 50);
    assert!(reserve.exists());
    disk.fill();
    becomes(&store, true).await;
    let space = store.disk_space();
    assert!(space.free < space.free_min, "{space:?}");
    let refused = publish(&store, 2, 50).await;
    assert!(all_failed(&refused, FailureKind::QueueUnavailable));
    assert!(store.check_writable().await.is_err());

    set_key_state(&store, "key_1", KeyState::Revoked).await;
    let found = store.api_key(&KeyHash::of(SECRET)).await.unwrap();
    assert!(found.is_none());
    for part in leased.chunks(10) {
        let settlements: Vec<_> = part.iter().map(delivered).collect();
        let answers = store.settle(&settlements).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Settled::Done));
    }
    assert!(!reserve.exists(), "it was needed");

    fs::remove_file(disk.ballast()).unwrap();
    becomes(&store, false).await;
    let accepted = publish(&store, 3, 50).await;
    assert!(all_published(&accepted));
    drop(store);
    let reopened = support::open(&disk.path().join("nahook.db"));
    assert_eq!(queued(&reopened).await, ids(&accepted));
}

#[tokio::test]
async fn watermark_refuses_what_is_new_before_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(4) else {
        return;
    };
    let store = support::open(&disk.path().join("nahook.db"));
    declare(&store, 5).await;
    let mut number = 0;
    while all_published(&publish(&store, number, 5).await) {
        number += 1;
        assert!(number < 100_000, "the disk never fills");
    }
    assert!(store.disk_space().is_low);
    let free = store.disk_space().free;
    assert!(free > 0, "a write has failed before");
    let failures = store.writer_stats().failures;
    assert!(all_failed(
        &publish(&store, number + 1, 5).await,
        FailureKind::QueueUnavailable
    ));
    assert_eq!(store.writer_stats().failures, failures, "nothing is tried");
}
