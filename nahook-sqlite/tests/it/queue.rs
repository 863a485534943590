//! Clauses of the queue that a file adds: restarts, races with the writer, failed writes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use nahook_core::StoreErrorKind;
use nahook_core::id::{DeliveryId, MessageId};
use nahook_queue::{
    Attempt, DeliveryLog, DeliveryQuery, DeliveryQueue, DeliverySearch, DeliveryStatus,
    LeaseRequest, LeasedDelivery, Next, Settled, Settlement, WorkerId,
};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{event, nth_endpoint_id, workspace_id};

use crate::support::{
    self, EVENT_TYPE, NOW, Place, WORKSPACE, all_published, declare, first_endpoints, lease,
    publish, queued, request, server,
};

fn settlement(lease: nahook_queue::Lease, next: Next) -> Settlement {
    Settlement {
        lease,
        attempt: None,
        next,
    }
}

fn failed_attempt(error: &str) -> Attempt {
    Attempt {
        started_at: NOW,
        duration: Duration::from_millis(3),
        status_code: Some(500),
        error: Some(error.to_owned()),
        response_body: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_handed_out_twice_while_everybody_is_busy() {
    const EVENTS: u64 = 300;
    const WIDTH: usize = 7;
    let place = Place::new();
    let store = place.open();
    declare(&store, WIDTH).await;
    let total = usize::try_from(EVENTS).unwrap() * WIDTH;
    let handed_out = Arc::new(Mutex::new(HashMap::<DeliveryId, usize>::new()));
    let settled = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let (store, handed_out, settled) =
                (store.clone(), Arc::clone(&handed_out), Arc::clone(&settled));
            tokio::spawn(async move {
                let request = LeaseRequest {
                    worker: WorkerId(worker),
                    per_endpoint_max: 5,
                    ..request(17)
                };
                while settled.load(Ordering::SeqCst) < total {
                    let batch = store.lease(&request).await.unwrap();
                    if batch.deliveries.is_empty() {
                        let wait = store.changed(batch.generation);
                        let _ = tokio::time::timeout(Duration::from_millis(50), wait).await;
                        continue;
                    }
                    // Half of them are released once, and must come back once.
                    let mut settlements = Vec::new();
                    for leased in &batch.deliveries {
                        let mut handed_out = handed_out.lock().unwrap();
                        let times = handed_out.entry(leased.lease.delivery).or_default();
                        *times += 1;
                        let is_even = leased.lease.delivery.as_bits().is_multiple_of(2);
                        let next = if is_even && *times == 1 {
                            Next::Release
                        } else {
                            Next::Delivered
                        };
                        settlements.push(settlement(leased.lease, next));
                    }
                    let done = store.settle(&settlements).await.unwrap();
                    assert!(done.iter().all(|done| *done == Settled::Done));
                    let delivered = settlements.iter().filter(|one| one.next == Next::Delivered);
                    settled.fetch_add(delivered.count(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in (publisher..EVENTS).step_by(4) {
                    assert!(all_published(&publish(&store, number, WIDTH).await));
                }
            })
        })
        .collect();
    let all = async {
        for task in publishers.into_iter().chain(workers) {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all)
        .await
        .expect("something was lost");
    let handed_out = handed_out.lock().unwrap();
    assert_eq!(handed_out.len(), total);
    for (id, times) in handed_out.iter() {
        let expected = if id.as_bits().is_multiple_of(2) { 2 } else { 1 };
        assert_eq!(*times, expected, "{id}");
    }
}

#[tokio::test]
async fn more_than_is_kept_in_mind_is_leased_in_its_turn_listed_and_found_again() {
    // More than is known of an endpoint, and than is read at once.
    const EVENTS: u64 = 300;
    let place = Place::new();
    let mut settings = server();
    settings.known_max = 1;
    let store = SqliteStore::open(place.file(), settings.clone()).unwrap();
    declare(&store, 2).await;
    let publishers: Vec<_> = (0..EVENTS)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { all_published(&publish(&store, number, 2).await) })
        })
        .collect();
    for publisher in publishers {
        assert!(publisher.await.unwrap());
    }
    let fresh = |place: &Place| -> i64 {
        let sql = "SELECT count(*) FROM nahook_fresh";
        place.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let listed = async |store: &SqliteStore, status| {
        let query = DeliveryQuery {
            workspace: workspace_id(WORKSPACE),
            endpoint: nth_endpoint_id(0),
            status: Some(status),
            since: None,
            before: None,
            limit: 10_000,
        };
        store.deliveries(&query).await.unwrap().len()
    };
    let all = usize::try_from(EVENTS).unwrap();
    assert_eq!(listed(&store, DeliveryStatus::Pending).await, all);
    // What is read of the file is as what is known, with and without a start in between.
    for restarts in [false, true] {
        if restarts {
            drop(lease(&store, 10).await);
            store.close().await.unwrap();
        }
        let store = if restarts {
            place.open()
        } else {
            store.clone()
        };
        // What was given back keeps its place.
        for leased in lease(&store, 8).await {
            let release = settlement(leased.lease, Next::Release);
            store.settle(&[release]).await.unwrap();
        }
        let mut leased = Vec::new();
        while leased.len() < 2 * all {
            let batch = lease(&store, 1_000).await;
            assert!(!batch.is_empty(), "{} of {}", leased.len(), 2 * all);
            leased.extend(batch);
        }
        let in_order: Vec<MessageId> = {
            let raw = place.raw();
            let mut events = raw
                .prepare("SELECT id FROM nahook_event ORDER BY seq")
                .unwrap();
            let id = |row: &rusqlite::Row<'_>| row.get(0).map(u128::from_be_bytes);
            let ids = events.query_map([], id).unwrap();
            ids.map(|id| MessageId::from_bits(id.unwrap())).collect()
        };
        for endpoint in first_endpoints(2) {
            let of_endpoint = leased.iter().filter(|leased| leased.endpoint == endpoint);
            let messages: Vec<_> = of_endpoint.map(|leased| leased.message).collect();
            assert!(messages == in_order, "{restarts}");
        }
        assert!(queued(&store).await.is_empty());
        assert_eq!(listed(&store, DeliveryStatus::Delivering).await, all);
        if restarts {
            let settlements: Vec<_> = leased
                .iter()
                .map(|leased| settlement(leased.lease, Next::Delivered))
                .collect();
            store.settle(&settlements).await.unwrap();
            assert_eq!(listed(&store, DeliveryStatus::Delivered).await, all);
            assert_eq!((fresh(&place), queued(&store).await.len()), (0, 0));
        }
    }
}

#[tokio::test]
async fn a_backlog_is_listed_page_by_page_whatever_is_leased_of_it() {
    const EVENTS: usize = 700;
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    for number in 0..EVENTS {
        assert!(all_published(&publish(&store, number as u64, 2).await));
    }
    // The newest are leased: a list of what is pending has to look far behind them.
    let all = lease(&store, 2 * EVENTS).await;
    let (old, new): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(|leased| leased.endpoint == nth_endpoint_id(0))
        .enumerate()
        .partition(|(nth, _)| *nth < 250);
    for (_, leased) in &old {
        let release = settlement(leased.lease, Next::Release);
        store.settle(&[release]).await.unwrap();
    }
    let lists = [
        (Some(DeliveryStatus::Pending), old.len()),
        (Some(DeliveryStatus::Delivering), new.len()),
        (None, EVENTS),
    ];
    let beside = SqliteStore::open(place.file(), SqliteSettings::tool()).unwrap();
    for (status, expected) in lists {
        let mut query = DeliveryQuery {
            workspace: workspace_id(WORKSPACE),
            endpoint: nth_endpoint_id(0),
            status,
            since: None,
            before: None,
            limit: 40,
        };
        let mut found = Vec::new();
        loop {
            let page = store.deliveries(&query).await.unwrap();
            found.extend(page.iter().map(|record| record.id));
            if page.len() < query.limit {
                break;
            }
            query.before = found.last().copied();
        }
        assert_eq!(found.len(), expected, "{status:?}");
        assert!(found.is_sorted_by(|one, next| one > next), "{status:?}");
        // A tool knows nothing of leases, and finds what is fresh in the file.
        query.before = None;
        query.limit = EVENTS + 1;
        let seen = beside.deliveries(&query).await.unwrap().len();
        let seen_beside = match status {
            Some(DeliveryStatus::Delivering) => 0,
            _ => EVENTS,
        };
        assert_eq!(seen, seen_beside, "{status:?}");
    }
}

#[tokio::test]
async fn an_attempt_that_was_given_back_counts() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    assert!(all_published(&publish(&store, 1, 1).await));
    for attempts in 0..3 {
        let leased = lease(&store, 1).await.remove(0);
        assert_eq!(leased.attempts, attempts);
        let given_back = Settlement {
            attempt: Some(failed_attempt("interrupted")),
            ..settlement(leased.lease, Next::Release)
        };
        store.settle(&[given_back]).await.unwrap();
    }
    drop(store);
    assert_eq!(lease(&place.open(), 1).await[0].attempts, 3);
}

#[tokio::test]
async fn a_lease_of_a_former_process_means_nothing() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 1).await;
    assert!(all_published(&publish(&store, 1, 1).await));
    let former = lease(&store, 1).await.remove(0).lease;
    drop(store);
    let store = place.open();
    let current = lease(&store, 1).await.remove(0).lease;
    assert_eq!(former.delivery, current.delivery);
    let settled = store
        .settle(&[settlement(former, Next::Delivered)])
        .await
        .unwrap();
    assert_eq!(settled, [Settled::LeaseLost]);
    assert_eq!(
        store
            .extend(&[former], Duration::from_secs(1))
            .await
            .unwrap(),
        [false]
    );
    let settled = store
        .settle(&[settlement(current, Next::Delivered)])
        .await
        .unwrap();
    assert_eq!(settled, [Settled::Done]);
}

#[tokio::test]
async fn the_next_retry_is_known_after_a_restart() {
    let place = Place::new();
    let clock = ManualClock::starting_at(NOW);
    let open = || {
        let settings = SqliteSettings::server().with_clock(clock.clone());
        SqliteStore::open(place.file(), settings).unwrap()
    };
    let store = open();
    declare(&store, 2).await;
    assert!(all_published(&publish(&store, 1, 2).await));
    let retries = [300, 200].map(|secs| NOW.saturating_add(Duration::from_secs(secs)));
    let leased = lease(&store, 2).await;
    let settlements: Vec<_> = leased
        .iter()
        .zip(retries)
        .map(|(leased, at)| Settlement {
            attempt: Some(failed_attempt("500")),
            ..settlement(leased.lease, Next::Retry(at))
        })
        .collect();
    store.settle(&settlements).await.unwrap();
    drop(store);

    let store = open();
    let batch = store.lease(&request(10)).await.unwrap();
    assert!(batch.deliveries.is_empty());
    assert_eq!(batch.next_due, Some(retries[1]));
    clock.set(retries[1]);
    let batch = store.lease(&request(10)).await.unwrap();
    assert_eq!(batch.deliveries.len(), 1);
    assert_eq!(batch.deliveries[0].attempts, 1);
    // The lease of the one expires before the other is due.
    let expiry = retries[1].saturating_add(Duration::from_mins(1));
    assert_eq!(batch.next_due, Some(expiry));
    store
        .settle(&[settlement(batch.deliveries[0].lease, Next::DeadLetter)])
        .await
        .unwrap();
    assert_eq!(
        store.lease(&request(10)).await.unwrap().next_due,
        Some(retries[0])
    );
}

#[tokio::test]
async fn a_settlement_that_finds_no_room_is_not_recorded_and_may_be_repeated() {
    let place = Place::new();
    let mut small = server();
    small.pages_max = Some(120);
    let store = SqliteStore::open(place.file(), small).unwrap();
    declare(&store, 2).await;
    assert!(all_published(&publish(&store, 1, 2).await));
    let leased = lease(&store, 2).await;
    let too_much = "x".repeat(1_000_000);
    let settle = |error: &str| -> Vec<Settlement> {
        let of = |leased: &nahook_queue::LeasedDelivery| Settlement {
            attempt: Some(failed_attempt(error)),
            ..settlement(leased.lease, Next::Failed)
        };
        leased.iter().map(of).collect()
    };
    let error = store.settle(&settle(&too_much)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let id = leased[0].lease.delivery;
    let record = async || {
        store
            .delivery(id, &workspace_id(WORKSPACE))
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        (record().await.status, record().await.attempts),
        (DeliveryStatus::Delivering, 0)
    );
    // Still leased, so nobody else gets it.
    assert!(queued(&store).await.is_empty());
    let settled = store.settle(&settle("500")).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Done]);
    assert_eq!(
        (record().await.status, record().await.attempts),
        (DeliveryStatus::Failed, 1)
    );
}

#[tokio::test]
async fn a_failed_settlement_still_expires() {
    let place = Place::new();
    let clock = ManualClock::starting_at(NOW);
    let mut settings = SqliteSettings::server().with_clock(clock.clone());
    settings.busy_timeout = Duration::from_millis(20);
    let store = SqliteStore::open(place.file(), settings).unwrap();
    declare(&store, 1).await;
    assert!(all_published(&publish(&store, 1, 1).await));
    let leased = lease(&store, 1).await.remove(0).lease;
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(
        store
            .settle(&[settlement(leased, Next::Delivered)])
            .await
            .is_err()
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert!(queued(&store).await.is_empty());
    clock.advance(Duration::from_mins(1));
    assert_eq!(queued(&store).await.len(), 1);
}

#[tokio::test]
async fn a_long_backlog_of_one_endpoint_leaves_the_batch_to_the_others_too() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 3).await;
    for number in 0..500 {
        assert!(all_published(&publish(&store, number, 1).await));
    }
    let late = publish(&store, 1_000, 3).await;
    let batch = lease(&store, 9).await;
    // Two of each other endpoint's only delivery, and the rest of the room is the backlog's.
    let of = |n| {
        batch
            .iter()
            .filter(|leased| leased.endpoint == nth_endpoint_id(n))
            .count()
    };
    assert_eq!((of(0), of(1), of(2)), (7, 1, 1));
    assert!(
        batch[..3]
            .iter()
            .any(|leased| leased.lease.delivery == late[1].id())
    );
    assert!(
        batch[..3]
            .iter()
            .any(|leased| leased.lease.delivery == late[2].id())
    );
    assert_eq!(first_endpoints(3).len(), 3);
}

#[tokio::test]
async fn work_of_a_worker_at_its_bound_waits_for_nobody_else() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 2).await;
    for number in 0..10 {
        assert!(all_published(&publish(&store, number, 2).await));
    }
    let bounded = |worker| LeaseRequest {
        worker: WorkerId(worker),
        per_endpoint_max: 2,
        exceptions: vec![(nth_endpoint_id(1), 0)],
        ..request(100)
    };
    let first = store.lease(&bounded(1)).await.unwrap().deliveries;
    assert_eq!(first.len(), 2);
    assert!(
        store
            .lease(&bounded(1))
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
    let second = store.lease(&bounded(2)).await.unwrap().deliveries;
    assert_eq!(second.len(), 2);
    // Settling one makes room for one.
    store
        .settle(&[settlement(first[0].lease, Next::Delivered)])
        .await
        .unwrap();
    assert_eq!(store.lease(&bounded(1)).await.unwrap().deliveries.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_nobody_waits_for_is_given_back() {
    let place = Place::new();
    let store = place.open();
    declare(&store, 50).await;
    let slots = publish(&store, 1, 50).await;
    assert!(all_published(&slots));
    let mut abandoned = 0;
    for round in 0..300 {
        let wanted = request(50);
        let mut lease = store.lease(&wanted);
        let asked = poll_fn(|context| Poll::Ready(lease.as_mut().poll(context)));
        if let Poll::Ready(batch) = asked.await {
            let leased = batch.unwrap().deliveries;
            let release = |leased: &LeasedDelivery| settlement(leased.lease, Next::Release);
            let releases: Vec<_> = leased.iter().map(release).collect();
            store.settle(&releases).await.unwrap();
        } else {
            // Dropped before, while and after the deliveries are leased.
            std::thread::sleep(Duration::from_micros(20 * (round % 50)));
            drop(lease);
            abandoned += 1;
        }
    }
    assert!(abandoned > 0);
    assert_eq!(queued(&store).await, support::ids(&slots));
}

#[tokio::test]
async fn idempotency_key_stands_for_a_day() {
    let place = Place::new();
    let clock = ManualClock::starting_at(NOW);
    let store = SqliteStore::open(place.file(), server().with_clock(clock.clone())).unwrap();
    declare(&store, 1).await;
    let send = async |number| {
        let mut event = event(WORKSPACE, EVENT_TYPE, number, NOW);
        event.event_type = None;
        event.idempotency_key = Some(nahook_testkit::declare::idempotency_key("once"));
        let mut slots = nahook_testkit::declare::deliveries(&event, &[nth_endpoint_id(0)]);
        nahook_core::DeliveryPublisher::publish(&store, &event, &mut slots).await;
        slots[0].outcome()
    };
    let is_replay = |outcome| matches!(outcome, nahook_core::Outcome::Replayed(_));
    assert!(!is_replay(send(1).await));
    clock.advance(Duration::from_hours(24) - Duration::from_nanos(1));
    assert!(is_replay(send(2).await));
    clock.advance(Duration::from_nanos(1));
    assert!(!is_replay(send(3).await));
}

#[tokio::test]
async fn retry_is_announced_and_leased_when_it_is_due() {
    let place = Place::new();
    let clock = ManualClock::starting_at(NOW);
    let store = SqliteStore::open(place.file(), server().with_clock(clock.clone())).unwrap();
    declare(&store, 1).await;
    assert!(all_published(&publish(&store, 1, 1).await));
    let leased = lease(&store, 1).await[0].lease;
    let due_at = NOW.saturating_add(Duration::from_mins(5));
    let retry = settlement(leased, Next::Retry(due_at));
    store.settle(&[retry]).await.unwrap();
    let batch = store.lease(&request(1)).await.unwrap();
    assert_eq!((batch.deliveries.len(), batch.next_due), (0, Some(due_at)));
    clock.advance(Duration::from_mins(5));
    assert_eq!(lease(&store, 1).await[0].lease.delivery, leased.delivery);
}
