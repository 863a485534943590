//! Clauses about ending a lease.

use std::time::Duration;

use nahook_queue::{Next, Settled, Settlement};

use super::shop::{LEASE, MILLISECOND, Shop, attempt};
use crate::QueueHarness;

const LONG: Duration = Duration::from_hours(30 * 24);

/// A delivery that was delivered, given up or dead-lettered never comes back, however much time passes.
pub async fn a_settled_delivery_never_returns<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    for next in [Next::Delivered, Next::Failed, Next::DeadLetter] {
        shop.publish_one().await;
        let lease = shop.lease_one(1).await.lease;
        shop.settle_held(lease, next).await;
        for wait in [Duration::ZERO, LEASE, LONG] {
            shop.advance(wait);
            assert_eq!(
                shop.lease_ids(2).await,
                [],
                "it was settled as {next:?}, {wait:?} before"
            );
        }
    }
}

/// A delivery to be retried is offered at its time and not a millisecond before.
pub async fn a_retry_comes_at_its_time<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    for wait in [
        Duration::from_secs(5),
        Duration::from_mins(5),
        Duration::from_hours(24),
    ] {
        let lease = shop.lease_one(1).await.lease;
        let at = shop.now().saturating_add(wait);
        shop.settle_held(lease, Next::Retry(at)).await;
        assert_eq!(shop.lease_ids(1).await, [], "the retry is {wait:?} away");
        shop.advance(wait.saturating_sub(MILLISECOND));
        assert_eq!(
            shop.lease_ids(1).await,
            [],
            "the retry is a millisecond away"
        );
        shop.advance(MILLISECOND);
    }
    assert_eq!(shop.lease_ids(1).await, [id], "the retry is due");
}

/// A released delivery is there again at once, for whoever comes, with as many attempts as before.
pub async fn a_released_delivery_comes_back_at_once<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    for worker in [1, 2, 2] {
        let leased = shop.lease_one(worker).await;
        assert_eq!(leased.lease.delivery, id, "the same delivery");
        assert_eq!(leased.attempts, 0, "releasing is no attempt");
        shop.settle_held(leased.lease, Next::Release).await;
    }
    assert_eq!(
        shop.lease_ids(3).await,
        [id],
        "it was released a moment before"
    );
}

/// A worker that lost a lease to another cannot settle: nothing is recorded, and the other's lease holds.
pub async fn a_stale_lease_cannot_settle<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    let stale = shop.lease_one(1).await.lease;
    shop.advance(LEASE);
    let held = shop.lease_one(2).await;
    for next in [
        Next::Delivered,
        Next::Failed,
        Next::Release,
        Next::Retry(shop.now()),
    ] {
        assert_eq!(
            shop.settle(stale, next).await,
            Settled::LeaseLost,
            "worker 2 has it now, so worker 1 cannot settle it as {next:?}"
        );
        assert_eq!(shop.lease_ids(3).await, [], "worker 2's lease holds");
    }
    assert_eq!(
        shop.settle(held.lease, Next::Retry(shop.now())).await,
        Settled::Done,
        "worker 2 has it"
    );
    assert_eq!(
        shop.lease_one(3).await.attempts,
        1,
        "the stale attempts were not recorded"
    );
}

/// A lease that has expired, but that nobody else has taken since, may still be settled.
pub async fn an_expired_lease_may_settle<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    let late = shop.lease_one(1).await.lease;
    shop.advance(2 * LEASE);
    assert_eq!(
        shop.settle(late, Next::Delivered).await,
        Settled::Done,
        "nobody has taken it since"
    );
    assert_eq!(shop.lease_ids(2).await, [], "it is settled");
}

/// Settling again what was settled records nothing, whatever the second says.
pub async fn settling_twice_is_harmless<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let lease = shop.lease_one(1).await.lease;
    let at = shop.now().saturating_add(LEASE);
    shop.settle_held(lease, Next::Retry(at)).await;
    for next in [Next::Retry(at), Next::Delivered, Next::Release] {
        assert_eq!(
            shop.settle(lease, next).await,
            Settled::LeaseLost,
            "it was settled before"
        );
    }
    assert_eq!(
        shop.lease_ids(1).await,
        [],
        "the retry is not due: releasing again had no effect"
    );
    shop.advance(LEASE);
    let leased = shop.lease_one(1).await;
    assert_eq!(leased.lease.delivery, id, "the retry is due");
    assert_eq!(
        leased.attempts, 1,
        "one attempt was recorded, settling again recorded none"
    );
}

/// Settlements that come together are recorded one by one: a stale one takes no other with it.
pub async fn settlements_are_independent<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(4).await;
    shop.publish(&[0, 1, 2, 3]).await;
    let leased = shop.lease_all(1).await;
    let settlement = |n: usize, next| Settlement {
        lease: leased[n].lease,
        attempt: Some(attempt(shop.now())),
        next,
    };
    assert_eq!(
        shop.settle_all(&[settlement(1, Next::Delivered)]).await,
        [Settled::Done],
        "the lease is held"
    );
    let at = shop.now().saturating_add(LEASE);
    let together = [
        settlement(0, Next::Delivered),
        settlement(1, Next::Delivered),
        settlement(2, Next::Retry(at)),
        settlement(2, Next::Delivered),
        settlement(3, Next::Failed),
    ];
    assert_eq!(
        shop.settle_all(&together).await,
        [
            Settled::Done,
            Settled::LeaseLost,
            Settled::Done,
            Settled::LeaseLost,
            Settled::Done
        ],
        "the second and the fourth are about leases that were settled before"
    );
    shop.advance(LEASE);
    assert_eq!(
        shop.lease_ids(1).await,
        [leased[2].lease.delivery],
        "the one to be retried is due, the others are settled"
    );
    assert_eq!(
        shop.settle_all(&[]).await,
        [],
        "settling nothing is answered with nothing"
    );
}

/// A leased delivery tells how many attempts were settled before it; a release without an attempt counts none.
pub async fn attempts_are_counted<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    for attempts in 0..12 {
        let leased = shop.lease_one(1).await;
        assert_eq!(
            leased.attempts, attempts,
            "so many attempts were settled before"
        );
        shop.settle(leased.lease, Next::Release).await;
        let leased = shop.lease_one(2).await;
        assert_eq!(leased.attempts, attempts, "a release is no attempt");
        shop.settle(leased.lease, Next::Retry(shop.now())).await;
    }
}
