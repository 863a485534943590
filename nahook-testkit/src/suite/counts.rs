//! Promises of every [`DeliveryCounts`].

use std::time::Duration;

use nahook_control::Manifest;
use nahook_core::Timestamp;
use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_queue::{Counts, CountsQuery, DeliveryCounts, Period, RollUp};

use super::queue::Shop;
use crate::CountsHarness;
use crate::declare::{Workspace, endpoint_id, manifest, nth_endpoint_id, workspace_id};

/// Numbers that differ from each other, so that none is taken for another.
fn numbers(first: u64) -> Counts {
    Counts::from_numbers(first..)
}

fn times(counts: &Counts, times: u64) -> Counts {
    Counts::from_numbers(counts.to_numbers().map(|number| number * times))
}

fn of(endpoint: Option<EndpointId>, period: Period, at: Timestamp) -> RollUp {
    RollUp {
        workspace: workspace_id("ws_shop"),
        endpoint,
        period,
        start: period.start_of(at),
        counts: numbers(1),
    }
}

async fn found<H: CountsHarness>(shop: &Shop<H>, like: &RollUp, since: Timestamp) -> Vec<RollUp> {
    let query = CountsQuery {
        workspace: like.workspace,
        endpoint: like.endpoint,
        period: like.period,
        since,
    };
    let found = shop.harness.counts().counts(&query).await;
    found.expect("counts can be asked for")
}

async fn add<H: CountsHarness>(shop: &Shop<H>, roll_ups: &[RollUp]) {
    let added = shop.harness.counts().add_counts(roll_ups).await;
    added.expect("counts can be added");
}

/// Numbers of the same time are added up; those of another time, period or endpoint are apart.
pub async fn counts_add_up<H: CountsHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let now = shop.now();
    let minute = of(None, Period::Minute, now);
    let hour = of(None, Period::Hour, now);
    let endpoint = of(Some(nth_endpoint_id(1)), Period::Hour, now);
    add(&shop, &[minute, hour, endpoint]).await;
    add(&shop, &[hour]).await;
    add(&shop, &[endpoint, hour]).await;
    for (like, often) in [(minute, 1), (hour, 3), (endpoint, 2)] {
        let expected = RollUp {
            counts: times(&like.counts, often),
            ..like
        };
        let found = found(&shop, &like, Timestamp::default()).await;
        assert_eq!(found, [expected], "added {often} times");
    }
    let other = of(Some(nth_endpoint_id(0)), Period::Hour, now);
    let found = found(&shop, &other, Timestamp::default()).await;
    assert_eq!(found, [], "nothing was added for the other endpoint");
}

/// Times are listed from the first that is asked for on, the oldest first.
pub async fn the_oldest_count_is_first<H: CountsHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut added = Vec::new();
    for _ in 0..4 {
        added.push(of(None, Period::Minute, shop.now()));
        shop.advance(Duration::from_mins(2));
    }
    let mixed = [added[2], added[0], added[3], added[1]];
    add(&shop, &mixed).await;
    for first in 0..added.len() {
        let found = found(&shop, &added[0], added[first].start).await;
        assert_eq!(found, added[first..], "from the time asked for on");
    }
}

/// Nothing that is added side by side is lost.
pub async fn concurrent_counts_add_up<H: CountsHarness>() {
    let shop = Shop::<H>::with_endpoints(8).await;
    let now = shop.now();
    let endpoints = || (0..8).map(nth_endpoint_id);
    let mut forth: Vec<_> = endpoints()
        .map(|id| of(Some(id), Period::Hour, now))
        .collect();
    let back: Vec<_> = forth.iter().rev().copied().collect();
    let adding = (0..6).map(|n| {
        let (counts, roll_ups) = (
            shop.harness.counts(),
            if n % 2 == 0 {
                forth.clone()
            } else {
                back.clone()
            },
        );
        tokio::spawn(async move { counts.add_counts(&roll_ups).await })
    });
    for added in adding.collect::<Vec<_>>() {
        let added = added.await.expect("adding does not panic");
        added.expect("counts can be added");
    }
    for expected in &mut forth {
        expected.counts = times(&expected.counts, 6);
        let found = found(&shop, expected, now_minus_an_hour(now)).await;
        assert_eq!(found, [*expected], "each of six");
    }
}

fn now_minus_an_hour(now: Timestamp) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(3_600_000_000_000))
}

/// Numbers of what does not exist are left out, and those beside them are counted.
pub async fn counts_of_the_unknown_are_left_out<H: CountsHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.harness.apply(&others()).await;
    let known = of(None, Period::Hour, shop.now());
    let unknown = [
        RollUp {
            workspace: workspace_id("ws_never_made"),
            ..known
        },
        of(Some(endpoint_id("ep_never_made")), Period::Hour, shop.now()),
        // It exists, elsewhere.
        of(Some(endpoint_id("ep_other")), Period::Hour, shop.now()),
    ];
    let [first, second, third] = unknown;
    add(&shop, &[first, second, known, third]).await;
    let since = Timestamp::default();
    assert_eq!(found(&shop, &known, since).await, [known], "it exists");
    for unknown in unknown {
        assert_eq!(found(&shop, &unknown, since).await, [], "{unknown:?}");
    }
}

/// Nothing of another workspace is counted or shown.
pub async fn other_workspaces_have_counts_of_their_own<H: CountsHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.harness.apply(&others()).await;
    let ours = [
        of(None, Period::Hour, shop.now()),
        of(Some(nth_endpoint_id(0)), Period::Hour, shop.now()),
    ];
    add(&shop, &ours).await;
    let theirs = |workspace: WorkspaceId| ours.map(|ours| RollUp { workspace, ..ours });
    for theirs in theirs(workspace_id("ws_other")) {
        let found = found(&shop, &theirs, Timestamp::default()).await;
        assert_eq!(found, [], "they are another workspace's");
    }
}

/// Counts are there after a restart.
pub async fn counts_survive_a_restart<H: CountsHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let added = of(None, Period::Hour, shop.now());
    add(&shop, &[added]).await;
    let Some(shop) = shop.restarted().await else {
        return;
    };
    let found = found(&shop, &added, Timestamp::default()).await;
    assert_eq!(found, [added], "after a restart");
}

fn others() -> Manifest {
    manifest([Workspace::new("ws_other").endpoint("ep_other", &[])])
}
