//! Clauses about knowing when to ask again.

use std::time::Duration;

use nahook_core::Timestamp;
use nahook_queue::{DeliveryQueue, Next};
use tokio::time::timeout;

use super::shop::{LEASE, Shop, request};
use crate::QueueHarness;

/// Time to wait for a worker that should have been woken.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whoever waits for a change is woken by a delivery that is published, and by one that is released.
pub async fn changed_wakes_a_waiting_worker<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    for _ in 0..20 {
        let waiting = wait(&shop, 1).await;
        shop.publish_one().await;
        expect_woken(waiting, "a delivery was published").await;
        let lease = shop.lease_one(1).await.lease;

        let waiting = wait(&shop, 2).await;
        shop.settle(lease, Next::Release).await;
        expect_woken(waiting, "a delivery was released").await;
        let lease = shop.lease_one(1).await.lease;
        shop.settle(lease, Next::Delivered).await;
    }
}

/// Whoever waits for a change is woken by a retry that is due at once, as one is whose time has passed while its worker settled it.
pub async fn changed_wakes_for_a_retry_that_is_due<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let began = shop.now();
    shop.advance(Duration::from_secs(1));
    for retry_at in [began, shop.now()] {
        shop.publish_one().await;
        let lease = shop.lease_one(1).await.lease;
        let waiting = wait(&shop, 2).await;
        shop.settle(lease, Next::Retry(retry_at)).await;
        expect_woken(waiting, "a retry is due").await;
        let lease = shop.lease_one(2).await.lease;
        shop.settle(lease, Next::Delivered).await;
    }
}

/// A worker that holds as many leases for an endpoint as it may is woken by a settlement of one: the next may be leased.
pub async fn changed_wakes_for_room_under_a_bound<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut one_each = request(1, 10);
    one_each.per_endpoint_max = 1;
    shop.publish_one().await;
    for _ in 0..5 {
        shop.publish_one().await;
        let [held] = shop
            .lease(&one_each)
            .await
            .deliveries
            .try_into()
            .expect("one may be held");
        let batch = shop.lease(&one_each).await;
        assert_eq!(batch.deliveries, [], "one is held");
        let waiting = begin_waiting(&shop, batch.generation).await;
        shop.settle(held.lease, Next::Delivered).await;
        expect_woken(waiting, "there is room for another").await;
    }
}

/// A change that has happened between the batch and the waiting is not missed, nor one at the same time.
pub async fn changed_never_misses<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    for round in 0..50 {
        let generation = shop.lease(&request(1, 10)).await.generation;
        let queue = shop.harness.queue();
        if round % 2 == 0 {
            shop.publish_one().await;
            let woken = timeout(PATIENCE, queue.changed(generation)).await;
            assert!(
                woken.is_ok(),
                "a delivery was published after the batch, before the waiting"
            );
        } else {
            let waiting =
                tokio::spawn(async move { timeout(PATIENCE, queue.changed(generation)).await });
            shop.publish_one().await;
            expect_woken(waiting, "a delivery was published while the waiting began").await;
        }
        let lease = shop.lease_one(1).await.lease;
        shop.settle(lease, Next::Delivered).await;
    }
}

/// One change wakes everybody who waits.
pub async fn changed_may_be_waited_for_by_many<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut waiting = Vec::new();
    for worker in 0..16 {
        waiting.push(wait(&shop, worker).await);
    }
    shop.publish_one().await;
    for waiting in waiting {
        expect_woken(waiting, "a delivery was published").await;
    }
}

/// A batch tells when the passing of time alone makes something leasable: the earliest of the retries that are not due
/// and of the leases that can expire. Never later than that, and never in the past.
pub async fn next_due_is_told<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let begun = shop.now();
    let after = |secs| begun.saturating_add(Duration::from_secs(secs));
    for retry_after in [500, 70, 100] {
        shop.publish_one().await;
        let lease = shop.lease_one(1).await.lease;
        shop.settle(lease, Next::Retry(after(retry_after))).await;
    }
    expect_next_due(&shop, Some(after(70)), "retries after 70, 100 and 500 s").await;
    shop.publish_one().await;
    let held = shop.lease_one(1).await.lease;
    expect_next_due(
        &shop,
        Some(begun.saturating_add(LEASE)),
        "a lease that expires",
    )
    .await;
    shop.extend(&[held], Duration::from_secs(90)).await;
    expect_next_due(&shop, Some(after(70)), "the lease now lasts 90 s").await;
    shop.advance(Duration::from_secs(70));
    let due = shop.lease_one(1).await.lease;
    shop.settle(due, Next::Delivered).await;
    expect_next_due(&shop, Some(after(90)), "a lease that lasts until 90 s").await;
    shop.settle(held, Next::Delivered).await;
    expect_next_due(&shop, Some(after(100)), "the retry after 100 s").await;
    shop.advance(Duration::from_secs(1_000));
    for leased in shop.lease_all(1).await {
        shop.settle(leased.lease, Next::Delivered).await;
    }
    expect_next_due(&shop, None, "everything is settled").await;
}

/// Begins to wait for a change after a batch that was empty.
async fn wait<H: QueueHarness>(
    shop: &Shop<H>,
    worker: u64,
) -> tokio::task::JoinHandle<Result<(), tokio::time::error::Elapsed>> {
    let batch = shop.lease(&request(worker, 10)).await;
    assert_eq!(batch.deliveries, [], "nothing is there yet");
    begin_waiting(shop, batch.generation).await
}

async fn begin_waiting<H: QueueHarness>(
    shop: &Shop<H>,
    generation: u64,
) -> tokio::task::JoinHandle<Result<(), tokio::time::error::Elapsed>> {
    let queue = shop.harness.queue();
    let waiting = tokio::spawn(async move { timeout(PATIENCE, queue.changed(generation)).await });
    // Lets the waiting begin; that it may not have is another clause.
    tokio::task::yield_now().await;
    waiting
}

async fn expect_woken(
    waiting: tokio::task::JoinHandle<Result<(), tokio::time::error::Elapsed>>,
    why: &str,
) {
    let woken = waiting.await.expect("waiting does not panic");
    assert!(woken.is_ok(), "nobody was woken within {PATIENCE:?}: {why}");
}

async fn expect_next_due<H: QueueHarness>(shop: &Shop<H>, expected: Option<Timestamp>, why: &str) {
    let found = shop.lease(&request(1, 10)).await.next_due;
    match expected {
        None => assert_eq!(found, None, "next_due: {why}"),
        Some(at) => {
            let told = found.is_some_and(|found| shop.now() < found && found <= at);
            assert!(told, "next_due is {found:?}, but it is {at:?}: {why}");
        }
    }
}
