//! Entries about deliveries of a queue elsewhere.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock, Event, Payload, SystemClock, Timestamp};
use nahook_queue::{
    Attempt, DeliveryLog, DeliveryRecorder, DeliveryState, DeliveryStatus, LogEntry, Redelivered,
    Redelivery, RedeliveryRequest,
};
use nahook_testkit::declare::{Workspace, endpoint_id, event, workspace_id};

use crate::support::{rows, shop_store};

fn entry(event: &Arc<Event>, ordinal: u32, endpoint: &str, state: DeliveryState) -> LogEntry {
    LogEntry {
        event: Arc::clone(event),
        delivery: DeliveryId::nth(event.id, ordinal),
        endpoint: endpoint_id(endpoint),
        attempts: 0,
        attempt: None,
        state,
        at: event.accepted_at,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_delivery_of_the_event_is_not_recorded() {
    let (url, store) = shop_store(1).await;
    let other = Workspace::new("ws_other")
        .endpoint("ep_theirs", &[])
        .manifest();
    store.apply(&other, ApplyMode::Commit).await.unwrap();
    let event = Arc::new(event("ws_shop", "order.paid", 1, SystemClock.now()));
    let entries = [
        entry(&event, 0, "ep_theirs", DeliveryState::Pending),
        // No key has room for it.
        entry(&event, 1 << 20, "ep_0", DeliveryState::Pending),
    ];
    store.record(&entries).await.unwrap();
    assert_eq!(rows(&url).await, 0);
}

/// Two have attempted it, and the later one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_attempted_again_is_not_delivered_yet() {
    let (_, store) = shop_store(1).await;
    let event = Arc::new(event("ws_shop", "order.paid", 1, SystemClock.now()));
    let attempted = |attempts, state| LogEntry {
        attempts,
        attempt: Some(Attempt {
            started_at: event.accepted_at,
            duration: Duration::from_millis(1),
            status_code: None,
            error: None,
            response_body: None,
        }),
        ..entry(&event, 0, "ep_0", state)
    };
    let entries = [
        attempted(1, DeliveryState::Delivered),
        attempted(2, DeliveryState::Retry(event.accepted_at)),
    ];
    store.record(&entries).await.unwrap();
    let id = DeliveryId::nth(event.id, 0);
    let found = store.delivery(id, &workspace_id("ws_shop")).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.status, DeliveryStatus::ScheduledRetry);
    assert_eq!(found.delivered_at, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_payload_is_not_queued_again() {
    let (_, store) = shop_store(1).await;
    let mut event = event("ws_shop", "order.paid", 1, SystemClock.now());
    event.payload = Payload::not_kept();
    let failed = entry(&Arc::new(event), 0, "ep_0", DeliveryState::Failed);
    let id = failed.delivery;
    store.record(&[failed]).await.unwrap();
    let workspace = workspace_id("ws_shop");
    assert_eq!(
        store.redeliver(id, &workspace).await.unwrap(),
        Redelivered::NotGivenUp(DeliveryStatus::Failed)
    );
    let all = RedeliveryRequest {
        workspace,
        endpoint: endpoint_id("ep_0"),
        since: Timestamp::default(),
        limit: 10,
    };
    assert_eq!(store.redeliver_since(&all).await.unwrap(), 0);
}
