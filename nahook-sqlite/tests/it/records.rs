//! Records: what waits of an event is one row, and each delivery becomes a row of its own once it is settled.

use std::collections::BTreeSet;
use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_core::{Delivery, DeliveryPublisher, FailureKind, Outcome};
use nahook_queue::{
    Attempt, DeliveryLog, DeliveryQueue, DeliverySearch, DeliveryStatus, EventQuery, EventSearch,
    Lease, Next, Settlement, StatsQuery,
};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::declare::{deliveries, event, nth_endpoint_id, workspace_id};

use crate::support::{
    EVENT_TYPE, NOW, Place, WORKSPACE, all_published, declare, first_endpoints, ids, lease,
    publish, queued,
};

/// Number of rows of deliveries, and of records.
fn rows(place: &Place) -> (i64, i64) {
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM nahook_{table}");
        place.raw().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    (count("delivery"), count("record"))
}

async fn settle(store: &SqliteStore, lease: Lease, next: Next) {
    let attempt = Attempt {
        started_at: NOW,
        duration: Duration::from_millis(1),
        status_code: Some(200),
        error: None,
        response_body: None,
    };
    let settlement = Settlement {
        lease,
        attempt: Some(attempt),
        next,
    };
    store.settle(&[settlement]).await.unwrap();
}

#[tokio::test]
async fn delivery_becomes_a_row_when_it_is_settled_and_the_last_ends_its_record() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    let slots = publish(&store, 1, 3).await;
    assert!(all_published(&slots));
    assert_eq!(rows(&place), (0, 1));
    let nexts = [
        Next::Delivered,
        Next::Retry(NOW.saturating_add(Duration::from_secs(9))),
        Next::Failed,
    ];
    let mut settled = 0;
    for (leased, next) in lease(&store, 3).await.into_iter().zip(nexts) {
        settle(&store, leased.lease, next).await;
        settled += 1;
        assert_eq!(rows(&place), (settled, i64::from(settled < 3)));
    }
    let workspace = workspace_id(WORKSPACE);
    for (slot, status) in slots.iter().zip([
        DeliveryStatus::Delivered,
        DeliveryStatus::ScheduledRetry,
        DeliveryStatus::Failed,
    ]) {
        let record = store.delivery(slot.id(), &workspace).await.unwrap();
        let record = record.unwrap();
        assert_eq!((record.status, record.attempts), (status, 1));
    }
}

#[tokio::test]
async fn what_was_given_back_before_an_attempt_stays_in_its_record() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    let slots = publish(&store, 1, 2).await;
    for leased in lease(&store, 2).await {
        let release = Settlement {
            lease: leased.lease,
            attempt: None,
            next: Next::Release,
        };
        store.settle(&[release]).await.unwrap();
    }
    assert_eq!(rows(&place), (0, 1));
    assert_eq!(queued(&store).await, ids(&slots));
}

#[tokio::test]
async fn start_after_a_kill_leases_what_is_left_of_records_once() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 4).await;
    let mut waiting = BTreeSet::new();
    for number in 0..20 {
        waiting.extend(ids(&publish(&store, number, 4).await));
    }
    let leased = lease(&store, 80).await;
    for (at, leased) in leased.iter().enumerate() {
        // Of every second event nothing is settled, of every tenth all is.
        let (event, of_event) = (at % 20, at / 20);
        if event % 2 == 1 && (event % 10 == 9 || of_event == 0) {
            settle(&store, leased.lease, Next::Delivered).await;
            waiting.remove(&leased.lease.delivery);
        }
    }
    let before = rows(&place);
    drop(store);
    let store = place.open();
    assert_eq!(rows(&place), before);
    let found = lease(&store, 100).await;
    let again: BTreeSet<DeliveryId> = found.iter().map(|it| it.lease.delivery).collect();
    assert_eq!((found.len(), &again), (waiting.len(), &waiting));
    for leased in found {
        settle(&store, leased.lease, Next::Delivered).await;
    }
    assert_eq!(rows(&place), (80, 0));
}

#[tokio::test]
async fn deliveries_that_are_published_again_or_later_are_queued_once() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 4).await;
    let mut expected = ids(&publish(&store, 1, 2).await);
    let settled = lease(&store, 1).await.remove(0).lease;
    settle(&store, settled, Next::Delivered).await;
    // The first two again, one of which is a row by now, and two more.
    let slots = publish(&store, 1, 4).await;
    assert!(all_published(&slots));
    expected.extend(ids(&slots));
    expected.remove(&settled.delivery);
    assert_eq!(queued(&store).await, expected);
    drop(store);
    let store = place.open();
    let found = lease(&store, 10).await;
    assert_eq!(found.len(), 3);
    for leased in found {
        settle(&store, leased.lease, Next::Delivered).await;
    }
    assert_eq!(rows(&place), (4, 0));
}

#[tokio::test]
async fn endpoints_that_are_gone_leave_holes_in_their_record() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    let event = event(WORKSPACE, EVENT_TYPE, 1, NOW);
    let gone = nth_endpoint_id(7);
    let [first, second, third] = [0, 1, 2].map(nth_endpoint_id);
    let mut slots = deliveries(&event, &[gone, first, gone, second, third]);
    store.publish(&event, &mut slots).await;
    let outcomes = slots.iter().map(Delivery::outcome);
    let (queues, fails) = (
        Outcome::Published,
        Outcome::Failed(FailureKind::EndpointGone),
    );
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [fails, queues, fails, queues, queues]
    );
    assert_eq!(rows(&place), (0, 1));
    let expected: BTreeSet<_> = [1, 3, 4].map(|at: usize| slots[at].id()).into();
    drop(store);
    assert_eq!(queued(&place.open()).await, expected);
}

#[tokio::test]
async fn record_that_would_be_mostly_holes_is_rows() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    let event = event(WORKSPACE, EVENT_TYPE, 1, NOW);
    let id = DeliveryId::nth(event.id, 1_000_000);
    let mut slots = [Delivery::new(event.id, 1_000_000, nth_endpoint_id(0))];
    store.publish(&event, &mut slots).await;
    assert!(all_published(&slots));
    assert_eq!(rows(&place), (1, 0));
    assert_eq!(queued(&store).await, [id].into());
}

#[tokio::test]
async fn lists_and_counts_have_what_is_in_records_and_what_is_not() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    let slots = publish(&store, 1, 3).await;
    let message = event(WORKSPACE, EVENT_TYPE, 1, NOW).id;
    let settled = lease(&store, 1).await.remove(0).lease;
    settle(&store, settled, Next::Delivered).await;
    let workspace = workspace_id(WORKSPACE);
    let query = StatsQuery {
        workspace,
        endpoint: None,
        count_max: 100,
        is_unsettled_only: false,
    };
    let events = EventQuery {
        workspace,
        event_type: None,
        labels: Vec::new(),
        idempotency_key: None,
        before: None,
        limit: 10,
    };
    let tool = SqliteStore::open(place.file(), SqliteSettings::tool()).unwrap();
    for seen_by in [&store, &tool] {
        let found = seen_by.event_deliveries(message, &workspace, 10);
        let found = found.await.unwrap();
        let statuses: Vec<_> = found.iter().map(|it| (it.id, it.status)).collect();
        let expected = |slot: &Delivery| {
            let is_settled = slot.id() == settled.delivery;
            let status = if is_settled {
                DeliveryStatus::Delivered
            } else {
                DeliveryStatus::Pending
            };
            (slot.id(), status)
        };
        assert_eq!(statuses, slots.iter().map(expected).collect::<Vec<_>>());
        let endpoints: Vec<_> = found.iter().map(|it| it.endpoint).collect();
        assert_eq!(endpoints, first_endpoints(3));
        let page = seen_by.events(&events).await;
        let event = &page.unwrap().events[0];
        assert_eq!((event.deliveries, event.delivered), (3, 1));
        let stats = seen_by.stats(&query).await.unwrap();
        assert_eq!((stats.pending, stats.delivered), (2, 1));
        let first = found.iter().find(|it| it.id != settled.delivery).unwrap();
        let record = seen_by.delivery(first.id, &workspace).await.unwrap();
        assert_eq!(record.unwrap().endpoint, first.endpoint);
        let beyond = DeliveryId::nth(message, 3);
        assert_eq!(seen_by.delivery(beyond, &workspace).await.unwrap(), None);
    }
}
