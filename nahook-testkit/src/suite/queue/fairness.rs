//! Clauses about who comes first.

use std::sync::Arc;
use std::time::Duration;

use nahook_queue::{DeliveryQueue, LeaseRequest, Next};

use super::shop::{LEASE, Shop, request};
use crate::QueueHarness;
use crate::declare::{deliveries, nth_endpoint_id};

/// Ten thousand deliveries that wait for one endpoint do not keep the one for another waiting: it is in the next batch of
/// ten.
pub async fn one_endpoint_holds_no_other_back<H: QueueHarness>() {
    const BACKLOG: usize = 10_000;
    let shop = Arc::new(Shop::<H>::with_endpoints(2).await);
    // Published side by side, as triggers come.
    let publishing: Vec<_> = (0..50)
        .map(|_| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                for _ in 0..BACKLOG / 50 {
                    let event = shop.event();
                    let mut slots = deliveries(&event, &[nth_endpoint_id(0)]);
                    shop.harness.publish(&event, &mut slots).await;
                }
            })
        })
        .collect();
    for task in publishing {
        task.await.expect("publishing does not panic");
    }
    let waiting = shop.publish(&[1]).await;
    let batch = shop.lease(&request(1, 10)).await.deliveries;
    assert_eq!(batch.len(), 10, "there are enough for a batch of ten");
    let found: Vec<_> = batch
        .iter()
        .filter(|leased| leased.endpoint == nth_endpoint_id(1))
        .map(|leased| leased.lease.delivery)
        .collect();
    assert_eq!(
        found, waiting,
        "the one delivery to the second endpoint is in a batch of ten, beside {BACKLOG} for the first"
    );
}

/// Over a few batches every endpoint with a backlog gets about the same.
pub async fn endpoints_are_served_in_turn<H: QueueHarness>() {
    const ENDPOINTS: usize = 10;
    let shop = Shop::<H>::with_endpoints(ENDPOINTS).await;
    // The backlogs came one after the other, the first endpoint's first.
    for endpoint in 0..ENDPOINTS {
        for _ in 0..8 {
            shop.publish(&[endpoint]).await;
        }
    }
    let mut served = [0_usize; ENDPOINTS];
    for _ in 0..10 {
        let batch = shop.lease(&request(1, 4)).await.deliveries;
        for leased in batch {
            let endpoint = (0..ENDPOINTS).find(|n| nth_endpoint_id(*n) == leased.endpoint);
            served[endpoint.expect("an endpoint of the shop")] += 1;
            shop.settle(leased.lease, Next::Delivered).await;
        }
    }
    for (endpoint, served) in served.iter().enumerate() {
        assert!(
            (3..=5).contains(served),
            "endpoint {endpoint} got {served} of 40 leases that ten endpoints share in turn"
        );
    }
}

/// An overdue retry is leased although fresh deliveries keep coming, and a fresh delivery although retries keep coming
/// due, for the same endpoint: neither waits for more than the backlog that was there before it and as much again.
pub async fn old_retries_and_fresh_deliveries_share<H: QueueHarness>() {
    const BACKLOG: usize = 20;
    const BATCH: usize = 4;
    let rounds = 2 * (BACKLOG + BATCH) / BATCH + 2;

    let shop = Shop::<H>::with_endpoints(1).await;
    let retry = shop.publish_one().await;
    let lease = shop.lease_one(1).await.lease;
    let at = shop.now().saturating_add(LEASE);
    shop.settle(lease, Next::Retry(at)).await;
    shop.advance(LEASE);
    for _ in 0..BACKLOG {
        shop.publish_one().await;
    }
    let mut came = false;
    for _ in 0..rounds {
        for _ in 0..BATCH {
            shop.publish_one().await;
        }
        let batch = lease_some(&shop, &request(1, BATCH)).await;
        for leased in batch {
            came |= leased.delivery == retry;
            shop.settle(leased, Next::Delivered).await;
        }
    }
    assert!(
        came,
        "an overdue retry has waited {rounds} batches of {BATCH}, behind deliveries fresher than it"
    );

    let shop = Shop::<H>::with_endpoints(1).await;
    for _ in 0..BACKLOG {
        shop.publish_one().await;
    }
    for leased in shop.lease_all(1).await {
        shop.settle(leased.lease, Next::Retry(shop.now())).await;
    }
    shop.advance(Duration::from_millis(1));
    let fresh = shop.publish_one().await;
    let mut came = false;
    for _ in 0..rounds {
        let batch = lease_some(&shop, &request(1, BATCH)).await;
        shop.advance(Duration::from_millis(1));
        for leased in batch {
            came |= leased.delivery == fresh;
            shop.settle(leased, Next::Retry(shop.now())).await;
        }
    }
    assert!(
        came,
        "a fresh delivery has waited {rounds} batches of {BATCH}, behind {BACKLOG} retries that keep coming"
    );
}

async fn lease_some<H: QueueHarness>(
    shop: &Shop<H>,
    request: &LeaseRequest,
) -> Vec<nahook_queue::Lease> {
    let batch = shop.harness.queue().lease(request).await;
    let deliveries = batch.expect("the queue can be asked").deliveries;
    deliveries.into_iter().map(|leased| leased.lease).collect()
}
