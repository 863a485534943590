//! What every [`DirectPublisher`] promises.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nahook_core::{
    Clock, DeliveryId, DirectDelivery, DirectOutcome, DirectPublisher, EndpointId, FailureKind,
    IdempotencyKey, Metadata,
};

use crate::declare::{Workspace, direct, endpoint_id, nth_endpoint_id, payload, workspace_id};
use crate::{DirectHarness, HeldDelivery, ManualClock};

/// A back end in good health takes every payload; what is marked published is in the queue, once, for its endpoint,
/// and nothing else is.
pub async fn every_slot_is_resolved<H: DirectHarness>() {
    let harness = started::<H>(5).await;
    let mut expected = Vec::new();
    for (call, width) in [1, 2, 7, 20].into_iter().enumerate() {
        let mut slots: Vec<_> = (0..width)
            .map(|at| {
                let key = (at % 2 == 0).then(|| format!("{call}/{at}"));
                slot(call * 100 + at, at % 5, key.as_deref())
            })
            .collect();
        harness.direct().publish_direct(&mut slots).await;
        for slot in &slots {
            expect_published(slot, "a healthy back end takes it");
        }
        expected.extend(slots);
    }
    expect_held(&harness, &expected).await;
}

/// The payload arrives byte for byte: odd spacing, escapes, large numbers, repeated keys and empty values included.
pub async fn a_direct_payload_arrives_unchanged<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let payloads = [
        "{}".to_owned(),
        "{ \"b\" : 1.0e+02,\n\t\"a\":12345678901234567890123 ,\"a\":\"\\u0041\\/\" }".to_owned(),
        "{\"ключ\":\"значение\",\"emoji\":\"\u{1f980}\",\"nul\":\"\\u0000\",\"quote\":\"'\"}"
            .to_owned(),
        "{\"lone\":\"\\ud800\",\"-0\":-0,\"tiny\":1e-400}".to_owned(),
        format!("{{\"deep\":{}{}}}", "[".repeat(500), "]".repeat(500)),
        format!("{{\"long\":\"{}\"}}", "x".repeat(256 * 1024)),
    ];
    let mut slots: Vec<_> = payloads
        .iter()
        .enumerate()
        .map(|(number, json)| {
            let mut event = slot(number, 0, None).event().clone();
            event.payload = payload(json);
            DirectDelivery::new(event, nth_endpoint_id(0))
        })
        .collect();
    harness.direct().publish_direct(&mut slots).await;
    expect_held(&harness, &slots).await;
}

/// A thousand slots of one call are queued whole, those with keys too.
pub async fn many_are_sent_at_once<H: DirectHarness>() {
    let harness = started::<H>(10).await;
    let mut slots: Vec<_> = (0..1_000)
        .map(|number| {
            let key = (number % 3 == 0).then(|| number.to_string());
            slot(number, number % 10, key.as_deref())
        })
        .collect();
    harness.direct().publish_direct(&mut slots).await;
    let published = slots.iter().filter(|slot| is_published(slot)).count();
    assert_eq!(published, slots.len(), "all of a large call are published");
    expect_held(&harness, &slots).await;
}

/// Sending nothing ends, and queues nothing.
pub async fn sending_nothing_is_fine<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    harness.direct().publish_direct(&mut []).await;
    assert_eq!(harness.held().await, [], "nothing was sent");
    let mut slots = [slot(1, 0, Some("k"))];
    harness.direct().publish_direct(&mut slots).await;
    expect_published(&slots[0], "sending goes on after an empty call");
}

/// The same key for the same endpoint is answered with the first delivery, whatever the payload, and queues nothing; so
/// a hundred times over.
pub async fn a_repeated_key_is_answered_with_the_first<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let first = send(&harness, slot(1, 0, Some("order-7"))).await;
    expect_published(&first, "the first with its key");
    for number in 2..100 {
        let again = send(&harness, slot(number, 0, Some("order-7"))).await;
        expect_replay_of(&again, first.id(), "the same key");
    }
    expect_held(&harness, &[first]).await;
}

/// So do slots of one call: the first of them with a key is queued.
pub async fn repeats_in_one_call_are_answered_with_the_first<H: DirectHarness>() {
    let harness = started::<H>(2).await;
    let mut slots = [
        slot(1, 0, Some("k")),
        slot(2, 1, Some("k")),
        slot(3, 0, None),
        slot(4, 0, Some("k")),
        slot(5, 1, Some("k")),
        slot(6, 0, None),
        slot(7, 0, Some("k")),
    ];
    harness.direct().publish_direct(&mut slots).await;
    let (first, second) = (slots[0].id(), slots[1].id());
    for at in [0, 1, 2, 5] {
        expect_published(&slots[at], "the first with its key, or without one");
    }
    for (at, original) in [(3, first), (4, second), (6, first)] {
        expect_replay_of(&slots[at], original, "the same key in the same call");
    }
    expect_held(&harness, &slots).await;
}

/// A key says nothing about another endpoint, nor about one of another workspace; without a key nothing is a repeat.
pub async fn a_key_belongs_to_its_endpoint<H: DirectHarness>() {
    let harness = started::<H>(2).await;
    let theirs = Workspace::new("ws_other").endpoint("ep_theirs", &[]);
    harness.apply(&theirs.manifest()).await;
    let other = direct("ws_other", endpoint_id("ep_theirs"), Some("k"), 3, now());
    let mut sent = Vec::new();
    for slot in [
        slot(1, 0, Some("k")),
        slot(2, 1, Some("k")),
        other,
        slot(4, 0, None),
        slot(5, 0, None),
    ] {
        let slot = send(&harness, slot).await;
        expect_published(&slot, "nothing like it was sent before");
        sent.push(slot);
    }
    expect_held(&harness, &sent).await;
}

/// Keys differ if any byte does, and every text is one: case, spaces, other scripts, a zero, the longest.
pub async fn any_key_is_told_from_any_other<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let (longest, neighbour) = ("x".repeat(256), format!("{}y", "x".repeat(255)));
    let keys = [
        "k",
        "K",
        " k",
        "k ",
        "k\0",
        "\0",
        "\0\0",
        "k\n",
        "'",
        "\"",
        "\\",
        "%",
        "é",
        "e\u{301}",
        "ключ",
        "\u{1f980}",
        "null",
        "0",
        "00",
        &longest,
        &neighbour,
    ];
    let mut sent = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let first = send(&harness, slot(number, 0, Some(key))).await;
        expect_published(&first, &format!("the first with the key {key:?}"));
        sent.push(first);
    }
    for (number, key) in keys.iter().enumerate() {
        let again = send(&harness, slot(1_000 + number, 0, Some(key))).await;
        expect_replay_of(&again, sent[number].id(), &format!("the key {key:?} again"));
    }
    expect_held(&harness, &sent).await;
}

/// A key stands for its first delivery for 24 hours and no longer; repeating it does not prolong that. Then it stands
/// for the next one.
pub async fn a_key_stands_for_a_day<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let nanosecond = Duration::from_nanos(1);
    let mut sent = Vec::new();
    for round in 0..2 {
        let first = send(&harness, slot(round * 10, 0, Some("k"))).await;
        expect_published(&first, "the key stands for nothing, or no longer");
        let half = IdempotencyKey::WINDOW / 2;
        harness.advance(half);
        let again = send(&harness, slot(round * 10 + 1, 0, Some("k"))).await;
        expect_replay_of(&again, first.id(), "half a day later");
        harness.advance(half.saturating_sub(nanosecond));
        let again = send(&harness, slot(round * 10 + 2, 0, Some("k"))).await;
        expect_replay_of(&again, first.id(), "a nanosecond before the day is over");
        harness.advance(nanosecond);
        sent.push(first);
    }
    expect_held(&harness, &sent).await;
}

/// Of calls with the same key that overlap in time one is queued, and all others are answered with it.
pub async fn concurrent_repeats_queue_one<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let mut sent = Vec::new();
    for round in 0..10 {
        let sending: Vec<_> = (0..16)
            .map(|number| {
                let direct = harness.direct();
                let key = format!("round {round}");
                let mut slots = [slot(round * 100 + number, 0, Some(&key))];
                tokio::spawn(async move {
                    direct.publish_direct(&mut slots).await;
                    slots
                })
            })
            .collect();
        let mut slots = Vec::new();
        for task in sending {
            slots.extend(task.await.expect("sending does not panic"));
        }
        expect_one_each(&slots);
        sent.extend(slots);
    }
    expect_held(&harness, &sent).await;
}

/// So with calls of several slots that bring the same keys in different orders: none waits for another in a circle.
pub async fn concurrent_batches_in_any_order_queue_one_each<H: DirectHarness>() {
    const KEYS: usize = 20;
    let harness = started::<H>(3).await;
    let sending: Vec<_> = (0..12)
        .map(|batch| {
            let direct = harness.direct();
            let mut slots: Vec<_> = (0..KEYS)
                .map(|at| {
                    // Every batch has the same keys, in an order of its own.
                    let key = (at * (2 * batch + 1) + batch) % KEYS;
                    slot(batch * 100 + at, key % 3, Some(&format!("key {key}")))
                })
                .collect();
            tokio::spawn(async move {
                direct.publish_direct(&mut slots).await;
                slots
            })
        })
        .collect();
    let mut slots = Vec::new();
    for task in sending {
        slots.extend(task.await.expect("sending does not panic"));
    }
    expect_one_each(&slots);
    expect_held(&harness, &slots).await;
}

/// An endpoint that does not exist, or is another workspace's, fails its own slot only, and for good.
pub async fn a_gone_endpoint_fails_alone<H: DirectHarness>() {
    let harness = started::<H>(2).await;
    let theirs = Workspace::new("ws_other").endpoint("ep_theirs", &[]);
    harness.apply(&theirs.manifest()).await;
    let gone = |number, id, key| direct("ws_shop", endpoint_id(id), key, number, now());
    let mut slots = [
        gone(1, "ep_gone", None),
        slot(2, 0, Some("k")),
        gone(3, "ep_gone", Some("k")),
        slot(4, 1, None),
        gone(5, "ep_theirs", Some("k")),
        gone(6, "ep_gone", Some("k")),
    ];
    harness.direct().publish_direct(&mut slots).await;
    for at in [1, 3] {
        expect_published(&slots[at], "its siblings' endpoints are gone");
    }
    expect_truthful(&harness, &slots).await;
    for slot in &slots {
        assert_ne!(
            slot.outcome(),
            DirectOutcome::Failed(FailureKind::Unconfirmed),
            "a healthy back end knows what became of each"
        );
    }
}

/// A slot that was not queued has not used its key up: the next one with it is queued.
pub async fn what_is_not_queued_leaves_its_key_free<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let late = endpoint_id("ep_late");
    let sent = |number| direct("ws_shop", late, Some("k"), number, now());
    let first = send(&harness, sent(1)).await;
    let DirectOutcome::Failed(kind) = first.outcome() else {
        // A queue that knows nothing of endpoints takes it; then its key is used up.
        expect_replay_of(&send(&harness, sent(2)).await, first.id(), "the same key");
        return;
    };
    assert!(!kind.may_be_queued(), "nothing was queued for no endpoint");
    let shop = Workspace::new("ws_shop").endpoint("ep_late", &[]);
    harness.apply(&shop.manifest()).await;
    let second = send(&harness, sent(2)).await;
    expect_published(&second, "the first with its key was not queued");
    let third = send(&harness, sent(3)).await;
    expect_replay_of(&third, second.id(), "the one that was queued counts");
    expect_held(&harness, &[second]).await;
}

/// A call that is dropped, at whatever moment, leaves slots that are true, and can be repeated with the same keys: each key
/// ends up with one delivery, that of the answer.
pub async fn a_dropped_send_can_be_repeated<H: DirectHarness>() {
    const WIDTH: usize = 10;
    let harness = started::<H>(1).await;
    let call = |call: usize, repeat: usize| -> Vec<_> {
        (0..WIDTH)
            .map(|at| {
                let number = (call * 2 + repeat) * 100 + at;
                slot(number, 0, Some(&format!("{call}/{at}")))
            })
            .collect()
    };
    let mut dropped = Vec::new();
    for polls in 0..12 {
        let mut slots = call(dropped.len(), 0);
        poll_so_often(polls, harness.direct().publish_direct(&mut slots)).await;
        dropped.push(slots);
    }
    for micros in [1, 20, 50, 100, 200, 400, 800, 2_000, 5_000] {
        let mut slots = call(dropped.len(), 0);
        let direct = harness.direct();
        let sending = direct.publish_direct(&mut slots);
        let _ = tokio::time::timeout(Duration::from_micros(micros), sending).await;
        dropped.push(slots);
    }
    let mut final_ids = HashSet::new();
    for (number, first) in dropped.iter().enumerate() {
        let mut again = call(number, 1);
        harness.direct().publish_direct(&mut again).await;
        for (first, again) in first.iter().zip(&again) {
            match (first.outcome(), again.outcome()) {
                (DirectOutcome::Failed(kind), DirectOutcome::Replayed(id)) => {
                    assert_eq!(id, first.id(), "there was no other with the key");
                    assert!(
                        kind.may_be_queued(),
                        "{kind:?} is definite, and it is queued"
                    );
                    final_ids.insert(id);
                }
                (DirectOutcome::Published, DirectOutcome::Replayed(id)) => {
                    assert_eq!(id, first.id(), "there was no other with the key");
                    final_ids.insert(id);
                }
                (DirectOutcome::Failed(_), DirectOutcome::Published) => {
                    final_ids.insert(again.id());
                }
                (first, again) => panic!("dropped as {first:?}, the repeat came to {again:?}"),
            }
        }
    }
    assert_eq!(final_ids.len(), dropped.len() * WIDTH, "one for each key");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let held: Vec<_> = harness.held().await;
    assert_eq!(held.len(), final_ids.len(), "one for each key");
    for delivery in held {
        assert!(
            final_ids.contains(&delivery.delivery),
            "the queue holds what no answer named"
        );
    }
}

/// The log shows a delivery's key as it was given, or its own, and no event type.
pub async fn the_log_shows_the_key<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let longest = "ы".repeat(128);
    for (number, key) in [Some("k\0\"'\\ "), None, Some(longest.as_str())]
        .into_iter()
        .enumerate()
    {
        let slot = send(&harness, slot(number, 0, key)).await;
        let record = harness
            .record(slot.id(), &workspace_id("ws_shop"))
            .await
            .expect("what was published is in the log");
        let own = IdempotencyKey::of(slot.id());
        assert_eq!(
            record.idempotency_key.as_str(),
            key.unwrap_or(own.as_str()),
            "the key as it was given, or the delivery's own"
        );
        assert_eq!(
            record.event_type, None,
            "it was sent to an endpoint directly"
        );
        assert_eq!(record.metadata, Metadata::default(), "a Send has no labels");
        assert_eq!(record.message, slot.event().id, "the message is its own");
    }
}

/// What was sent, and what keys stand for, is still there after an orderly restart, unless the back end says that it
/// survives none.
pub async fn keys_survive_a_restart<H: DirectHarness>() {
    let harness = started::<H>(1).await;
    let mut first = [slot(1, 0, Some("k")), slot(2, 0, None)];
    harness.direct().publish_direct(&mut first).await;
    let Some(harness) = harness.restart().await else {
        return;
    };
    expect_held(&harness, &first).await;
    let again = send(&harness, slot(3, 0, Some("k"))).await;
    expect_replay_of(&again, first[0].id(), "the same key after a restart");
    harness.advance(IdempotencyKey::WINDOW);
    let next = send(&harness, slot(4, 0, Some("k"))).await;
    expect_published(&next, "the day is over");
}

/// A harness whose endpoints exist.
async fn started<H: DirectHarness>(endpoints: usize) -> H {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop").endpoints(endpoints);
    harness.apply(&shop.manifest()).await;
    harness
}

fn now() -> nahook_core::Timestamp {
    ManualClock::default().now()
}

/// A slot for the endpoint with that number.
fn slot(number: usize, endpoint: usize, key: Option<&str>) -> DirectDelivery {
    direct(
        "ws_shop",
        nth_endpoint_id(endpoint),
        key,
        number as u64,
        now(),
    )
}

async fn send<H: DirectHarness>(harness: &H, slot: DirectDelivery) -> DirectDelivery {
    let mut slots = [slot];
    harness.direct().publish_direct(&mut slots).await;
    let [slot] = slots;
    slot
}

fn is_published(slot: &DirectDelivery) -> bool {
    slot.outcome() == DirectOutcome::Published
}

fn expect_published(slot: &DirectDelivery, why: &str) {
    assert_eq!(slot.outcome(), DirectOutcome::Published, "{why}");
}

fn expect_replay_of(slot: &DirectDelivery, original: DeliveryId, why: &str) {
    assert_eq!(slot.outcome(), DirectOutcome::Replayed(original), "{why}");
}

/// Expects that of the slots with one key one is published and the others are its replays.
fn expect_one_each(slots: &[DirectDelivery]) {
    let mut originals: HashMap<(EndpointId, &IdempotencyKey), Vec<DeliveryId>> = HashMap::new();
    for slot in slots {
        let id = match slot.outcome() {
            DirectOutcome::Published => slot.id(),
            DirectOutcome::Replayed(original) => original,
            DirectOutcome::Failed(kind) => panic!("a healthy back end has failed: {kind:?}"),
        };
        if let Some(key) = slot.idempotency_key() {
            originals
                .entry((slot.endpoint(), key))
                .or_default()
                .push(id);
        }
    }
    for ids in originals.values() {
        let published: Vec<_> = slots
            .iter()
            .filter(|slot| is_published(slot) && ids.contains(&slot.id()))
            .collect();
        assert_eq!(published.len(), 1, "one of those with the key is queued");
        assert!(
            ids.iter().all(|id| *id == published[0].id()),
            "all of those with the key are answered with it"
        );
    }
}

/// Expects that the queue holds what is marked published, as it was, and nothing else.
async fn expect_held<H: DirectHarness>(harness: &H, slots: &[DirectDelivery]) {
    let mut found: HashMap<DeliveryId, HeldDelivery> = HashMap::new();
    for delivery in harness.held().await {
        let twice = found.insert(delivery.delivery, delivery);
        assert_eq!(twice, None, "the queue holds a delivery twice");
    }
    for slot in slots.iter().filter(|slot| is_published(slot)) {
        assert_eq!(
            found.remove(&slot.id()),
            Some(HeldDelivery::of_direct(slot)),
            "what was published is in the queue, as it was"
        );
    }
    assert!(
        found.is_empty(),
        "the queue holds what was not published: {:?}",
        found.keys()
    );
}

/// Expects that no slot claims what the queue contradicts.
async fn expect_truthful<H: DirectHarness>(harness: &H, slots: &[DirectDelivery]) {
    let held: HashSet<_> = harness
        .held()
        .await
        .into_iter()
        .map(|held| held.delivery)
        .collect();
    for slot in slots {
        let is_held = held.contains(&slot.id());
        match slot.outcome() {
            DirectOutcome::Published => assert!(is_held, "it is marked published"),
            DirectOutcome::Replayed(original) => {
                assert!(!is_held && held.contains(&original), "it is a replay");
            }
            DirectOutcome::Failed(kind) => {
                assert!(kind.may_be_queued() || !is_held, "{kind:?} is definite");
            }
        }
    }
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
