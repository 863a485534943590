//! Reads streams as any other program would: by the documented format alone.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt as _;
use nahook_core::id::EndpointId;
use nahook_core::{Metadata, Payload};
use nahook_testkit::HeldDelivery;
use serde_json::Value;

/// A record as it lies in a stream.
pub(crate) struct Raw {
    pub(crate) headers: async_nats::HeaderMap,
    pub(crate) body: bytes::Bytes,
}

/// Waits until no retry waits for its schedule.
pub(crate) async fn wait_until_unscheduled(url: &str) {
    let stream = stream(url, "NAHOOK_RETRIES").await;
    for _ in 0..1_000 {
        let waiting = stream
            .info_with_subjects("nahook.retries.scheduled.*")
            .await;
        if waiting.unwrap().next().await.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("retries still wait for their schedules");
}

/// Everything a stream holds, read without consuming it.
pub(crate) async fn records(url: &str, name: &str) -> Vec<Raw> {
    let stream = stream(url, name).await;
    let state = stream.cached_info().state.clone();
    let mut records = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        // Those that were acknowledged are gone.
        if let Ok(message) = stream.get_raw_message(sequence).await {
            records.push(Raw {
                headers: message.headers,
                body: message.payload,
            });
        }
    }
    records
}

/// Sequence of the latest message that a stream has taken.
pub(crate) async fn last_sequence(url: &str, name: &str) -> u64 {
    stream(url, name).await.cached_info().state.last_sequence
}

/// Sequence of the latest message that a stream has taken, and the instant at which it did, in nanoseconds since 1970.
pub(crate) async fn last(url: &str, name: &str) -> (u64, i128) {
    let sequence = last_sequence(url, name).await;
    let message = stream(url, name).await.get_raw_message(sequence).await;
    (sequence, message.unwrap().time.unix_timestamp_nanos())
}

/// A client of its own.
pub(crate) async fn client(url: &str) -> async_nats::Client {
    let mut options = async_nats::ConnectOptions::new();
    // A single server may ask who we are.
    if let Some((credentials, _)) = url.trim_start_matches("nats://").split_once('@') {
        let (user, password) = credentials.split_once(':').unwrap();
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    let servers: Vec<_> = url.split(',').collect();
    options.connect(servers).await.unwrap()
}

/// Publishes a message to a stream, as any program may.
pub(crate) async fn send(url: &str, subject: &'static str, body: impl Into<bytes::Bytes>) {
    let jetstream = jetstream::new(client(url).await);
    let sent = jetstream.publish(subject, body.into()).await.unwrap();
    sent.await.unwrap();
}

async fn stream(url: &str, name: &str) -> jetstream::stream::Stream {
    let jetstream = jetstream::new(client(url).await);
    // A cluster that has just started may not answer at once.
    let mut found = jetstream.get_stream(name).await;
    for _ in 0..5 {
        if found.is_ok() {
            break;
        }
        found = jetstream.get_stream(name).await;
    }
    found.unwrap()
}

/// The deliveries of a stream's records.
pub(crate) async fn held(url: &str, stream: &str) -> Vec<HeldDelivery> {
    let records = records(url, stream).await;
    records.iter().flat_map(deliveries).collect()
}

fn deliveries(record: &Raw) -> Vec<HeldDelivery> {
    let header = |name: &str| record.headers.get(name).unwrap().to_string();
    assert_eq!(header("Nahook-Format"), "1");
    // Parsers bound how deep they go: what is read here is the record without its payloads.
    let (mut shell, mut payloads) = (record.body.to_vec(), Vec::new());
    // Of a record without events it is empty.
    let ranges = header("Nahook-Payloads");
    for range in ranges.split(',').rev().filter(|range| !range.is_empty()) {
        let (at, len) = range.split_once('+').unwrap();
        let (at, len): (usize, usize) = (at.parse().unwrap(), len.parse().unwrap());
        payloads.push(record.body.slice(at..at + len));
        shell.splice(at..at + len, *b"null");
    }
    payloads.reverse();
    let body: Value = serde_json::from_slice(&shell).unwrap();
    let events = body["events"].as_array().unwrap();
    assert_eq!(events.len(), payloads.len());
    let mut held = Vec::new();
    for (event, payload) in events.iter().zip(payloads) {
        let metadata: BTreeMap<String, String> =
            serde_json::from_value(event["metadata"].clone()).unwrap();
        for delivery in event["deliveries"].as_array().unwrap() {
            held.push(HeldDelivery {
                delivery: delivery[0].as_str().unwrap().parse().unwrap(),
                endpoint: EndpointId::new(delivery[1].as_str().unwrap()).unwrap(),
                payload: Payload::new(payload.clone()).unwrap(),
                metadata: Metadata::new(metadata.clone()).unwrap(),
            });
        }
    }
    let count = header("Nahook-Deliveries");
    assert_eq!(count, held.len().to_string());
    held
}
