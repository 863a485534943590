//! Clauses about many workers, and about none for a while.

use std::collections::{HashMap, HashSet};

use nahook_core::id::DeliveryId;
use nahook_queue::{DeliveryQueue, Next, Settled, Settlement};

use super::shop::{LEASE, MILLISECOND, Shop, attempt, ids, request};
use crate::QueueHarness;

/// Workers that drain a queue together deliver everything, each delivery once.
pub async fn workers_share_without_overlap<H: QueueHarness>() {
    const ENDPOINTS: usize = 20;
    let shop = Shop::<H>::with_endpoints(ENDPOINTS).await;
    let all: Vec<usize> = (0..ENDPOINTS).collect();
    let mut published = HashSet::new();
    for _ in 0..100 {
        published.extend(shop.publish(&all).await);
    }
    let now = shop.now();
    let working: Vec<_> = (0..6)
        .map(|worker| {
            let queue = shop.harness.queue();
            tokio::spawn(async move {
                let mut delivered = Vec::new();
                loop {
                    let batch = queue.lease(&request(worker, 37)).await;
                    let batch = batch.expect("the queue can be asked").deliveries;
                    if batch.is_empty() {
                        return delivered;
                    }
                    delivered.extend(ids(&batch));
                    let settlements: Vec<_> = batch
                        .iter()
                        .map(|leased| Settlement {
                            lease: leased.lease,
                            attempt: Some(attempt(now)),
                            next: Next::Delivered,
                        })
                        .collect();
                    let settled = queue.settle(&settlements).await;
                    let settled = settled.expect("the queue can be asked");
                    assert!(
                        settled.iter().all(|settled| *settled == Settled::Done),
                        "nobody else had these leases"
                    );
                }
            })
        })
        .collect();
    let mut times: HashMap<DeliveryId, usize> = HashMap::new();
    for task in working {
        for id in task.await.expect("working does not panic") {
            *times.entry(id).or_default() += 1;
        }
    }
    assert!(
        times.values().all(|times| *times == 1),
        "each delivery was leased by one worker only"
    );
    assert_eq!(
        times.into_keys().collect::<HashSet<_>>(),
        published,
        "together the workers have leased all that was published"
    );
}

/// After an orderly restart everything that was not settled comes back, once its lease or its wait is over at the
/// latest; what was settled does not, and no retry comes before its time. Unless the queue says that it survives none.
pub async fn nothing_is_lost_by_a_restart<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(5).await;
    let untouched = shop.publish(&[0, 1, 2, 3, 4]).await;
    let leased = shop.lease_all(1).await;
    shop.settle(leased[0].lease, Next::Delivered).await;
    shop.settle(leased[1].lease, Next::DeadLetter).await;
    let at = shop.now().saturating_add(10 * LEASE);
    shop.settle(leased[2].lease, Next::Retry(at)).await;
    shop.settle(leased[3].lease, Next::Release).await;
    // The fifth is still leased.
    let retried = leased[2].lease.delivery;
    let mut expected: HashSet<_> = untouched.into_iter().collect();
    for settled in [0, 1, 2] {
        expected.remove(&leased[settled].lease.delivery);
    }
    expected.extend(shop.publish(&[0, 1]).await);

    let Some(shop) = shop.restarted().await else {
        return;
    };
    let mut back: HashSet<_> = shop.lease_ids(2).await.into_iter().collect();
    shop.advance(LEASE);
    back.extend(shop.lease_ids(2).await);
    assert_eq!(
        back, expected,
        "what was published, released or leased before the restart"
    );
    let more = shop.lease_ids(4).await;
    assert_eq!(more, [], "all of it is leased, the retry is not due");
    shop.advance((9 * LEASE).saturating_sub(MILLISECOND));
    let early = shop.lease_ids(5).await;
    assert!(!early.contains(&retried), "the retry is a millisecond away");
    shop.advance(MILLISECOND);
    let leased = shop.lease_all(6).await;
    let due = leased
        .iter()
        .find(|leased| leased.lease.delivery == retried);
    assert_eq!(
        due.map(|leased| leased.attempts),
        Some(1),
        "the retry is due, with its attempt counted"
    );
    let id = shop.publish_one().await;
    assert_eq!(
        shop.lease_ids(7).await,
        [id],
        "publishing goes on, under ids of its own"
    );
}
