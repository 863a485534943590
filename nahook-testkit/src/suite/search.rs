//! Promises of every [`DeliverySearch`].

use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_queue::{
    DeliveryLog, DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats, DeliveryStatus,
    Next, Settled, StatsQuery,
};

use super::queue::Shop;
use crate::SearchHarness;
use crate::declare::{nth_endpoint_id, workspace_id};

/// The endpoint's deliveries with that number.
fn of(endpoint: usize) -> DeliveryQuery {
    DeliveryQuery {
        workspace: workspace_id("ws_shop"),
        endpoint: nth_endpoint_id(endpoint),
        status: None,
        since: None,
        before: None,
        limit: 1_000,
    }
}

async fn found<H: SearchHarness>(shop: &Shop<H>, query: &DeliveryQuery) -> Vec<DeliveryRecord> {
    let found = shop.harness.search().deliveries(query).await;
    found.expect("the log can be asked")
}

async fn ids<H: SearchHarness>(shop: &Shop<H>, query: &DeliveryQuery) -> Vec<DeliveryId> {
    let found = found(shop, query).await;
    found.iter().map(|record| record.id).collect()
}

/// An endpoint's deliveries and no others, the one queued last first, each as the log shows it alone.
pub async fn the_newest_delivery_is_first<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(shop.publish(&[1, 0]).await[1]);
        shop.advance(Duration::from_secs(1));
    }
    expected.reverse();
    let records = found(&shop, &of(0)).await;
    let listed: Vec<_> = records.iter().map(|record| record.id).collect();
    assert_eq!(listed, expected, "the endpoint's own, the newest first");
    for record in records {
        let alone = shop
            .harness
            .log()
            .delivery(record.id, &workspace_id("ws_shop"))
            .await;
        assert_eq!(
            alone.expect("the log can be asked"),
            Some(record),
            "as it is shown alone"
        );
    }
}

/// Following the pages shows each delivery that was there at the first once, whatever is queued or settled meanwhile.
pub async fn pages_show_each_delivery_once<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(shop.publish_one().await);
    }
    expected.reverse();
    let (mut seen, mut query) = (Vec::new(), DeliveryQuery { limit: 3, ..of(0) });
    loop {
        let page = ids(&shop, &query).await;
        assert!(page.len() <= 3, "a page holds no more than was asked for");
        let Some(last) = page.last() else { break };
        query.before = Some(*last);
        seen.extend(page);
        shop.publish_one().await;
        let leased = shop.lease_all(1).await;
        for leased in leased {
            shop.settle(leased.lease, Next::Delivered).await;
        }
    }
    assert_eq!(
        seen, expected,
        "each once, in order, and nothing that came later"
    );
    assert_eq!(
        ids(&shop, &DeliveryQuery { limit: 0, ..of(0) }).await,
        [],
        "none were asked for"
    );
}

/// Each status finds the deliveries that stand so, also those that are being attempted, and pages through them.
pub async fn a_status_finds_its_deliveries<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut by_status = Vec::new();
    let ends = [
        (DeliveryStatus::DeadLetter, Some(Next::DeadLetter)),
        (DeliveryStatus::Delivered, Some(Next::Delivered)),
        (DeliveryStatus::Failed, Some(Next::Failed)),
        (
            DeliveryStatus::ScheduledRetry,
            Some(Next::Retry(
                shop.now().saturating_add(Duration::from_hours(1)),
            )),
        ),
        (DeliveryStatus::Delivering, None),
    ];
    for (status, next) in ends {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = shop.publish_one().await;
            let lease = shop.lease_one(1).await.lease;
            if let Some(next) = next {
                shop.settle_held(lease, next).await;
            }
            ids.insert(0, id);
        }
        by_status.push((status, ids));
    }
    let mut pending = Vec::new();
    for _ in 0..3 {
        pending.insert(0, shop.publish_one().await);
    }
    by_status.push((DeliveryStatus::Pending, pending));
    for (status, expected) in by_status {
        let query = DeliveryQuery {
            status: Some(status),
            ..of(0)
        };
        let records = found(&shop, &query).await;
        let listed: Vec<_> = records.iter().map(|record| record.id).collect();
        assert_eq!(listed, expected, "{status:?}, the newest first");
        assert!(
            records.iter().all(|record| record.status == status),
            "and shown so"
        );
        let page = DeliveryQuery {
            before: Some(expected[0]),
            limit: 1,
            ..query
        };
        assert_eq!(
            ids(&shop, &page).await,
            [expected[1]],
            "{status:?}, the second page of one"
        );
    }
    assert_eq!(found(&shop, &of(0)).await.len(), 18, "all of them together");
}

/// Only what was accepted since then, the instant itself included.
pub async fn since_is_kept<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    shop.advance(Duration::from_secs(1));
    let since = shop.now();
    let second = shop.publish_one().await;
    shop.advance(Duration::from_secs(1));
    let third = shop.publish_one().await;
    let query = DeliveryQuery {
        since: Some(since),
        ..of(0)
    };
    assert_eq!(
        ids(&shop, &query).await,
        [third, second],
        "the first one is older"
    );
}

/// Nothing is shown of another workspace, nor of an endpoint that does not exist.
pub async fn other_workspaces_find_nothing<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    let other = DeliveryQuery {
        workspace: workspace_id("ws_other"),
        ..of(0)
    };
    assert_eq!(ids(&shop, &other).await, [], "it is ws_shop's endpoint");
    assert_eq!(ids(&shop, &of(1)).await, [], "there is no such endpoint");
}

/// Counts of the endpoint with that number, or of all.
async fn stats<H: SearchHarness>(
    shop: &Shop<H>,
    endpoint: Option<usize>,
    count_max: u64,
) -> DeliveryStats {
    let query = StatsQuery {
        workspace: workspace_id("ws_shop"),
        endpoint: endpoint.map(nth_endpoint_id),
        count_max,
        is_unsettled_only: false,
    };
    let stats = shop.harness.search().stats(&query).await;
    stats.expect("the log can be asked")
}

/// Number of deliveries by status: dead letter, delivered, delivering, failed, pending, scheduled retry.
fn counts(stats: &DeliveryStats) -> [u64; 6] {
    DeliveryStatus::ALL.map(|status| stats.count(status))
}

/// Each delivery is counted under the status that the log shows, also while it is being attempted.
pub async fn each_status_is_counted<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    assert_eq!(counts(&stats(&shop, None, 100).await), [0; 6]);
    let retry_at = shop.now().saturating_add(Duration::from_hours(1));
    let ends = [
        Next::DeadLetter,
        Next::Delivered,
        Next::Delivered,
        Next::Failed,
        Next::Retry(retry_at),
    ];
    for next in ends {
        shop.publish_one().await;
        let lease = shop.lease_one(1).await.lease;
        assert_eq!(shop.settle(lease, next).await, Settled::Done);
    }
    shop.publish(&[0, 1]).await;
    let leased = shop.lease_all(1).await;
    shop.publish(&[0, 1]).await;
    assert_eq!(counts(&stats(&shop, None, 100).await), [1, 2, 2, 1, 2, 1]);
    for leased in leased {
        shop.settle(leased.lease, Next::Release).await;
    }
    assert_eq!(counts(&stats(&shop, None, 100).await), [1, 2, 0, 1, 4, 1]);
    shop.advance(Duration::from_hours(1));
    assert_eq!(shop.lease_all(1).await.len(), 5, "the retry is due, too");
    assert_eq!(counts(&stats(&shop, None, 100).await), [1, 2, 5, 1, 0, 0]);
}

/// An endpoint's counts are of its own deliveries; of one that does not exist there are none, nor of another workspace's.
pub async fn an_endpoint_is_counted_alone<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    shop.publish(&[0]).await;
    for leased in shop.lease_all(1).await {
        shop.settle(leased.lease, Next::Delivered).await;
    }
    shop.publish(&[0, 1]).await;
    shop.publish(&[1]).await;
    for (endpoint, delivered, pending) in [(Some(0), 1, 1), (Some(1), 0, 2), (Some(2), 0, 0)] {
        let found = stats(&shop, endpoint, 100).await;
        assert_eq!((found.delivered, found.pending), (delivered, pending));
    }
    let other = StatsQuery {
        workspace: workspace_id("ws_other"),
        endpoint: Some(nth_endpoint_id(0)),
        count_max: 100,
        is_unsettled_only: false,
    };
    let found = shop.harness.search().stats(&other).await;
    let found = found.expect("the log can be asked");
    assert_eq!(found, DeliveryStats::default(), "it is ws_shop's endpoint");
}

/// A status with more deliveries than the bound shows the bound.
pub async fn counts_end_at_their_bound<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    for _ in 0..2 {
        for _ in 0..3 {
            shop.publish(&[0, 1]).await;
        }
        for leased in shop.lease_all(1).await {
            shop.settle(leased.lease, Next::Delivered).await;
        }
    }
    for _ in 0..3 {
        shop.publish(&[0, 1]).await;
    }
    for (count_max, delivered, pending) in [(0, 0, 0), (4, 4, 4), (7, 7, 6), (100, 12, 6)] {
        let found = stats(&shop, None, count_max).await;
        assert_eq!((found.delivered, found.pending), (delivered, pending));
    }
}

/// The stats tell since when the first delivery is due that nobody attempts, of the endpoint or of all.
pub async fn stats_tell_since_when_a_delivery_is_due<H: SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    assert_eq!(stats(&shop, None, 100).await.oldest_due_at, None);
    let first_at = shop.now();
    shop.publish(&[0]).await;
    shop.advance(Duration::from_secs(1));
    let second_at = shop.now();
    shop.publish(&[0, 1]).await;
    for (endpoint, since) in [(None, first_at), (Some(0), first_at), (Some(1), second_at)] {
        let found = stats(&shop, endpoint, 100).await;
        assert_eq!(found.oldest_due_at, Some(since));
    }
    assert_eq!(shop.lease_all(1).await.len(), 3, "all are leased");
    assert_eq!(stats(&shop, None, 100).await.oldest_due_at, None);
}
