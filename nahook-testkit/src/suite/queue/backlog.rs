//! Clauses about measuring what waits.

use std::time::Duration;

use nahook_queue::{Backlog, DeliveryQueue, Next};

use super::shop::{LEASE, Shop};
use crate::QueueHarness;

const SECOND: Duration = Duration::from_secs(1);

async fn backlog<H: QueueHarness>(shop: &Shop<H>, count_max: u64) -> Backlog {
    let measured = shop.harness.queue().backlog(count_max).await;
    measured.expect("the queue can be asked")
}

/// The backlog is what may be leased now: not what is leased, not what waits for time, and not what has ended. Its age is that of
/// the delivery that has been due for longest.
pub async fn the_backlog_is_what_is_due<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let none = Backlog::default();
    assert_eq!(backlog(&shop, 100).await, none, "nothing was published");
    let first_at = shop.now();
    shop.publish(&[0, 1]).await;
    shop.advance(SECOND);
    shop.publish_one().await;
    let all = Backlog {
        due: 3,
        oldest_due_at: Some(first_at),
    };
    assert_eq!(backlog(&shop, 100).await, all, "all are due");
    let leased = shop.lease_all(1).await;
    assert_eq!(leased.len(), 3, "all are leased");
    assert_eq!(backlog(&shop, 100).await, none, "what is leased is not due");
    let retry_at = shop.now().saturating_add(SECOND);
    shop.settle(leased[0].lease, Next::Retry(retry_at)).await;
    shop.settle(leased[1].lease, Next::Delivered).await;
    assert_eq!(backlog(&shop, 100).await, none, "the retry is yet to come");
    shop.advance(SECOND);
    let retry = Backlog {
        due: 1,
        oldest_due_at: Some(retry_at),
    };
    assert_eq!(backlog(&shop, 100).await, retry, "the retry is due");
    shop.advance(LEASE);
    let expired = backlog(&shop, 100).await;
    assert_eq!(expired.due, 2, "an expired lease is due");
    let due_at = expired.oldest_due_at.expect("something is due");
    assert!(due_at <= retry_at, "since the retry at the latest");
}

/// No more is counted than asked for; the age is that of the oldest all the same.
pub async fn the_backlog_is_counted_to_its_bound<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    let first_at = shop.now();
    shop.publish(&[2]).await;
    shop.advance(SECOND);
    for _ in 0..4 {
        shop.publish(&[0, 1, 2]).await;
    }
    for count_max in [0, 1, 5, 12] {
        let expected = Backlog {
            due: count_max,
            oldest_due_at: Some(first_at),
        };
        assert_eq!(backlog(&shop, count_max).await, expected);
    }
    assert_eq!(backlog(&shop, 14).await.due, 13, "there are no more");
}
