//! Clauses about how much a worker gets.

use std::collections::HashMap;
use std::time::Duration;

use nahook_core::id::EndpointId;
use nahook_queue::{LeaseRequest, LeasedDelivery, Next, Settled, WorkerId, WorkspaceBounds};

use super::shop::{LEASE, Shop, ids, request};
use crate::QueueHarness;
use crate::declare::{
    Workspace, deliveries, endpoint_id, event, manifest, nth_endpoint_id, workspace_id,
};

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

/// A batch has at most `per_workspace_max` deliveries of a workspace, or as many as its bounds among `workspaces` say; what
/// the worker holds already does not count.
pub async fn a_workspace_gets_no_more_than_its_share<H: QueueHarness>() {
    let shop = filled::<H>(3, 4).await;
    let usual = |per_workspace_max| LeaseRequest {
        per_workspace_max,
        ..request(1, 1_000)
    };
    for max in [0, 1, 4] {
        let leased = shop.lease(&usual(max)).await.deliveries;
        assert_eq!(
            leased.len(),
            max,
            "{max} of each workspace, and there are more"
        );
    }
    for (max, expected) in [(0, 0), (3, 3), (100, 4)] {
        let bounds = WorkspaceBounds {
            workspace: workspace_id("ws_shop"),
            max,
            unlisted_max: 100,
        };
        let request = LeaseRequest {
            workspaces: vec![bounds],
            ..usual(1)
        };
        let leased = shop.lease(&request).await.deliveries;
        assert_eq!(
            leased.len(),
            expected,
            "the workspace has a bound of its own: {max}"
        );
    }
}

/// Of endpoints that are not among the exceptions, a batch has at most `unlisted_max` of a workspace.
pub async fn endpoints_that_are_not_listed_share_their_room<H: QueueHarness>() {
    let shop = filled::<H>(4, 10).await;
    let sharing = |unlisted_max, listed: &[(usize, usize)]| LeaseRequest {
        workspaces: vec![WorkspaceBounds {
            workspace: workspace_id("ws_shop"),
            max: 8,
            unlisted_max,
        }],
        ..bounded(1, 2, listed)
    };
    let leased = shop.lease(&sharing(0, &[(3, 1)])).await.deliveries;
    expect_counts(&leased, &[0, 0, 0, 1], "only the fourth is listed");
    let leased = shop.lease(&sharing(2, &[(3, 4)])).await.deliveries;
    let listed = leased
        .iter()
        .filter(|leased| leased.endpoint == nth_endpoint_id(3));
    assert_eq!((listed.count(), leased.len()), (3, 5), "two of the others");
    let leased = shop.lease(&sharing(100, &[])).await.deliveries;
    let others = leased
        .iter()
        .filter(|leased| leased.endpoint != nth_endpoint_id(3));
    assert_eq!(
        (others.count(), leased.len()),
        (4, 4),
        "two each, less the two"
    );
}

/// A workspace whose bound is reached keeps none from another one, however many of its endpoints are ready.
pub async fn a_workspace_at_its_bound_holds_no_other_back<H: QueueHarness>() {
    const CROWD: usize = 300;
    let shop = Shop::<H>::with_endpoints(CROWD).await;
    let crowd = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoints(CROWD);
    let other = Workspace::new("ws_other")
        .event_type("order.paid")
        .endpoint("ep_other", &["order.paid"]);
    shop.harness.apply(&manifest([crowd, other])).await;
    let all: Vec<usize> = (0..CROWD).collect();
    for _ in 0..3 {
        shop.publish(&all).await;
    }
    let event = event("ws_other", "order.paid", 1_000_000, shop.now());
    let mut slots = deliveries(&event, &[endpoint_id("ep_other")]);
    shop.harness.publish(&event, &mut slots).await;
    for (max, is_listed) in [(0, false), (5, false), (5, true)] {
        let request = LeaseRequest {
            workspaces: vec![WorkspaceBounds {
                workspace: workspace_id("ws_shop"),
                max,
                unlisted_max: if is_listed { 0 } else { max },
            }],
            ..request(1, 50)
        };
        let leased = shop.lease(&request).await.deliveries;
        let is_other = |leased: &&LeasedDelivery| leased.workspace == workspace_id("ws_other");
        let found: Vec<_> = leased.iter().filter(is_other).collect();
        assert_eq!(
            found.len(),
            1,
            "the other workspace's, beside {CROWD} endpoints: {request:?}"
        );
        let of_crowd = if is_listed { 0 } else { max };
        assert_eq!(leased.len(), of_crowd + 1, "the crowd's share");
        shop.settle(found[0].lease, Next::Release).await;
    }
}

/// However large the numbers in a request, it is answered.
pub async fn a_request_may_ask_for_any_number<H: QueueHarness>() {
    let shop = filled::<H>(2, 3).await;
    let bounds = WorkspaceBounds {
        workspace: workspace_id("ws_shop"),
        max: usize::MAX,
        unlisted_max: usize::MAX,
    };
    let request = LeaseRequest {
        exceptions: vec![(nth_endpoint_id(0), usize::MAX)],
        workspaces: vec![bounds],
        ..LeaseRequest::new(WorkerId(u64::MAX), usize::MAX, Duration::MAX)
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
