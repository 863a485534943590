//! A file that publishing has filled still takes settlements.

use std::time::Duration;

use nahook_core::{FailureKind, Outcome};
use nahook_queue::{Attempt, DeliveryQueue, LeasedDelivery, Next, Settled, Settlement};
use nahook_sqlite::SqliteStore;
use nahook_testkit::declare::{nth_endpoint_id, single_send};
use tokio::task::JoinSet;

use crate::support::{
    NOW, Place, WORKSPACE, all_failed, all_published, declare, lease, publish, server,
};

/// A store on a file that may not grow beyond so many pages.
fn small(place: &Place, pages_max: u32) -> SqliteStore {
    let mut settings = server();
    settings.pages_max = Some(pages_max);
    SqliteStore::open(place.file(), settings).unwrap()
}

/// Publishes events for so many endpoints, from that number on, until one is refused.
async fn fill(store: &SqliteStore, from: u64, width: usize) {
    let mut number = from;
    loop {
        let slots = publish(store, number, width).await;
        if !all_published(&slots) {
            assert!(all_failed(&slots, FailureKind::QueueUnavailable));
            return;
        }
        number += 1;
        assert!(number < from + 100_000, "the store never fills");
    }
}

/// Attempts everything that is due, in vain, and answers how much that was.
async fn settle_all(store: &SqliteStore) -> usize {
    let mut settled = 0;
    loop {
        let leased = lease(store, 1_000).await;
        if leased.is_empty() {
            return settled;
        }
        let of = |leased: &LeasedDelivery| Settlement {
            lease: leased.lease,
            attempt: Some(Attempt {
                started_at: NOW,
                duration: Duration::from_secs(1),
                status_code: Some(500),
                error: Some("the endpoint answered with status 500".to_owned()),
                response_body: None,
            }),
            next: Next::Retry(NOW.saturating_add(Duration::from_secs(5))),
        };
        let settlements: Vec<_> = leased.iter().map(of).collect();
        let answers = store.settle(&settlements).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Settled::Done));
        settled += answers.len();
    }
}

#[tokio::test]
async fn what_is_published_until_the_file_is_full_can_be_settled() {
    // Of a narrow event the payload takes most of the room, of a wide one what becomes of its deliveries.
    for (width, pages_max) in [(1, 140), (5, 140), (300, 400)] {
        let place = Place::new();
        let store = small(&place, pages_max);
        declare(&store, width).await;
        fill(&store, 0, width).await;
        // What is too little for a wide event may do for some narrow ones.
        fill(&store, 100_000, 1).await;
        assert!(store.check_writable().await.is_err());
        let settled = settle_all(&store).await;
        assert!(settled > 200, "{settled} with width {width}");
        // What the settlements have not needed is given to others.
        fill(&store, 200_000, width).await;
        settle_all(&store).await;
    }
}

#[tokio::test]
async fn what_is_sent_until_the_file_is_full_can_be_settled() {
    let place = Place::new();
    let store = small(&place, 140);
    declare(&store, 1).await;
    let mut sent = 0;
    loop {
        let key = format!("key {sent}");
        let mut slot = single_send(WORKSPACE, nth_endpoint_id(0), Some(&key), sent, NOW);
        slot.publish(&store).await;
        match slot.outcome() {
            Outcome::Published => sent += 1,
            outcome => {
                let refused = Outcome::Failed(FailureKind::QueueUnavailable);
                assert_eq!(outcome, refused);
                break;
            }
        }
    }
    assert_eq!(settle_all(&store).await as u64, sent);
    assert!(sent > 200, "{sent}");
    drop(store);
    // What is queued already needs no room.
    let store = small(&place, 100);
    let mut again = single_send(WORKSPACE, nth_endpoint_id(0), Some("key 0"), sent + 1, NOW);
    again.publish(&store).await;
    let replayed = matches!(again.outcome(), Outcome::Replayed(_));
    assert!(replayed, "{:?}", again.outcome());
}

#[tokio::test]
async fn what_is_published_at_once_leaves_room_for_all_of_it() {
    let place = Place::new();
    let store = small(&place, 400);
    declare(&store, 300).await;
    let mut publishing = JoinSet::new();
    for number in 0..40 {
        let store = store.clone();
        publishing.spawn(async move { all_published(&publish(&store, number, 300).await) });
    }
    let published = publishing.join_all().await;
    assert!(published.contains(&true) && published.contains(&false));
    settle_all(&store).await;
}

#[tokio::test]
async fn event_that_could_be_queued_and_not_be_settled_is_refused() {
    let place = Place::new();
    let store = place.open();
    let width = 1_000;
    declare(&store, width).await;
    drop(store);
    let raw = place.raw();
    let count = |pragma: &str| -> u32 { raw.query_row(pragma, [], |row| row.get(0)).unwrap() };
    let used = count("PRAGMA page_count") - count("PRAGMA freelist_count");
    // The event takes a few pages, and its settlements are owed 49.
    for (free, is_published) in [(20, false), (60, true)] {
        let store = small(&place, (used + free).div_ceil(3) * 4);
        let slots = publish(&store, 1, width).await;
        assert_eq!(all_published(&slots), is_published, "{free}");
    }
}
