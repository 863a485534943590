use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nahook_control::{ApplyMode, Catalog as _};
use nahook_core::id::DeliveryId;
use nahook_core::{Event, StoreErrorKind, Timestamp};
use nahook_memory::MemoryStore;
use nahook_queue::{Attempt, DeliveryLog as _, DeliveryState, DeliveryStatus, LogEntry};
use nahook_testkit::declare::{self, Workspace, nth_endpoint_id, workspace_id};
use nahook_testkit::{CallAnswer, CallFault, CallScript, Faulty};
use nahook_testserver::{NatsOptions, NatsServer};
use tokio::time::sleep;

use super::text::{part, read};
use super::*;
use crate::acks::Acks;
use crate::config::NatsSettings;
use crate::record::body;

fn entries(number: u64) -> Vec<LogEntry> {
    let at = Timestamp::from_nanos(1_712_345_678_901_234_567);
    let event: Arc<Event> = Arc::new(declare::event("ws_shop", "order.paid", number, at));
    let entry = |ordinal: u32, state, attempt| LogEntry {
        event: Arc::clone(&event),
        delivery: DeliveryId::nth(event.id, ordinal),
        endpoint: nth_endpoint_id(ordinal as usize),
        attempts: ordinal,
        attempt,
        state,
        at,
    };
    let attempt = Attempt {
        started_at: at,
        duration: Duration::from_millis(7),
        status_code: Some(500),
        error: Some("the receiver answered \"500\"\n".to_owned()),
        response_body: Some("<p>no\u{1}</p>".to_owned()),
    };
    let silent = Attempt {
        status_code: None,
        error: None,
        response_body: None,
        ..attempt.clone()
    };
    vec![
        entry(0, DeliveryState::Pending, None),
        entry(1, DeliveryState::Retry(at), Some(attempt.clone())),
        entry(2, DeliveryState::Delivered, Some(silent)),
        entry(3, DeliveryState::Failed, None),
        entry(4, DeliveryState::DeadLetter, Some(attempt)),
    ]
}

#[test]
fn what_is_told_is_read() {
    let told = [entries(1), entries(2)];
    let parts: Vec<_> = told
        .iter()
        .map(|entries| part(&entries.iter().collect::<Vec<_>>()).expect("a part"))
        .collect();
    let (body, _) = body(&parts);
    assert_eq!(read(&Bytes::from(body)).expect("a message"), told.concat());
}

/// The format is what other programs read: members may be added, every other change has another number.
#[test]
fn the_format_stays_as_it_is() {
    let entries = entries(1);
    let part = part(&[&entries[1], &entries[2]]).expect("a part");
    let (body, _) = body(&[part]);
    let text = String::from_utf8(body).expect("text");
    let (_, log) = text.split_once("\"log\":").expect("the log");
    assert_eq!(
        log,
        concat!(
            r#"[{"at":1712345678901234567,"status":"scheduled_retry","retry_at":1712345678901234567,"#,
            r#""attempt":{"started_at":1712345678901234567,"duration":7000000,"status_code":500,"#,
            r#""error":"the receiver answered \"500\"\n","response_body":"<p>no\u0001</p>"}},"#,
            r#"{"at":1712345678901234567,"status":"delivered","#,
            r#""attempt":{"started_at":1712345678901234567,"duration":7000000}}]}]}"#
        )
    );
}

async fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let manifest = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoints(5)
        .manifest();
    store
        .apply(&manifest, ApplyMode::Commit)
        .await
        .expect("it can be declared");
    store
}

async fn open(server: &NatsServer) -> (NatsLog, LogWriter) {
    let settings = Arc::new(NatsSettings {
        log: true,
        ..NatsSettings::default()
    });
    let names = Names::new("nahook").expect("a prefix");
    let connection = Connection::open(&server.url(), &settings)
        .await
        .expect("the server runs");
    crate::layout::ensure(&connection.context, &names, &settings)
        .await
        .expect("the streams can be made");
    let acks = Acks::start(&connection, &settings.supervisor)
        .await
        .expect("it can listen");
    let log = NatsLog::new(&connection, &names, &settings);
    (log, LogWriter::new(&acks, &names, &settings))
}

async fn is_recorded(store: &MemoryStore, entries: &[LogEntry]) -> bool {
    let workspace = workspace_id("ws_shop");
    for entry in entries {
        let shown = store.delivery(entry.delivery, &workspace).await;
        let shown = shown.expect("the log can be asked");
        if shown.map(|record| record.status) != Some(entry.state.status()) {
            return false;
        }
    }
    true
}

async fn wait_until_recorded(store: &MemoryStore, entries: &[LogEntry]) {
    for _ in 0..600 {
        if is_recorded(store, entries).await {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not recorded");
}

async fn wait_until_lag(log: &NatsLog, lag: u64) {
    for _ in 0..600 {
        if log.lag().await == Some(lag) {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the lag is {:?}, and not {lag}", log.lag().await);
}

/// Entries of the time without a recorder, with a failing store and without a server are recorded in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_catches_up() {
    let server = NatsServer::start();
    let (log, writer) = open(&server).await;
    let told: Vec<_> = (1..=20).flat_map(entries).collect();
    writer.send(&told).await.wait_until_stored().await;
    // The server counts for the consumer after it has acknowledged.
    wait_until_lag(&log, 1).await;
    assert_eq!(server.messages("NAHOOK_LOG"), Some(1), "all of it in one");

    let store = store().await;
    let down = CallFault {
        answer: CallAnswer::FailBefore(StoreErrorKind::Unavailable),
        ..CallFault::NONE
    };
    let recorder = Faulty::new(store.clone(), CallScript::new([down, down, down]));
    let reading = {
        let log = log.clone();
        tokio::spawn(async move { log.run(recorder, std::future::pending()).await })
    };
    wait_until_recorded(&store, &told).await;

    // Told while there is no server: told again until there is.
    server.kill();
    let more: Vec<_> = (21..=22).flat_map(entries).collect();
    let telling = tokio::spawn(writer.send(&more).await.wait_until_stored());
    sleep(Duration::from_millis(500)).await;
    tokio::task::block_in_place(|| server.start_again());
    telling.await.expect("it goes on");
    wait_until_recorded(&store, &more).await;
    reading.abort();
}

/// Entries that the store refuses do not keep others from being recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_holds_nothing_up() {
    let server = NatsServer::start();
    let (log, writer) = open(&server).await;
    writer.send(&entries(1)).await.wait_until_stored().await;
    writer.send(&entries(2)).await.wait_until_stored().await;
    let store = store().await;
    let refused = CallFault {
        answer: CallAnswer::FailBefore(StoreErrorKind::Internal),
        ..CallFault::NONE
    };
    // Together, and then the first alone.
    let recorder = Faulty::new(store.clone(), CallScript::new([refused, refused]));
    let reading = {
        let log = log.clone();
        tokio::spawn(async move { log.run(recorder, std::future::pending()).await })
    };
    wait_until_recorded(&store, &entries(2)).await;
    let first = &entries(1)[2];
    let shown = store
        .delivery(first.delivery, &workspace_id("ws_shop"))
        .await;
    assert_eq!(shown.expect("the log can be asked"), None);
    assert_eq!(DeliveryStatus::Delivered, entries(2)[2].state.status());
    reading.abort();
}

/// Entries of an event whose payload fills a message all but entirely go in several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_payload_leaves_room_for_few_entries() {
    let server = NatsOptions::new().max_payload(40_000).start();
    let (log, writer) = open(&server).await;
    let mut told = Vec::new();
    let large: Vec<_> = entries(1).into_iter().cycle().take(1_000).collect();
    let mut event = Event::clone(&large[0].event);
    event.payload = declare::payload(&format!("{{\"filler\":\"{}\"}}", "x".repeat(20_000)));
    let event = Arc::new(event);
    told.extend(large.into_iter().map(|entry| LogEntry {
        event: Arc::clone(&event),
        ..entry
    }));
    writer.send(&told).await.wait_until_stored().await;
    assert!(log.lag().await.is_some_and(|lag| lag > 10), "in several");
    let store = store().await;
    let reading = {
        let (log, store) = (log.clone(), store.clone());
        tokio::spawn(async move { log.run(store, std::future::pending()).await })
    };
    wait_until_recorded(&store, &told[..5]).await;
    reading.abort();
}

/// A message that is none of the log's is passed by, and what comes after it is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_message_holds_nothing_up() {
    let server = NatsServer::start();
    let (log, writer) = open(&server).await;
    let jetstream = log.connection.context.clone();
    let sent = jetstream.publish("nahook.log", "something else".into());
    sent.await.expect("it is sent").await.expect("it is stored");
    writer.send(&entries(1)).await.wait_until_stored().await;
    let store = store().await;
    let reading = {
        let (log, store) = (log.clone(), store.clone());
        tokio::spawn(async move { log.run(store, std::future::pending()).await })
    };
    wait_until_recorded(&store, &entries(1)).await;
    wait_until_lag(&log, 0).await;
    reading.abort();
}

/// Whatever the text of an error is, what became of the delivery is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_that_fills_a_message_is_left_out() {
    let server = NatsOptions::new().max_payload(16_000).start();
    let (log, writer) = open(&server).await;
    let mut told = entries(1);
    for entry in &mut told {
        if let Some(attempt) = &mut entry.attempt {
            attempt.error = Some("x".repeat(20_000));
        }
    }
    writer.send(&told).await.wait_until_stored().await;
    let store = store().await;
    let reading = {
        let (log, store) = (log.clone(), store.clone());
        tokio::spawn(async move { log.run(store, std::future::pending()).await })
    };
    wait_until_recorded(&store, &told).await;
    reading.abort();
}

/// Entries that a recorder has in hand are not recorded yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_counts_what_is_in_work() {
    let server = NatsServer::start();
    let (log, writer) = open(&server).await;
    let silent = CallFault {
        answer: CallAnswer::Silence,
        ..CallFault::NONE
    };
    let recorder = Faulty::new(store().await, CallScript::new([silent]));
    let reading = {
        let log = log.clone();
        tokio::spawn(async move { log.run(recorder, std::future::pending()).await })
    };
    writer.send(&entries(1)).await.wait_until_stored().await;
    let mut recorders = reader::consumer(&log.connection, &log.names).await;
    let recorders = recorders.as_mut().expect("the consumer");
    while recorders
        .info()
        .await
        .expect("the server runs")
        .num_ack_pending
        == 0
    {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(log.lag().await, Some(1));
    reading.abort();
}
