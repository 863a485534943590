//! Promises of every [`Redelivery`].

use std::sync::Arc;
use std::time::Duration;

use nahook_core::Timestamp;
use nahook_core::id::DeliveryId;
use nahook_queue::{
    DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliveryState, DeliveryStatus, LogEntry, Next,
    Redelivered, Redelivery, RedeliveryRequest, Settled,
};

use super::queue::{Shop, attempt, request};
use crate::RedeliveryHarness;
use crate::declare::{deliveries, nth_endpoint_id, workspace_id};

async fn redeliver<H: RedeliveryHarness>(shop: &Shop<H>, id: DeliveryId) -> Redelivered {
    let redelivery = shop.harness.redelivery();
    let redelivered = redelivery.redeliver(id, &workspace_id("ws_shop")).await;
    redelivered.expect("the queue can be asked")
}

/// Queues a delivery again that was given up.
async fn queue_again<H: RedeliveryHarness>(shop: &Shop<H>, id: DeliveryId) {
    let redelivered = redeliver(shop, id).await;
    assert_eq!(redelivered, Redelivered::Queued, "it was given up");
}

/// Asks for a delivery that was not given up, and so keeps this status.
async fn expect_stays<H: RedeliveryHarness>(shop: &Shop<H>, id: DeliveryId, is: DeliveryStatus) {
    let redelivered = redeliver(shop, id).await;
    assert_eq!(redelivered, Redelivered::NotGivenUp(is), "not given up");
}

/// Expects so many to be queued again of the first endpoint's since then, of at most `limit`.
async fn expect_since<H: RedeliveryHarness>(
    shop: &Shop<H>,
    since: Timestamp,
    limit: usize,
    expected: usize,
    why: &str,
) {
    let request = RedeliveryRequest {
        workspace: workspace_id("ws_shop"),
        endpoint: nth_endpoint_id(0),
        since,
        limit,
    };
    let redelivered = shop.harness.redelivery().redeliver_since(&request).await;
    assert_eq!(
        redelivered.expect("the queue can be asked"),
        expected,
        "{why}"
    );
}

async fn expect_status<H: RedeliveryHarness>(
    shop: &Shop<H>,
    id: DeliveryId,
    expected: DeliveryStatus,
    why: &str,
) {
    let record = shop
        .harness
        .log()
        .delivery(id, &workspace_id("ws_shop"))
        .await;
    let record = record.expect("the log can be asked");
    assert_eq!(
        record.expect("the delivery is there").status,
        expected,
        "{why}"
    );
}

/// Publishes one delivery and ends it like that.
async fn ended<H: RedeliveryHarness>(shop: &Shop<H>, endpoint: usize, next: Next) -> DeliveryId {
    let id = shop.publish(&[endpoint]).await[0];
    let lease = shop.lease_one(1).await.lease;
    shop.settle_held(lease, next).await;
    id
}

/// A delivery that was given up is due at once when asked for: the same delivery, of the same message, with its attempts.
/// It ends like any other, and may be asked for again when it is given up again.
pub async fn what_was_given_up_is_due_at_once<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    for next in [Next::Failed, Next::DeadLetter] {
        let id = ended(&shop, 0, next).await;
        shop.advance(Duration::from_mins(1));
        for attempts in 1..4 {
            queue_again(&shop, id).await;
            expect_status(&shop, id, DeliveryStatus::ScheduledRetry, "it waits").await;
            let leased = shop.lease_one(1).await;
            assert_eq!(
                (leased.lease.delivery, leased.attempts),
                (id, attempts),
                "the same delivery, with the attempts it had"
            );
            let last = if attempts == 3 { Next::Delivered } else { next };
            shop.settle_held(leased.lease, last).await;
        }
        expect_status(&shop, id, DeliveryStatus::Delivered, "it ended well").await;
        assert_eq!(shop.lease_ids(1).await, [], "and does not come back");
    }
}

/// One that was given up before anybody attempted it is pending again.
pub async fn what_was_never_attempted_is_pending_again<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let settlement =
        nahook_queue::Settlement::unattempted(shop.lease_one(1).await.lease, Next::Failed);
    assert_eq!(
        shop.settle_all(&[settlement]).await,
        [Settled::Done],
        "the lease is held"
    );
    queue_again(&shop, id).await;
    expect_status(
        &shop,
        id,
        DeliveryStatus::Pending,
        "nobody has attempted it",
    )
    .await;
    assert_eq!(
        shop.lease_one(1).await.attempts,
        0,
        "nobody has attempted it"
    );
}

/// A delivery that was not abandoned stays as it is, and the answer gives its status.
pub async fn what_was_not_given_up_stays<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    expect_stays(&shop, id, DeliveryStatus::Pending).await;
    let lease = shop.lease_one(1).await.lease;
    expect_stays(&shop, id, DeliveryStatus::Delivering).await;
    let at = shop.now().saturating_add(Duration::from_secs(5));
    shop.settle_held(lease, Next::Retry(at)).await;
    expect_stays(&shop, id, DeliveryStatus::ScheduledRetry).await;
    assert_eq!(shop.lease_ids(1).await, [], "and not due before its time");
    shop.advance(Duration::from_secs(5));
    let lease = shop.lease_one(1).await.lease;
    shop.settle_held(lease, Next::Delivered).await;
    expect_stays(&shop, id, DeliveryStatus::Delivered).await;
    assert_eq!(shop.lease_ids(1).await, [], "and does not come back");
}

/// Nothing of another workspace is queued, nor what does not exist.
pub async fn other_workspaces_queue_nothing<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = ended(&shop, 0, Next::Failed).await;
    let redelivery = shop.harness.redelivery();
    let other = workspace_id("ws_other");
    let foreign = redelivery.redeliver(id, &other).await;
    assert_eq!(
        foreign.expect("the queue can be asked"),
        Redelivered::NotFound,
        "ws_shop's"
    );
    let nowhere = DeliveryId::nth(shop.event().id, 7);
    let redelivered = redeliver(&shop, nowhere).await;
    assert_eq!(redelivered, Redelivered::NotFound, "it does not exist");
    let request = RedeliveryRequest {
        workspace: other,
        endpoint: nth_endpoint_id(0),
        since: Timestamp::default(),
        limit: 10,
    };
    let foreign = redelivery.redeliver_since(&request).await;
    assert_eq!(
        foreign.expect("the queue can be asked"),
        0,
        "ws_shop's endpoint"
    );
    assert_eq!(shop.lease_ids(1).await, [], "nothing is due");
}

/// An endpoint's given-up deliveries since an instant are queued again, the oldest first, so many at once; others are not.
pub async fn a_backlog_is_queued_again_in_steps<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    ended(&shop, 0, Next::DeadLetter).await;
    shop.advance(Duration::from_secs(1));
    let since = shop.now();
    let mut given_up = Vec::new();
    for next in [Next::Failed, Next::DeadLetter, Next::Failed] {
        given_up.push(ended(&shop, 0, next).await);
        ended(&shop, 0, Next::Delivered).await;
        ended(&shop, 1, next).await;
    }
    expect_since(&shop, since, 0, 0, "none were asked for").await;
    expect_since(&shop, since, 2, 2, "two of three").await;
    let mut leased = shop.lease_all(1).await;
    leased.sort_by_key(|leased| leased.lease.delivery);
    let ids: Vec<_> = leased.iter().map(|leased| leased.lease.delivery).collect();
    assert_eq!(
        ids,
        given_up[..2],
        "the oldest two of the endpoint since then"
    );
    for leased in leased {
        shop.settle(leased.lease, Next::Delivered).await;
    }
    expect_since(&shop, since, 2, 1, "the third").await;
    assert_eq!(
        shop.lease_one(1).await.lease.delivery,
        given_up[2],
        "the third"
    );
    expect_since(&shop, since, 2, 0, "there are no more").await;
}

/// Queueing again wakes a worker that waits.
pub async fn a_waiting_worker_is_woken<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = ended(&shop, 0, Next::Failed).await;
    let batch = shop.lease(&request(1, 10)).await;
    assert_eq!(batch.deliveries, [], "nothing is due");
    let queue = shop.harness.queue();
    let waiting = tokio::spawn(async move { queue.changed(batch.generation).await });
    queue_again(&shop, id).await;
    let woken = tokio::time::timeout(Duration::from_mins(2), waiting).await;
    assert!(woken.is_ok(), "the worker has been woken");
    assert_eq!(shop.lease_ids(1).await, [id], "and finds the delivery");
}

/// A delivery that was queued again is still so after an orderly restart, unless the queue survives none.
pub async fn what_was_queued_again_survives_a_restart<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = ended(&shop, 0, Next::DeadLetter).await;
    queue_again(&shop, id).await;
    if let Some(shop) = shop.restarted().await {
        assert_eq!(shop.lease_ids(1).await, [id], "it is due after the restart");
    }
}

/// A delivery that a queue elsewhere abandoned, and only the log here knows, is this queue's from then on: it is leased with the
/// attempts it had, and what is recorded of it later is left out. What is still under way there is not touched.
pub async fn what_was_given_up_elsewhere_is_taken_over<H: RedeliveryHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let event = Arc::new(shop.event());
    let entry = |nth: usize, state| LogEntry {
        event: Arc::clone(&event),
        delivery: deliveries(&event, &[nth_endpoint_id(0); 4])[nth].id(),
        endpoint: nth_endpoint_id(0),
        attempts: 2,
        attempt: Some(attempt(event.accepted_at)),
        state,
        at: event.accepted_at,
    };
    let retry = DeliveryState::Retry(shop.now());
    let entries = [
        entry(0, DeliveryState::DeadLetter),
        entry(1, DeliveryState::Failed),
        entry(2, retry),
        entry(3, DeliveryState::Delivered),
    ];
    let record = async |entries: &[LogEntry]| {
        let recorded = shop.harness.recorder().record(entries).await;
        recorded.expect("the log can be told");
    };
    record(&entries).await;
    assert_eq!(shop.lease_ids(1).await, [], "another queue's");
    for (entry, stays) in entries[2..]
        .iter()
        .zip([DeliveryStatus::ScheduledRetry, DeliveryStatus::Delivered])
    {
        expect_stays(&shop, entry.delivery, stays).await;
    }
    queue_again(&shop, entries[0].delivery).await;
    expect_since(
        &shop,
        Timestamp::default(),
        10,
        1,
        "the other one that was given up there",
    )
    .await;
    record(&entries).await;
    for entry in &entries[..2] {
        expect_status(
            &shop,
            entry.delivery,
            DeliveryStatus::ScheduledRetry,
            "what is recorded later is left out",
        )
        .await;
    }
    let mut leased = shop.lease_all(1).await;
    leased.sort_by_key(|leased| leased.lease.delivery);
    let ids: Vec<_> = leased.iter().map(|leased| leased.lease.delivery).collect();
    assert_eq!(
        ids,
        [entries[0].delivery, entries[1].delivery],
        "both, here"
    );
    for leased in leased {
        assert_eq!(
            leased.payload, event.payload,
            "with the payload that was recorded"
        );
        let id = leased.lease.delivery;
        shop.settle_held(leased.lease, Next::Delivered).await;
        expect_status(&shop, id, DeliveryStatus::Delivered, "it ended well").await;
    }
}
