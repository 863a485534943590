//! Deliveries that are looked for and are not there.

use nahook_core::id::DeliveryId;
use nahook_core::{Delivery, DeliveryPublisher};
use nahook_queue::{DeliveryLog, DeliveryQuery, DeliverySearch};
use nahook_testkit::declare::{endpoint_id, workspace_id};

use crate::support::{client, order, publish, shop_store};

/// Retention has taken the delivery that the page before ended with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_on_where_a_forgotten_delivery_was() {
    let (url, store) = shop_store(1).await;
    let mut ids: Vec<DeliveryId> = Vec::new();
    for number in 1..=4 {
        let published = publish(&store, number, 1).await;
        ids.extend(published.iter().map(Delivery::id));
    }
    let forget = "DELETE FROM nahook.delivery WHERE key >> 20 IN (1, 3); DELETE FROM nahook.event WHERE seq IN (1, 3)";
    client(&url).await.batch_execute(forget).await.unwrap();
    for (before, expected) in [(ids[2], vec![ids[1]]), (ids[0], Vec::new())] {
        let query = DeliveryQuery {
            workspace: workspace_id("ws_shop"),
            endpoint: endpoint_id("ep_0"),
            status: None,
            since: None,
            before: Some(before),
            limit: 10,
        };
        let found = store.deliveries(&query).await.unwrap();
        let found: Vec<_> = found.iter().map(|record| record.id).collect();
        assert_eq!(found, expected);
    }
}

/// Beyond what a key has room for, where the next event's deliveries are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinal_that_no_delivery_has_is_not_found() {
    let (_, store) = shop_store(1).await;
    let (event, mut slots) = order(1, 1);
    store.publish(&event, &mut slots).await;
    let workspace = workspace_id("ws_shop");
    for (ordinal, is_found) in [(0, true), (1, false), (1 << 20, false)] {
        let id = DeliveryId::nth(event.id, ordinal);
        let found = store.delivery(id, &workspace).await.unwrap();
        assert_eq!(found.is_some(), is_found, "{ordinal}");
    }
}
