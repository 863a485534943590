//! Clauses about how much a worker gets.

use std::collections::HashMap;
use std::time::Duration;

use nahook_core::id::EndpointId;
use nahook_queue::{LeaseRequest, LeasedDelivery, Next, Settled, WorkerId};

use super::shop::{LEASE, Shop, ids, request};
use crate::QueueHarness;
use crate::declare::nth_endpoint_id;

/// A batch has at most as many deliveries as were asked for, and as many if there are.
pub async fn the_most_of_a_request_is_kept<H: QueueHarness>() {
    let shop = filled::<H>(3, 4).await;
    for max in [0, 1, 5, 6] {
        let leased = shop.lease(&request(1, max)).await.deliveries;
        assert_eq!(
            leased.len(),
            max,
            "{max} were asked for, and there are more"
        );
    }
    assert_eq!(shop.lease_ids(1).await, [], "all twelve are leased by now");
}

/// A worker holds at most `per_endpoint_max` unsettled leases for an endpoint, those from earlier batches included;
/// another worker has bounds of its own.
pub async fn the_bounds_of_a_request_hold<H: QueueHarness>() {
    let shop = filled::<H>(3, 10).await;
    let leased = shop.lease(&bounded(1, 2, &[])).await.deliveries;
    expect_counts(&leased, &[2, 2, 2], "at most two for each endpoint");
    let more = shop.lease(&bounded(1, 2, &[])).await.deliveries;
    expect_counts(&more, &[0, 0, 0], "worker 1 holds two for each already");
    let more = shop.lease(&bounded(1, 3, &[])).await.deliveries;
    expect_counts(
        &more,
        &[1, 1, 1],
        "worker 1 holds two for each, and may hold three",
    );
    let others = shop.lease(&bounded(2, 2, &[])).await.deliveries;
    expect_counts(&others, &[2, 2, 2], "worker 2 holds none yet");
}

/// Settling a lease, in whatever way, makes room for another one of its endpoint.
pub async fn settling_makes_room_under_the_bound<H: QueueHarness>() {
    let shop = filled::<H>(2, 10).await;
    let mut held = shop.lease(&bounded(1, 2, &[])).await.deliveries;
    for next in [
        Next::Delivered,
        Next::Failed,
        Next::Retry(shop.now().saturating_add(LEASE)),
    ] {
        let at = held
            .iter()
            .position(|leased| leased.endpoint == nth_endpoint_id(0))
            .expect("one for the first endpoint");
        let settled = shop.settle(held.remove(at).lease, next).await;
        assert_eq!(settled, Settled::Done, "the lease is held");
        let more = shop.lease(&bounded(1, 2, &[])).await.deliveries;
        let why = format!("one for the first endpoint was settled as {next:?}");
        expect_counts(&more, &[1, 0], &why);
        held.extend(more);
    }
}

/// For an endpoint among the exceptions its number holds, be it larger, smaller or zero.
pub async fn exceptions_override_the_bound<H: QueueHarness>() {
    let shop = filled::<H>(4, 10).await;
    let exceptions = [(0, 5), (1, 1), (2, 0)];
    let leased = shop.lease(&bounded(1, 2, &exceptions)).await.deliveries;
    expect_counts(
        &leased,
        &[5, 1, 0, 2],
        "exceptions 5, 1 and 0, the usual bound 2",
    );
    let more = shop.lease(&bounded(1, 2, &exceptions)).await.deliveries;
    expect_counts(&more, &[0; 4], "every bound is reached");
    let leased = shop.lease(&bounded(1, 2, &[(2, 3)])).await.deliveries;
    expect_counts(
        &leased,
        &[0, 1, 3, 0],
        "the exceptions are those of this request only",
    );
}

/// However large the numbers in a request, it is answered.
pub async fn a_request_may_ask_for_any_number<H: QueueHarness>() {
    let shop = filled::<H>(2, 3).await;
    let request = LeaseRequest {
        worker: WorkerId(u64::MAX),
        max: usize::MAX,
        per_endpoint_max: usize::MAX,
        exceptions: vec![(nth_endpoint_id(0), usize::MAX)],
        duration: Duration::MAX,
    };
    let leased = shop.lease(&request).await.deliveries;
    assert_eq!(leased.len(), 6, "everything there is");
    shop.advance(Duration::from_hours(365 * 24));
    assert_eq!(
        shop.lease_ids(1).await,
        [],
        "leased for as long as can be told"
    );
    let claims: Vec<_> = leased.iter().map(|leased| leased.lease).collect();
    assert_eq!(
        shop.extend(&claims, Duration::MAX).await,
        [true; 6],
        "the leases are held"
    );
    shop.settle(claims[0], Next::Release).await;
    assert_eq!(
        shop.lease_ids(1).await,
        [ids(&leased)[0]],
        "the one that was released"
    );
}

/// So many deliveries for each of so many endpoints.
async fn filled<H: QueueHarness>(endpoints: usize, each: usize) -> Shop<H> {
    let shop = Shop::<H>::with_endpoints(endpoints).await;
    let all: Vec<usize> = (0..endpoints).collect();
    for _ in 0..each {
        shop.publish(&all).await;
    }
    shop
}

fn bounded(worker: u64, per_endpoint_max: usize, exceptions: &[(usize, usize)]) -> LeaseRequest {
    LeaseRequest {
        per_endpoint_max,
        exceptions: exceptions
            .iter()
            .map(|(n, max)| (nth_endpoint_id(*n), *max))
            .collect(),
        ..request(worker, 1_000)
    }
}

fn expect_counts(leased: &[LeasedDelivery], expected: &[usize], why: &str) {
    let mut counts: HashMap<EndpointId, usize> = HashMap::new();
    for leased in leased {
        *counts.entry(leased.endpoint).or_default() += 1;
    }
    let found: Vec<usize> = (0..expected.len())
        .map(|n| counts.remove(&nth_endpoint_id(n)).unwrap_or_default())
        .collect();
    assert_eq!(found, expected, "leases by endpoint: {why}");
}
