//! The buffer in front of a recorder: batches, patience, bounds; and the publisher that tells it.
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog as _};
use nahook_core::{Delivery, DeliveryPublisher, FailureKind, StoreErrorKind, Timestamp};
use nahook_memory::MemoryStore;
use nahook_queue::{
    DeliveryLog as _, DeliveryState, DeliveryStatus, LogEntry, LoggedPublisher, RecorderBuffer,
    RecorderBufferSettings,
};
use nahook_testkit::declare::{Workspace, deliveries, event, nth_endpoint_id, workspace_id};
use nahook_testkit::{
    Answer, CallAnswer, CallFault, CallScript, Fault, FaultScript, Faulty, FaultyPublisher,
};
use tokio::time::{Instant, sleep};

/// Nobody stops it.
fn never() -> std::future::Pending<()> {
    std::future::pending()
}

async fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoints(10);
    store
        .apply(&shop.manifest(), ApplyMode::Commit)
        .await
        .expect("it can be declared");
    store
}

fn accepted(number: u64) -> Vec<LogEntry> {
    let event = Arc::new(event(
        "ws_shop",
        "order.paid",
        number,
        Timestamp::from_millis(7),
    ));
    let slots = deliveries(&event, &[nth_endpoint_id(0), nth_endpoint_id(1)]);
    slots
        .iter()
        .map(|slot| LogEntry {
            event: Arc::clone(&event),
            delivery: slot.id(),
            endpoint: slot.endpoint(),
            attempts: 0,
            attempt: None,
            state: DeliveryState::Pending,
            at: event.accepted_at,
        })
        .collect()
}

async fn is_shown(store: &MemoryStore, entry: &LogEntry) -> bool {
    let found = store
        .delivery(entry.delivery, &workspace_id("ws_shop"))
        .await;
    let found = found.expect("the log can be asked");
    found.is_some_and(|record| record.status == DeliveryStatus::Pending)
}

fn failing(kind: StoreErrorKind) -> CallFault {
    CallFault {
        answer: CallAnswer::FailBefore(kind),
        ..CallFault::NONE
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_recorded_together() {
    let store = store().await;
    let recorder = Arc::new(Faulty::new(store.clone(), CallScript::default()));
    let buffer = RecorderBuffer::new(RecorderBufferSettings::default());
    for number in 0..100 {
        buffer.push(accepted(number));
    }
    assert_eq!(buffer.len(), 200);
    let running = tokio::spawn({
        let (buffer, recorder) = (buffer.clone(), Arc::clone(&recorder));
        async move { buffer.run(recorder, never()).await }
    });
    sleep(Duration::from_millis(1)).await;
    assert!(buffer.is_empty());
    assert_eq!(recorder.calls(), 1, "one call for all of them");
    for entry in accepted(99) {
        assert!(is_shown(&store, &entry).await);
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn calls_are_some_milliseconds_apart_unless_a_whole_batch_waits() {
    const MS: Duration = Duration::from_millis(1);
    for (batch_len_max, calls_at_once) in [(3, 1), (2, 2)] {
        let recorder = Arc::new(Faulty::new(store().await, CallScript::default()));
        let buffer = RecorderBuffer::new(RecorderBufferSettings {
            batch_len_max,
            ..RecorderBufferSettings::default()
        });
        let running = tokio::spawn({
            let (buffer, recorder) = (buffer.clone(), Arc::clone(&recorder));
            async move { buffer.run(recorder, never()).await }
        });
        buffer.push(accepted(1));
        sleep(MS).await;
        assert_eq!(recorder.calls(), 1, "the first one does not wait");
        buffer.push(accepted(2));
        sleep(MS).await;
        assert_eq!(recorder.calls(), calls_at_once, "of {batch_len_max}");
        sleep(10 * MS).await;
        assert_eq!(recorder.calls(), 2);
        assert!(buffer.is_empty());
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_store_that_is_down_and_catches_up() {
    let store = store().await;
    let down = vec![failing(StoreErrorKind::Unavailable); 12];
    let recorder = Faulty::new(store.clone(), CallScript::new(down));
    let buffer = RecorderBuffer::new(RecorderBufferSettings::default());
    buffer.push(accepted(1));
    let running = tokio::spawn({
        let buffer = buffer.clone();
        async move { buffer.run(recorder, never()).await }
    });
    let began = Instant::now();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(buffer.len(), 2, "it keeps what is not recorded");
    buffer.push(accepted(2));
    while !buffer.is_empty() || !is_shown(&store, &accepted(2)[1]).await {
        sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_mins(2), "it catches up");
    }
    // Six pauses that double from 0.1 s, and six of the longest.
    assert!(
        began.elapsed() >= Duration::from_secs(36),
        "it does not storm the store"
    );
    assert!(is_shown(&store, &accepted(1)[0]).await);
    assert_eq!(buffer.dropped(), 0);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn its_memory_is_bounded_and_the_overflow_counted() {
    let by_entries = RecorderBuffer::new(RecorderBufferSettings {
        entries_max: 3,
        ..RecorderBufferSettings::default()
    });
    by_entries.push(accepted(1));
    by_entries.push(accepted(2));
    assert_eq!((by_entries.len(), by_entries.dropped()), (3, 1));

    // The deliveries of one event share its payload.
    let payload = accepted(1)[0].event.payload.len();
    let by_bytes = RecorderBuffer::new(RecorderBufferSettings {
        payload_bytes_max: 2 * payload,
        ..RecorderBufferSettings::default()
    });
    for number in 1..=3 {
        by_bytes.push(accepted(number));
    }
    assert_eq!((by_bytes.len(), by_bytes.dropped()), (4, 2));

    let store = store().await;
    let stop = sleep(Duration::from_secs(1));
    by_bytes.run(store.clone(), stop).await;
    by_bytes.push(accepted(3));
    assert_eq!(by_bytes.len(), 2, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_passed_by() {
    let store = store().await;
    let refused = failing(StoreErrorKind::Internal);
    // All together, and then the first event's alone.
    let recorder = Faulty::new(store.clone(), CallScript::new([refused, refused]));
    let buffer = RecorderBuffer::new(RecorderBufferSettings::default());
    buffer.push(accepted(1));
    buffer.push(accepted(2));
    let stop = sleep(Duration::from_secs(1));
    buffer.run(recorder, stop).await;
    assert!(!is_shown(&store, &accepted(1)[0]).await);
    assert!(is_shown(&store, &accepted(2)[0]).await);
    assert_eq!((buffer.len(), buffer.dropped()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_records_what_is_left_once() {
    let store = store().await;
    let buffer = RecorderBuffer::new(RecorderBufferSettings {
        batch_len_max: 1,
        ..RecorderBufferSettings::default()
    });
    buffer.push(accepted(1));
    buffer.run(store.clone(), std::future::ready(())).await;
    assert!(buffer.is_empty() && is_shown(&store, &accepted(1)[1]).await);

    let down = CallScript::always(failing(StoreErrorKind::Unavailable));
    buffer.push(accepted(2));
    let ending = buffer.run(Faulty::new(store, down), std::future::ready(()));
    ending.await;
    assert_eq!(buffer.len(), 2, "nothing is lost in vain");
}

#[tokio::test(start_paused = true)]
async fn cancelled_in_the_middle_it_keeps_the_batch() {
    let store = store().await;
    let silent = CallFault {
        answer: CallAnswer::Silence,
        ..CallFault::NONE
    };
    let recorder = Faulty::new(store.clone(), CallScript::always(silent));
    let buffer = RecorderBuffer::new(RecorderBufferSettings::default());
    buffer.push(accepted(1));
    let _ = tokio::time::timeout(Duration::from_secs(1), buffer.run(recorder, never())).await;
    assert_eq!(buffer.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_publisher_tells_what_was_acknowledged_and_nothing_else() {
    let buffer = RecorderBuffer::new(RecorderBufferSettings::default());
    let faults = [
        Fault::new(true, Answer::Acknowledge),
        Fault::new(false, Answer::Fail(FailureKind::QueueUnavailable)),
        Fault::new(true, Answer::Silence),
        Fault::new(true, Answer::Acknowledge),
    ];
    let publisher = FaultyPublisher::recording(FaultScript::new(faults));
    let publisher = LoggedPublisher::new(publisher, buffer.clone());
    let event = event("ws_shop", "order.paid", 1, Timestamp::from_millis(7));
    let endpoints: Vec<_> = (0..4).map(nth_endpoint_id).collect();
    let mut slots = deliveries(&event, &endpoints);
    let publishing = publisher.publish(&event, &mut slots);
    let in_time = tokio::time::timeout(Duration::from_secs(1), publishing).await;
    assert!(in_time.is_err(), "one is silent until the deadline");
    let told: Vec<_> = slots
        .iter()
        .filter(|slot| slot.outcome() == nahook_core::Outcome::Published)
        .map(Delivery::id)
        .collect();
    assert!(!told.is_empty());
    assert_eq!(buffer.len(), told.len());
    let store = store().await;
    buffer.run(store.clone(), std::future::ready(())).await;
    for slot in &slots {
        let shown = store.delivery(slot.id(), &workspace_id("ws_shop")).await;
        let shown = shown.expect("the log can be asked").is_some();
        assert_eq!(shown, told.contains(&slot.id()));
    }
}
