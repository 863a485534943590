//! Clauses about what is sent once.

use nahook_core::{FailureKind, Outcome};

use super::seen::{
    expect_held, expect_published, expect_truthful, is_published, now, slot, started,
};
use crate::declare::{Workspace, endpoint_id, nth_endpoint_id, payload, single_send};
use crate::{SendHarness, SingleSend, publish_each};

/// A back end in good health takes every payload; what is marked published is in the queue, once, for its endpoint,
/// and nothing else is.
pub async fn every_slot_is_resolved<H: SendHarness>() {
    let harness = started::<H>(5).await;
    let mut expected = Vec::new();
    for (call, width) in [1, 2, 7, 20].into_iter().enumerate() {
        let mut slots: Vec<_> = (0..width)
            .map(|at| {
                let key = (at % 2 == 0).then(|| format!("{call}/{at}"));
                slot(call * 100 + at, at % 5, key.as_deref())
            })
            .collect();
        publish_each(&harness.sender(), &mut slots).await;
        for slot in &slots {
            expect_published(slot, "a healthy back end takes it");
        }
        expected.extend(slots);
    }
    expect_held(&harness, &expected).await;
}

/// The payload arrives byte for byte: odd spacing, escapes, large numbers, repeated keys and empty values included.
pub async fn a_direct_payload_arrives_unchanged<H: SendHarness>() {
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
            SingleSend::new(event, nth_endpoint_id(0))
        })
        .collect();
    publish_each(&harness.sender(), &mut slots).await;
    expect_held(&harness, &slots).await;
}

/// A thousand slots of one call are queued whole, those with keys too.
pub async fn many_are_sent_at_once<H: SendHarness>() {
    let harness = started::<H>(10).await;
    let mut slots: Vec<_> = (0..1_000)
        .map(|number| {
            let key = (number % 3 == 0).then(|| number.to_string());
            slot(number, number % 10, key.as_deref())
        })
        .collect();
    publish_each(&harness.sender(), &mut slots).await;
    let published = slots.iter().filter(|slot| is_published(slot)).count();
    assert_eq!(published, slots.len(), "all of a large call are published");
    expect_held(&harness, &slots).await;
}

/// Sending nothing ends, and queues nothing.
pub async fn sending_nothing_is_fine<H: SendHarness>() {
    let harness = started::<H>(1).await;
    publish_each(&harness.sender(), &mut []).await;
    assert_eq!(harness.held().await, [], "nothing was sent");
    let mut slots = [slot(1, 0, Some("k"))];
    publish_each(&harness.sender(), &mut slots).await;
    expect_published(&slots[0], "sending goes on after an empty call");
}

/// An endpoint that does not exist, or is another workspace's, fails its own slot only, and for good.
pub async fn a_gone_endpoint_fails_alone<H: SendHarness>() {
    let harness = started::<H>(2).await;
    let theirs = Workspace::new("ws_other").endpoint("ep_theirs", &[]);
    harness.apply(&theirs.manifest()).await;
    let gone = |number, id, key| single_send("ws_shop", endpoint_id(id), key, number, now());
    let mut slots = [
        gone(1, "ep_gone", None),
        slot(2, 0, Some("k")),
        gone(3, "ep_gone", Some("k")),
        slot(4, 1, None),
        gone(5, "ep_theirs", Some("k")),
        gone(6, "ep_gone", Some("k")),
    ];
    publish_each(&harness.sender(), &mut slots).await;
    for at in [1, 3] {
        expect_published(&slots[at], "its siblings' endpoints are gone");
    }
    expect_truthful(&harness, &slots).await;
    for slot in &slots {
        assert_ne!(
            slot.outcome(),
            Outcome::Failed(FailureKind::Unconfirmed),
            "a healthy back end knows what became of each"
        );
    }
}
