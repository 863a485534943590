//! Leases of deliveries that are rows, and the rows that say when to look at them: one for each statement that has leased.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock, Delivery, DeliveryPublisher, SystemClock, Timestamp};
use nahook_postgres::PostgresStore;
use nahook_queue::{
    Attempt, DeliveryLog, DeliveryQueue, Lease, LeaseRequest, LeaseToken, Next, Settled,
    Settlement, WorkerId,
};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{Workspace, deliveries, endpoint_id, event, workspace_id};
use nahook_testserver::PostgresServer;

use crate::support::{
    client, connect, count, publish, request, settings, shop, shop_store, spread, until,
    until_locked,
};

/// Two stores on one database, with a clock that they share.
async fn two(endpoints: usize) -> (String, ManualClock, [PostgresStore; 2]) {
    let url = PostgresServer::shared().create_database();
    let clock = ManualClock::default();
    let one = connect(&url, settings(2).with_clock(clock.clone())).await;
    one.apply(&shop(endpoints), ApplyMode::Commit)
        .await
        .unwrap();
    let other = connect(&url, settings(2).with_clock(clock.clone())).await;
    (url, clock, [one, other])
}

/// Publishes an event with this number, whose deliveries are rows at once.
async fn publish_rows(
    url: &str,
    store: &PostgresStore,
    number: u64,
    endpoints: usize,
) -> Vec<Delivery> {
    let published = publish(store, number, endpoints).await;
    spread(url).await;
    // Nobody has told of rows. A settlement of whatever makes the store look for them.
    let lease = Lease {
        delivery: published[0].id(),
        token: LeaseToken(0),
    };
    assert_eq!(
        settle(store, lease, Next::Release).await,
        Settled::LeaseLost
    );
    published
}

async fn leases(store: &PostgresStore, max: usize) -> Vec<Lease> {
    let batch = store.lease(&request(max)).await.unwrap();
    batch.deliveries.iter().map(|leased| leased.lease).collect()
}

fn ids(leases: &[Lease]) -> Vec<DeliveryId> {
    leases.iter().map(|lease| lease.delivery).collect()
}

async fn settle(store: &PostgresStore, lease: Lease, next: Next) -> Settled {
    let settlement = Settlement::unattempted(lease, next);
    store.settle(&[settlement]).await.unwrap()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_leased_together_expires_one_by_one() {
    let (url, clock, [one, other]) = two(3).await;
    let began = clock.now();
    let at = |seconds| began.saturating_add(Duration::from_secs(seconds));
    publish_rows(&url, &one, 1, 3).await;
    let leased = leases(&one, 10).await;
    assert_eq!(leased.len(), 3);
    clock.advance(Duration::from_secs(30));
    let extended = one.extend(&leased[..1], Duration::from_mins(1)).await;
    assert_eq!(extended.unwrap(), [true]);
    assert_eq!(
        settle(&one, leased[2], Next::Delivered).await,
        Settled::Done
    );
    let batch = other.lease(&request(10)).await.unwrap();
    assert_eq!(batch.deliveries, []);
    assert_eq!(
        batch.next_due,
        Some(at(60)),
        "the second has not been extended"
    );

    clock.advance(Duration::from_secs(30));
    let batch = other.lease(&request(10)).await.unwrap();
    let again: Vec<_> = batch.deliveries.iter().map(|next| next.lease).collect();
    assert_eq!(ids(&again), [leased[1].delivery]);
    assert_eq!(batch.next_due, Some(at(90)), "the first lasts longer");
    let late = settle(&one, leased[1], Next::Delivered).await;
    assert_eq!(late, Settled::LeaseLost);

    clock.advance(Duration::from_secs(30));
    let last = leases(&other, 10).await;
    assert_eq!(ids(&last), [leased[0].delivery]);
    for lease in [again[0], last[0]] {
        assert_eq!(settle(&other, lease, Next::Delivered).await, Settled::Done);
    }
    assert_eq!(other.lease(&request(10)).await.unwrap().next_due, None);
    assert_eq!(count(&client(&url).await, "lease").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_left_of_leases_that_have_been_ended() {
    let (url, clock, [one, _]) = two(4).await;
    publish_rows(&url, &one, 1, 4).await;
    let leased = leases(&one, 10).await;
    let retry_at = clock.now().saturating_add(Duration::from_mins(5));
    let nexts = [
        Next::Delivered,
        Next::Retry(retry_at),
        Next::Failed,
        Next::DeadLetter,
    ];
    let client = client(&url).await;
    for (lease, next) in leased.iter().zip(nexts) {
        assert_eq!(leases(&one, 10).await, [], "all are leased");
        assert_eq!(count(&client, "lease").await, 1);
        assert_eq!(settle(&one, *lease, next).await, Settled::Done);
    }
    let batch = one.lease(&request(10)).await.unwrap();
    assert_eq!(batch.next_due, Some(retry_at));
    assert_eq!(count(&client, "lease").await, 0);
}

/// Deliveries of a record and deliveries that are rows, leased by the first of two stores that attempt deliveries.
async fn in_the_hands_of_one() -> ([PostgresStore; 2], Vec<DeliveryId>) {
    let (url, _, [one, other]) = two(5).await;
    assert_eq!(leases(&other, 1).await, [], "it is known as a process");
    publish_rows(&url, &one, 1, 5).await;
    publish(&one, 2, 5).await;
    let mut leased = ids(&leases(&one, 6).await);
    leased.extend(ids(&leases(&one, 10).await));
    leased.sort_unstable();
    assert_eq!(leased.len(), 10);
    assert_eq!(leases(&other, 10).await, []);
    ([one, other], leased)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_stops_leaves_what_it_had_in_hand_to_others() {
    let ([one, other], leased) = in_the_hands_of_one().await;
    one.close().await.unwrap();
    until_leased(&other, leased).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_that_is_gone_had_in_hand_is_taken_over() {
    let ([one, other], leased) = in_the_hands_of_one().await;
    // Its loops end, and nobody gives anything back.
    drop(one);
    until_leased(&other, leased).await;
}

async fn until_leased(other: &PostgresStore, leased: Vec<DeliveryId>) {
    let found = Mutex::new(BTreeSet::new());
    until("all of it is leased", || async {
        let again = ids(&leases(other, 20).await);
        let mut found = found.lock().unwrap();
        found.extend(again);
        found.len() == 10
    })
    .await;
    assert!(found.into_inner().unwrap().into_iter().eq(leased));
}

/// A store that was cut off from the database for long finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_was_taken_for_dead_settles_nothing() {
    let (url, _, [one, _]) = two(2).await;
    publish(&one, 1, 2).await;
    let leased = leases(&one, 2).await;
    let gone = "DELETE FROM nahook.process; UPDATE nahook.record SET owner = 0";
    client(&url).await.batch_execute(gone).await.unwrap();
    let lost = settle(&one, leased[0], Next::Delivered).await;
    assert_eq!(lost, Settled::LeaseLost);
    // It begins anew.
    publish(&one, 2, 1).await;
    assert_eq!(leases(&one, 10).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_counts_under_the_bounds_until_it_ends() {
    let (url, clock, [one, _]) = two(1).await;
    for number in [1, 2] {
        publish_rows(&url, &one, number, 1).await;
    }
    let half = Duration::from_secs(30);
    let held = leases(&one, 1).await;
    clock.advance(half);
    let extended = one.extend(&held, 2 * half).await.unwrap();
    assert_eq!(extended, [true]);
    clock.advance(half);
    assert_eq!(leases(&one, 1).await, []);
    clock.advance(half);
    assert_eq!(one.extend(&held, 2 * half).await.unwrap(), [false]);
    assert_eq!(ids(&leases(&one, 1).await), ids(&held));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_is_woken_where_a_settlement_has_made_room() {
    let (_, _, [one, _]) = two(1).await;
    publish(&one, 1, 1).await;
    let batch = one.lease(&request(1)).await.unwrap();
    settle(&one, batch.deliveries[0].lease, Next::Delivered).await;
    let woken = one.changed(batch.generation).now_or_never();
    assert_eq!(woken, Some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_deliveries_and_retries_take_turns_one_by_one() {
    let (url, clock, [one, _]) = two(1).await;
    publish_rows(&url, &one, 1, 1).await;
    let retry = leases(&one, 1).await[0];
    settle(&one, retry, Next::Retry(clock.now())).await;
    publish_rows(&url, &one, 2, 1).await;
    publish_rows(&url, &one, 3, 1).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        let next = leases(&one, 1).await[0];
        served.push(next.delivery == retry.delivery);
        settle(&one, next, Next::Delivered).await;
    }
    assert_eq!(served, [false, true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_shows_nothing_of_a_release() {
    let (url, clock, [one, _]) = two(1).await;
    let id = publish_rows(&url, &one, 1, 1).await[0].id();
    let workspace = workspace_id("ws_shop");
    let before = one.delivery(id, &workspace).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let lease = leases(&one, 1).await[0];
    assert_eq!(settle(&one, lease, Next::Release).await, Settled::Done);
    assert_eq!(one.delivery(id, &workspace).await.unwrap(), before);
}

/// Many retries are made ready a part at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_finds_as_many_due_retries_as_it_asks_for() {
    let (url, _, [one, _]) = two(1).await;
    let due = "SET search_path = nahook;
        INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
            VALUES (1, '00000000-0000-0000-0000-000000000001', 1, 1, 0, '{}');
        INSERT INTO delivery (key, endpoint, due_at, wake_at, attempts, status)
            SELECT 1 << 20 | n, 1, 1, 1, 1, 1 FROM generate_series(1, 1500) n";
    client(&url).await.batch_execute(due).await.unwrap();
    assert_eq!(leases(&one, 1_200).await.len(), 1_200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_has_locked_holds_no_lease_up() {
    let (url, _, [one, _]) = two(2).await;
    let mut holder = client(&url).await;
    for is_retry in [false, true] {
        let mut published = publish_rows(&url, &one, is_retry.into(), 2).await;
        if is_retry {
            for lease in leases(&one, 2).await {
                let due = Next::Retry(Timestamp::from_nanos(1));
                assert_eq!(settle(&one, lease, due).await, Settled::Done);
            }
        }
        let lock = holder.transaction().await.unwrap();
        let held =
            "SELECT FROM nahook.delivery WHERE due_at IS NOT NULL ORDER BY key LIMIT 1 FOR UPDATE";
        lock.query(held, &[]).await.unwrap();
        let found = leases(&one, 2).await;
        assert_eq!(ids(&found), [published.pop().unwrap().id()]);
        lock.rollback().await.unwrap();
        let rest = [found, leases(&one, 2).await].concat();
        for lease in rest {
            settle(&one, lease, Next::Delivered).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_two_settlements_of_a_lease_counts() {
    let (url, _, [one, _]) = two(1).await;
    publish(&one, 1, 1).await;
    let lease = leases(&one, 1).await[0];
    let settlement = |next| Settlement::unattempted(lease, next);
    let both = [settlement(Next::Delivered), settlement(Next::Failed)];
    let settled = one.settle(&both).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::LeaseLost]);
    let delivered = "delivery WHERE status = 2";
    assert_eq!(count(&client(&url).await, delivered).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_settled_is_settled_the_next_time() {
    let (url, _, [one, _]) = two(1).await;
    publish(&one, 1, 1).await;
    let lease = leases(&one, 1).await[0];
    let client = client(&url).await;
    let refuse = "ALTER TABLE nahook.delivery ADD CONSTRAINT refused CHECK (status <> 2)";
    client.batch_execute(refuse).await.unwrap();
    let settlement = Settlement::unattempted(lease, Next::Delivered);
    one.settle(&[settlement]).await.unwrap_err();
    let accept = "ALTER TABLE nahook.delivery DROP CONSTRAINT refused";
    client.batch_execute(accept).await.unwrap();
    assert_eq!(settle(&one, lease, Next::Delivered).await, Settled::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_attempted_and_released_comes_back_at_once() {
    let (_, clock, [one, _]) = two(1).await;
    publish(&one, 1, 1).await;
    let settlement = Settlement {
        lease: leases(&one, 1).await[0],
        attempt: Some(Attempt {
            started_at: clock.now(),
            duration: Duration::from_secs(1),
            status_code: None,
            error: None,
            response_body: None,
        }),
        next: Next::Release,
    };
    assert_eq!(one.settle(&[settlement]).await.unwrap(), [Settled::Done]);
    let again = one.lease(&request(1)).await.unwrap().deliveries;
    let attempts: Vec<_> = again.iter().map(|leased| leased.attempts).collect();
    assert_eq!(attempts, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_could_not_be_taken_are_taken_the_next_time() {
    let (url, _, [one, _]) = two(2).await;
    publish(&one, 1, 2).await;
    assert_eq!(leases(&one, 1).await.len(), 1);
    publish(&one, 2, 2).await;
    let client = client(&url).await;
    let hide = "ALTER TABLE nahook.record RENAME width TO hidden";
    client.batch_execute(hide).await.unwrap();
    // Right after a look there is none: then what is in hand comes, and goes back.
    until("a look fails", || async {
        let Ok(batch) = one.lease(&request(10)).await else {
            return true;
        };
        for leased in batch.deliveries {
            settle(&one, leased.lease, Next::Release).await;
        }
        false
    })
    .await;
    let show = "ALTER TABLE nahook.record RENAME hidden TO width";
    client.batch_execute(show).await.unwrap();
    // Not only what was in hand already.
    assert_eq!(leases(&one, 10).await.len(), 3);
}

/// A statement that nobody waits for any more may take records when its process has already looked at what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_late_is_found_by_who_has_given_up() {
    let (url, _, [one, _]) = two(1).await;
    assert_eq!(leases(&one, 1).await, []);
    let mut client = client(&url).await;
    let hide = "ALTER TABLE nahook.record RENAME width TO hidden";
    client.batch_execute(hide).await.unwrap();
    one.lease(&request(10)).await.unwrap_err();
    let show = "ALTER TABLE nahook.record RENAME hidden TO width";
    client.batch_execute(show).await.unwrap();
    let published = publish(&one, 1, 1).await;
    let late = client.transaction().await.unwrap();
    let take = "SELECT FROM nahook.process FOR SHARE;
        UPDATE nahook.record SET owner = (SELECT token FROM nahook.process), is_begun = true";
    late.batch_execute(take).await.unwrap();
    let leasing = tokio::spawn(async move { leases(&one, 10).await });
    until_locked(&url).await;
    late.commit().await.unwrap();
    assert_eq!(ids(&leasing.await.unwrap()), [published[0].id()]);
}

/// Each of two workspaces comes twice in the order of endpoints, before a third.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workspaces_that_are_cut_hide_nothing_behind_them() {
    let (url, _, [one, _]) = two(0).await;
    let declared = [
        ("ws_a", &["a1"][..]),
        ("ws_b", &["b1"]),
        ("ws_a", &["a1", "a2"]),
        ("ws_b", &["b1", "b2"]),
        ("ws_c", &["c1"]),
    ];
    for (workspace, endpoints) in declared {
        let declared = Workspace::new(workspace).event_type("order.paid");
        let declared = endpoints
            .iter()
            .fold(declared, |all, id| all.endpoint(id, &["order.paid"]));
        one.apply(&declared.manifest(), ApplyMode::Commit)
            .await
            .unwrap();
    }
    let mut published = Vec::new();
    for (number, (workspace, endpoints)) in (1..).zip(&declared[2..]) {
        let event = event(workspace, "order.paid", number, SystemClock.now());
        let endpoints: Vec<_> = endpoints.iter().map(|id| endpoint_id(id)).collect();
        let mut slots = deliveries(&event, &endpoints);
        one.publish(&event, &mut slots).await;
        published.push(slots[0].id());
    }
    spread(&url).await;
    // In the second batch rows are leased at once, and not half of them first.
    assert_eq!(leases(&one, 0).await, []);
    let request = LeaseRequest {
        per_workspace_max: 1,
        ..request(4)
    };
    let batch = one.lease(&request).await.unwrap();
    let leased = batch.deliveries.iter().map(|leased| leased.lease.delivery);
    let leased: BTreeSet<_> = leased.collect();
    assert_eq!(leased, BTreeSet::from_iter(published));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlement_of_a_record_makes_room_for_a_row() {
    let (url, _, [one, _]) = two(1).await;
    let row = publish_rows(&url, &one, 1, 1).await[0].id();
    // Records have their turn in the second batch.
    assert_eq!(leases(&one, 0).await, []);
    let record = publish(&one, 2, 1).await[0].id();
    let request = LeaseRequest {
        per_endpoint_max: 1,
        ..request(2)
    };
    let held = one.lease(&request).await.unwrap().deliveries;
    let [held] = held.try_into().unwrap();
    assert_eq!(held.lease.delivery, record);
    let settled = settle(&one, held.lease, Next::Delivered).await;
    assert_eq!(settled, Settled::Done);
    let next = one.lease(&request).await.unwrap().deliveries;
    let next: Vec<_> = next.iter().map(|leased| leased.lease.delivery).collect();
    assert_eq!(next, [row]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_filled_by_whose_share_was_cut() {
    let (url, _, [one, _]) = two(2).await;
    publish(&one, 1, 2).await;
    for number in 2..=9 {
        publish(&one, number, 1).await;
    }
    publish_rows(&url, &one, 10, 1).await;
    assert_eq!(leases(&one, 0).await, []);
    // Half of six is more than one of the endpoints has.
    assert_eq!(leases(&one, 6).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_of_nothing_wakes_nobody() {
    let (_, _, [one, _]) = two(1).await;
    // Other wakes come some time.
    until("nobody is woken", || async {
        let batch = one.lease(&request(1)).await.unwrap();
        one.changed(batch.generation).now_or_never().is_none()
    })
    .await;
}

/// Looks begin at the records that were taken last, but for those that find nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_far_behind_of_which_nobody_told_are_found() {
    let (url, _, [one, _]) = two(1).await;
    let client = client(&url).await;
    let behind = publish(&one, 1, 1).await;
    let hide = "UPDATE nahook.record SET owner = -1; SELECT setval('nahook.event_seq', 10000)";
    client.batch_execute(hide).await.unwrap();
    let ahead = publish(&one, 2, 1).await;
    assert_eq!(ids(&leases(&one, 10).await), [ahead[0].id()]);
    let show = "UPDATE nahook.record SET owner = 0 WHERE owner = -1";
    client.batch_execute(show).await.unwrap();
    let found = async {
        loop {
            let batch = one.lease(&request(10)).await.unwrap();
            if !batch.deliveries.is_empty() {
                return batch
                    .deliveries
                    .iter()
                    .map(|it| it.lease.delivery)
                    .collect();
            }
            one.changed(batch.generation).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_mins(1), found).await;
    let found: Vec<_> = found.unwrap();
    assert_eq!(found, [behind[0].id()]);
}

/// Records are taken a part at a time, of three audiences as many as can be shared out evenly, and older ones than those that follow the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_finds_as_many_records_as_it_asks_for() {
    let (url, _, [one, _]) = two(1).await;
    publish(&one, 1, 1).await;
    let more = "SET search_path = nahook;
        INSERT INTO event (seq, id, workspace, event_type, accepted_at, payload)
            SELECT 10 * n, lpad(to_hex(n), 32, '0')::uuid, 1, 1, 0, '{}' FROM generate_series(1001, 2500) n;
        INSERT INTO record (key, workspace, audience, due_at, width, endpoints)
            SELECT 10 * n::bigint << 20, workspace, audience + n % 3, due_at, width, endpoints FROM record, generate_series(1001, 2500) n";
    client(&url).await.batch_execute(more).await.unwrap();
    assert_eq!(leases(&one, 2_000).await.len(), 1_501);
}

/// A worker that asks for deliveries is told what changed since it asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_during_a_lease_is_told() {
    let (url, _) = shop_store(1).await;
    let mut settings = settings(1);
    settings.lock_timeout = Duration::from_mins(1);
    settings.statement_timeout = Duration::from_mins(1);
    let store = connect(&url, settings).await;
    publish_rows(&url, &store, 1, 1).await;
    let mut holder = client(&url).await;
    let lock = holder.transaction().await.unwrap();
    let held = "LOCK TABLE nahook.lease IN ACCESS EXCLUSIVE MODE";
    lock.batch_execute(held).await.unwrap();
    let leasing = tokio::spawn({
        let store = store.clone();
        async move { store.lease(&request(1)).await.unwrap() }
    });
    until_locked(&url).await;
    // The one writer has told of the first before it writes the second.
    for number in [2, 3] {
        publish(&store, number, 1).await;
    }
    lock.rollback().await.unwrap();
    let batch = leasing.await.unwrap();
    let told = store.changed(batch.generation).now_or_never();
    assert_eq!(told, Some(()));
}

/// Workers that lease for moments, extend, settle, and forget what they have leased; while somebody looks whether there is a
/// leased delivery that nobody would look at again in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_lasts_without_its_row() {
    const UNSEEN: &str = "delivery d WHERE d.wake_at IS NOT NULL AND d.lease_token IS NOT NULL AND NOT EXISTS (
        SELECT FROM nahook.lease l WHERE l.token = d.lease_token AND d.key = ANY (l.keys) AND l.look_at <= d.wake_at)";
    let url = PostgresServer::shared().create_database();
    let store = connect(&url, settings(4)).await;
    store.apply(&shop(5), ApplyMode::Commit).await.unwrap();
    for number in 0..40 {
        publish(&store, number, 5).await;
    }
    spread(&url).await;
    let mut workers = Vec::new();
    for worker in 0..4 {
        let store = connect(&url, settings(2)).await;
        workers.push(tokio::spawn(async move {
            let request = LeaseRequest {
                worker: WorkerId(worker),
                per_endpoint_max: 1_000,
                duration: Duration::from_millis(20),
                ..request(10)
            };
            for round in 0..60 {
                let batch = store.lease(&request).await.unwrap();
                let leases: Vec<_> = batch.deliveries.iter().map(|leased| leased.lease).collect();
                tokio::time::sleep(Duration::from_millis(round % 4 * 8)).await;
                // Some of them, so that what was leased together goes different ways.
                let some = &leases[..leases.len() / 2];
                store.extend(some, Duration::from_millis(30)).await.unwrap();
                for lease in leases.iter().skip(2).step_by(3) {
                    let now = SystemClock.now();
                    settle(&store, *lease, Next::Retry(now)).await;
                }
            }
        }));
    }
    let client = client(&url).await;
    while workers.iter().any(|worker| !worker.is_finished()) {
        assert_eq!(count(&client, UNSEEN).await, 0);
    }
    for worker in workers {
        worker.await.unwrap();
    }
    // Nothing is lost either: everything comes back.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(leases(&store, 1_000).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlement_wakes_who_waits_for_room_before_it_is_answered() {
    let (_, _, [store, _]) = two(1).await;
    for number in 1..=20 {
        publish(&store, number, 1).await;
        let batch = store.lease(&request(1)).await.unwrap();
        let [held] = batch.deliveries.try_into().unwrap();
        let generation = store.lease(&request(0)).await.unwrap().generation;
        assert_eq!(
            settle(&store, held.lease, Next::Delivered).await,
            Settled::Done
        );
        // Not by one of the looks that follow each other by a second or more: those come some time.
        let woken = store.changed(generation).now_or_never();
        assert!(woken.is_some(), "round {number}");
    }
}

/// A server whose commits that wait for nothing reach the disk late, and not at all where it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_among_the_rows_outlives_the_server() {
    let server = PostgresServer::start_with("wal_writer_delay = 10s", &[]);
    let url = server.create_database();
    let clock = ManualClock::default();
    let store = connect(&url, settings(2).with_clock(clock.clone())).await;
    store.apply(&shop(2), ApplyMode::Commit).await.unwrap();
    let published: BTreeSet<_> = publish(&store, 1, 2)
        .await
        .iter()
        .map(Delivery::id)
        .collect();
    assert_eq!(leases(&store, 2).await.len(), 2);
    // They are not settled in time, and become rows.
    clock.advance(Duration::from_mins(2));
    store.lease(&request(0)).await.unwrap();
    server.kill();
    server.start_again();
    clock.advance(Duration::from_mins(2));
    let found = Mutex::new(BTreeSet::new());
    until("both are leased again", || async {
        let batch = store.lease(&request(10)).await;
        let deliveries = batch.map(|batch| batch.deliveries).unwrap_or_default();
        let mut found = found.lock().unwrap();
        found.extend(deliveries.iter().map(|leased| leased.lease.delivery));
        *found == published
    })
    .await;
}
