//! Promises of every [`DeliveryPublisher`].

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Clock, Delivery, DeliveryPublisher, Event, FailureKind, Outcome};

use crate::declare::{
    Workspace, deliveries, endpoint_id, event, metadata, nth_endpoint_id, payload, single_send,
};
use crate::{HeldDelivery, ManualClock, PublisherHarness};

/// A back end in good health takes every delivery, and no slot is left unresolved.
pub async fn every_delivery_is_resolved<H: PublisherHarness>() {
    let harness = started::<H>(100).await;
    for (number, width) in [1, 2, 7, 100].into_iter().enumerate() {
        let (_, slots) = publish(&harness, number as u64, width).await;
        assert_eq!(slots.len(), width, "publishing keeps the slots");
        for slot in &slots {
            assert_eq!(
                slot.outcome(),
                Outcome::Published,
                "a healthy back end takes the delivery to {}, one of {width}",
                slot.endpoint()
            );
        }
    }
}

/// A slot marked published is in the queue, once, for its endpoint; nothing else is.
pub async fn published_means_queued<H: PublisherHarness>() {
    let harness = started::<H>(50).await;
    assert_eq!(
        harness.held().await,
        [],
        "the queue of a new harness is empty"
    );
    let mut expected = Vec::new();
    for (number, width) in [0, 10, 20, 30, 40].into_iter().enumerate() {
        let (event, slots) = publish(&harness, number as u64, width).await;
        let published = slots.iter().filter(|slot| is_published(slot));
        expected.extend(published.map(|slot| HeldDelivery::of(&event, slot)));
    }
    expect_held(&harness, expected).await;
}

/// A slot marked with a definite failure is not in the queue: here a delivery to an endpoint that does not
/// exist, and a payload that the queue may find too large.
pub async fn a_definite_failure_is_not_queued<H: PublisherHarness>() {
    let harness = started::<H>(3).await;
    let event = numbered(1);
    let mut gone = deliveries(&event, &[endpoint_id("ep_gone"), endpoint_id("ep_nowhere")]);
    harness.publisher().publish(&event, &mut gone).await;
    let mut large = numbered(2);
    large.payload = payload(&format!("{{\"text\":\"{}\"}}", "x".repeat(4 << 20)));
    let mut slots = deliveries(&large, &endpoints(3));
    harness.publisher().publish(&large, &mut slots).await;
    slots.extend(gone);
    expect_truthful(&harness, &slots).await;
    for slot in slots {
        assert_ne!(
            slot.outcome(),
            Outcome::Failed(FailureKind::Unconfirmed),
            "a healthy back end knows what became of each delivery"
        );
    }
}

/// The outcome of one delivery does not affect its siblings: they are queued beside one whose endpoint is gone,
/// wherever it stands.
pub async fn siblings_are_independent<H: PublisherHarness>() {
    let harness = started::<H>(9).await;
    let mut all = Vec::new();
    for (number, at) in [0, 4, 9].into_iter().enumerate() {
        let event = numbered(number as u64);
        let mut ids = endpoints(9);
        ids.insert(at, endpoint_id("ep_gone"));
        let mut slots = deliveries(&event, &ids);
        harness.publisher().publish(&event, &mut slots).await;
        for slot in slots
            .iter()
            .filter(|slot| slot.endpoint() != endpoint_id("ep_gone"))
        {
            assert_eq!(
                slot.outcome(),
                Outcome::Published,
                "the delivery to {} has a sibling at {at} whose endpoint is gone",
                slot.endpoint()
            );
        }
        all.extend(slots);
    }
    expect_truthful(&harness, &all).await;
}

/// The payload arrives byte for byte and the labels unchanged, at every endpoint: odd spacing, escapes, large numbers,
/// repeated keys and empty values included.
pub async fn payload_and_metadata_arrive_unchanged<H: PublisherHarness>() {
    let harness = started::<H>(2).await;
    let payloads = [
        "{}".to_owned(),
        "{ \"b\" : 1.0e+02,\n\t\"a\":12345678901234567890123 ,\"a\":\"\\u0041\\/\" }".to_owned(),
        "{\"ключ\":\"значение\",\"emoji\":\"\u{1f980}\",\"nul\":\"\\u0000\",\"quote\":\"'\"}"
            .to_owned(),
        "{\"lone\":\"\\ud800\",\"-0\":-0,\"tiny\":1e-400}".to_owned(),
        format!("{{\"deep\":{}{}}}", "[".repeat(500), "]".repeat(500)),
        format!("{{\"long\":\"{}\"}}", "x".repeat(256 * 1024)),
    ];
    let labels = [
        metadata(&[]),
        metadata(&[("", "")]),
        metadata(&[
            ("a", "1"),
            ("b", ""),
            ("c", " spaced "),
            ("ключ", "\u{1f980}"),
            ("quote", "\"'\\\n\0"),
        ]),
    ];
    let mut expected = Vec::new();
    for (number, json) in payloads.iter().enumerate() {
        let mut event = numbered(number as u64);
        event.payload = payload(json);
        event.metadata = labels[number % labels.len()].clone();
        let mut slots = deliveries(&event, &endpoints(2));
        harness.publisher().publish(&event, &mut slots).await;
        expected.extend(slots.iter().map(|slot| HeldDelivery::of(&event, slot)));
    }
    expect_held(&harness, expected).await;
}

/// A fan-out to 10,000 endpoints is queued whole.
pub async fn a_wide_batch_is_published<H: PublisherHarness>() {
    const WIDTH: usize = 10_000;
    let harness = started::<H>(WIDTH).await;
    let (event, slots) = publish(&harness, 1, WIDTH).await;
    let published = slots.iter().filter(|slot| is_published(slot)).count();
    assert_eq!(published, WIDTH, "all of a wide fan-out is published");
    let expected = slots
        .iter()
        .map(|slot| HeldDelivery::of(&event, slot))
        .collect();
    expect_held(&harness, expected).await;
}

/// Publishing nothing ends, and queues nothing.
pub async fn an_empty_batch_is_fine<H: PublisherHarness>() {
    let harness = started::<H>(1).await;
    harness.publisher().publish(&numbered(1), &mut []).await;
    assert_eq!(
        harness.held().await,
        [],
        "nothing was published, so nothing is queued"
    );
    let (_, slots) = publish(&harness, 2, 1).await;
    assert!(
        is_published(&slots[0]),
        "publishing goes on after an empty batch"
    );
}

/// A future that is dropped, at whatever moment, leaves slots that are true: what was resolved as published is in the
/// queue, and what was resolved as definitely failed is not, then or later.
pub async fn a_dropped_future_keeps_what_it_resolved<H: PublisherHarness>() {
    let harness = started::<H>(50).await;
    let mut slots = Vec::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        let event = numbered(number);
        let slots = deliveries(&event, &endpoints(50));
        (event, slots)
    };
    for polls in 0..12 {
        let (event, mut dropped) = next();
        poll_so_often(polls, harness.publisher().publish(&event, &mut dropped)).await;
        slots.extend(dropped);
    }
    for micros in [1, 20, 50, 100, 200, 400, 800, 2_000, 5_000] {
        let (event, mut dropped) = next();
        let publisher = harness.publisher();
        let publishing = publisher.publish(&event, &mut dropped);
        let _ = tokio::time::timeout(Duration::from_micros(micros), publishing).await;
        slots.extend(dropped);
    }
    // A whole publication behind the dropped ones: what they had left in a pipeline has come out by then.
    let (event, mut whole) = next();
    harness.publisher().publish(&event, &mut whole).await;
    assert!(
        whole.iter().all(is_published),
        "dropped futures leave a publisher that works"
    );
    slots.extend(whole);
    expect_truthful(&harness, &slots).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    expect_truthful(&harness, &slots).await;
}

/// While the back end is out of reach nothing is marked published, the future ends or goes on waiting, and what is
/// marked as definitely failed never turns up.
pub async fn unreachable_is_not_published<H: PublisherHarness>() {
    let harness = started::<H>(20).await;
    if !harness.make_unreachable().await {
        return;
    }
    let event = numbered(1);
    let mut slots = deliveries(&event, &endpoints(20));
    let publisher = harness.publisher();
    let publishing = publisher.publish(&event, &mut slots);
    let _ = tokio::time::timeout(Duration::from_secs(10), publishing).await;
    for slot in &slots {
        assert!(
            !is_published(slot),
            "the back end is out of reach, so nothing is published"
        );
    }
    expect_truthful(&harness, &slots).await;
}

/// The message of a failure names no host, no address, no path, no secret and nothing of the payload.
pub async fn messages_name_no_host_or_secret<H: PublisherHarness>() {
    let harness = started::<H>(3).await;
    let mut event = numbered(1);
    event.payload = payload("{\"card\":\"4111-1111\"}");
    let mut slots = deliveries(&event, &[endpoint_id("ep_gone"), nth_endpoint_id(0)]);
    harness.publisher().publish(&event, &mut slots).await;
    harness.make_unreachable().await;
    let event = numbered(2);
    let mut unreachable = deliveries(&event, &endpoints(3));
    let publisher = harness.publisher();
    let publishing = publisher.publish(&event, &mut unreachable);
    let _ = tokio::time::timeout(Duration::from_secs(10), publishing).await;
    for slot in slots.iter().chain(&unreachable) {
        if let Outcome::Failed(kind) = slot.outcome() {
            let message = kind.message();
            for telltale in ["://", "@", "/", "\\", "127.", "localhost", "4111", "hooks"] {
                assert!(
                    !message.contains(telltale),
                    "{message:?} contains {telltale:?}"
                );
            }
        }
    }
}

/// Publications that overlap in time keep to their own events and endpoints.
pub async fn concurrent_publishes_do_not_mix<H: PublisherHarness>() {
    const WIDTH: usize = 20;
    let harness = started::<H>(4 * WIDTH).await;
    let publishing: Vec<_> = (0..32)
        .map(|number| {
            let publisher = harness.publisher();
            tokio::spawn(async move {
                let event = numbered(number);
                // Neighbours overlap in half of their endpoints.
                let first = (usize::try_from(number).unwrap_or(0) * WIDTH / 2) % (3 * WIDTH);
                let ids: Vec<_> = (first..first + WIDTH).map(nth_endpoint_id).collect();
                let mut slots = deliveries(&event, &ids);
                publisher.publish(&event, &mut slots).await;
                (event, slots)
            })
        })
        .collect();
    let mut expected = Vec::new();
    for task in publishing {
        let (event, slots) = task.await.expect("publishing does not panic");
        for slot in &slots {
            assert!(
                is_published(slot),
                "each of the publications is taken whole"
            );
            expected.push(HeldDelivery::of(&event, slot));
        }
    }
    expect_held(&harness, expected).await;
}

/// Every published delivery is still there after an orderly restart, unless the back end says that it survives none.
pub async fn what_was_published_survives_a_restart<H: PublisherHarness>() {
    let harness = started::<H>(30).await;
    let mut expected = Vec::new();
    for number in 1..=3 {
        let (event, slots) = publish(&harness, number, 30).await;
        expected.extend(slots.iter().map(|slot| HeldDelivery::of(&event, slot)));
    }
    let Some(harness) = harness.restart().await else {
        return;
    };
    expect_held(&harness, expected.clone()).await;
    let (event, slots) = publish(&harness, 4, 30).await;
    assert!(
        slots.iter().all(is_published),
        "publishing goes on after a restart"
    );
    expected.extend(slots.iter().map(|slot| HeldDelivery::of(&event, slot)));
    expect_held(&harness, expected).await;
}

/// A harness whose endpoints exist.
async fn started<H: PublisherHarness>(count: usize) -> H {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop")
        .event_type("order.paid")
        .endpoints(count);
    harness.apply(&shop.manifest()).await;
    harness
}

fn numbered(number: u64) -> Event {
    event(
        "ws_shop",
        "order.paid",
        number,
        ManualClock::default().now(),
    )
}

fn endpoints(count: usize) -> Vec<EndpointId> {
    (0..count).map(nth_endpoint_id).collect()
}

async fn publish<H: PublisherHarness>(
    harness: &H,
    number: u64,
    width: usize,
) -> (Event, Vec<Delivery>) {
    let event = numbered(number);
    let mut slots = deliveries(&event, &endpoints(width));
    harness.publisher().publish(&event, &mut slots).await;
    (event, slots)
}

fn is_published(slot: &Delivery) -> bool {
    slot.outcome() == Outcome::Published
}

/// Polls a future so many times, as long as it is pending, and drops it.
async fn poll_so_often(polls: usize, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ended =
            std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if ended.is_ready() {
            return;
        }
        // Gives the adapter's own tasks and threads a turn.
        tokio::task::yield_now().await;
    }
}

async fn expect_held<H: PublisherHarness>(harness: &H, expected: Vec<HeldDelivery>) {
    let held = harness.held().await;
    let mut found: HashMap<DeliveryId, HeldDelivery> = HashMap::new();
    for delivery in held {
        let twice = found.insert(delivery.delivery, delivery);
        assert_eq!(twice, None, "the queue holds a delivery twice");
    }
    for wanted in expected {
        let id = wanted.delivery;
        assert_eq!(
            found.remove(&id),
            Some(wanted),
            "what was published as {id} is in the queue, as it was"
        );
    }
    assert!(
        found.is_empty(),
        "the queue holds what was not published: {:?}",
        found.keys()
    );
}

/// Of two events with one idempotency key one is queued and the other stands for it, or neither is queued: a publisher that keeps
/// no keys refuses both.
pub async fn a_keyed_event_is_queued_once_or_refused<H: PublisherHarness>() {
    let harness = started::<H>(1).await;
    let now = ManualClock::default().now();
    let send = |number| single_send("ws_shop", nth_endpoint_id(0), Some("k"), number, now);
    let (mut first, mut again) = (send(1), send(2));
    first.publish(&harness.publisher()).await;
    again.publish(&harness.publisher()).await;
    let held = harness.held().await;
    match (first.outcome(), again.outcome()) {
        (Outcome::Published, Outcome::Replayed(original)) => {
            assert_eq!(original, first.id(), "the key stands for the first");
            assert_eq!(held, [first.held()], "it is queued once");
        }
        (Outcome::Failed(one), Outcome::Failed(other)) => {
            assert!(
                !one.may_be_queued() && !other.may_be_queued(),
                "it is definite"
            );
            assert_eq!(held, [], "what was refused is not queued");
        }
        other => panic!("one key came to {other:?}"),
    }
}

/// Expects that no slot claims what the queue contradicts.
async fn expect_truthful<H: PublisherHarness>(harness: &H, slots: &[Delivery]) {
    let held: HashSet<_> = harness
        .held()
        .await
        .into_iter()
        .map(|held| held.delivery)
        .collect();
    for slot in slots {
        match slot.outcome() {
            Outcome::Published => assert!(
                held.contains(&slot.id()),
                "{} to {} is marked published, but the queue does not hold it",
                slot.id(),
                slot.endpoint()
            ),
            Outcome::Replayed(_) => panic!("{} has no idempotency key", slot.id()),
            Outcome::Failed(kind) => assert!(
                kind.may_be_queued() || !held.contains(&slot.id()),
                "{} to {} is marked {kind:?}, which is definite, but the queue holds it",
                slot.id(),
                slot.endpoint()
            ),
        }
    }
}
