//! Promises of every [`DeliverySearch`].

use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_queue::{
    DeliveryLog, DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStatus, Next, Settled,
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
                assert_eq!(
                    shop.settle(lease, next).await,
                    Settled::Done,
                    "the lease is held"
                );
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
