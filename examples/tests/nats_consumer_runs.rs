//! The Python consumer takes off the stream what our publisher has put on it, byte for byte.
#![cfg(test)]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nahook_core::{Delivery, DeliveryPublisher as _, Event, Outcome, Timestamp};
use nahook_nats::NatsSettings;
use nahook_testkit::declare::{deliveries, event, nth_endpoint_id, payload};
use nahook_testserver::{NatsServer, python};
use serde_json::Value;

/// Not what a JSON library would write.
const PAYLOADS: [&str; 3] = [
    "{ \"b\" : 1.0e+02,\n\t\"a\":12345678901234567890123 ,\"a\":\"\\u0041\\/\" }",
    "{}",
    "{\"text\":\"\u{1f980} \u{fc}\"}",
];
const WIDTH: usize = 1_200;
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_delivery_is_read_once_with_its_payload_as_it_was() {
    let server = NatsServer::start();
    let settings = NatsSettings::default().with_prefix("shop.hooks");
    let nats = nahook_nats::connect(&server.url(), settings.clone())
        .await
        .unwrap();
    // A record without events comes first.
    nats.check_publishable().await.unwrap();
    assert_eq!(server.messages("SHOP-HOOKS_DELIVERIES"), Some(1));
    let mut expected = BTreeSet::new();
    for (number, text) in (1..).zip(PAYLOADS) {
        let mut event = happened(number);
        event.payload = payload(text);
        let endpoints: Vec<_> = (0..WIDTH).map(nth_endpoint_id).collect();
        let mut slots = deliveries(&event, &endpoints);
        nats.publisher.publish(&event, &mut slots).await;
        for slot in &slots {
            assert_eq!(slot.outcome(), Outcome::Published);
            expected.insert(line(slot, text));
        }
    }
    // Small ones that come at once share records.
    let mut publishing = tokio::task::JoinSet::new();
    for number in 1_000..1_300 {
        let (publisher, event) = (nats.publisher.clone(), happened(number));
        publishing.spawn(async move {
            let mut slots = deliveries(&event, &[nth_endpoint_id(0)]);
            publisher.publish(&event, &mut slots).await;
            assert_eq!(slots[0].outcome(), Outcome::Published);
            let text = std::str::from_utf8(event.payload.as_bytes()).unwrap();
            line(&slots[0], text)
        });
    }
    expected.extend(publishing.join_all().await);

    let printed = tokio::task::block_in_place(|| consume(&server, expected.len()));
    let all: Vec<_> = printed.lines().map(told).collect();
    assert_eq!(all.len(), expected.len(), "none twice");
    assert!(all.into_iter().collect::<BTreeSet<_>>() == expected);
    // It has acknowledged what it read: nothing is left for anybody.
    assert_eq!(server.messages("SHOP-HOOKS_DELIVERIES"), Some(0));
}

fn happened(number: u64) -> Event {
    event("ws_shop", "order.paid", number, Timestamp::from_millis(7))
}

/// A delivery as the consumer should tell of it.
fn line(slot: &Delivery, payload: &str) -> (String, String, String) {
    (
        slot.id().to_string(),
        slot.endpoint().to_string(),
        payload.to_owned(),
    )
}

fn told(line: &str) -> (String, String, String) {
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["event_type"], "order.paid");
    assert_eq!(line["attempts"], 0);
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    (text("delivery"), text("endpoint"), text("payload"))
}

fn consume(server: &NatsServer, count: usize) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/nats_consumer.py");
    let mut child = Command::new(python())
        .args([script, &server.url(), "--prefix", "shop.hooks"])
        .args(["--count", &count.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
    let give_up = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > give_up {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problems}");
    reading.join().unwrap()
}
