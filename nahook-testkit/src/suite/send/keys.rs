//! Clauses about what a key stands for, and for how long.

use std::time::Duration;

use nahook_core::{IdempotencyKey, Metadata, Outcome};

use super::seen::{
    expect_held, expect_one_each, expect_published, expect_replay_of, is_published, now, send,
    slot, started,
};
use crate::declare::{Workspace, endpoint_id, single_send, workspace_id};
use crate::{SendHarness, publish_each};

/// Time for which a key stands for its delivery (contract, section 1).
const DAY: Duration = Duration::from_hours(24);

/// The same key for the same endpoint is answered with the first delivery, whatever the payload, and queues nothing; so
/// a hundred times over.
pub async fn a_repeated_key_is_answered_with_the_first<H: SendHarness>() {
    let harness = started::<H>(1).await;
    let first = send(&harness, slot(1, 0, Some("order-7"))).await;
    expect_published(&first, "the first with its key");
    for number in 2..100 {
        let again = send(&harness, slot(number, 0, Some("order-7"))).await;
        expect_replay_of(&again, first.id(), "the same key");
    }
    expect_held(&harness, &[first]).await;
}

/// Of several with one key side by side one is queued, and the others are answered with it; those without a key are queued.
pub async fn repeats_side_by_side_are_answered_with_one<H: SendHarness>() {
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
    publish_each(&harness.sender(), &mut slots).await;
    for at in [2, 5] {
        expect_published(&slots[at], "it has no key");
    }
    expect_one_each(&slots);
    let published = slots.iter().filter(|slot| is_published(slot)).count();
    assert_eq!(published, 4, "two keys, and two without one");
    expect_held(&harness, &slots).await;
}

/// A key says nothing about another endpoint, nor about one of another workspace; without a key nothing is a repeat.
pub async fn a_key_belongs_to_its_endpoint<H: SendHarness>() {
    let harness = started::<H>(2).await;
    let theirs = Workspace::new("ws_other").endpoint("ep_theirs", &[]);
    harness.apply(&theirs.manifest()).await;
    let other = single_send("ws_other", endpoint_id("ep_theirs"), Some("k"), 3, now());
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
pub async fn any_key_is_told_from_any_other<H: SendHarness>() {
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
pub async fn a_key_stands_for_a_day<H: SendHarness>() {
    let harness = started::<H>(1).await;
    let nanosecond = Duration::from_nanos(1);
    let mut sent = Vec::new();
    for round in 0..2 {
        let first = send(&harness, slot(round * 10, 0, Some("k"))).await;
        expect_published(&first, "the key stands for nothing, or no longer");
        let half = DAY / 2;
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

/// A slot that was not queued has not used its key up: the next one with it is queued.
pub async fn what_is_not_queued_leaves_its_key_free<H: SendHarness>() {
    let harness = started::<H>(1).await;
    let late = endpoint_id("ep_late");
    let sent = |number| single_send("ws_shop", late, Some("k"), number, now());
    let first = send(&harness, sent(1)).await;
    let Outcome::Failed(kind) = first.outcome() else {
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

/// The log shows a delivery's key as it was given, or its own, and no event type.
pub async fn the_log_shows_the_key<H: SendHarness>() {
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

/// Everything that was sent, and what keys stand for, is still there after an orderly restart, unless the back end says that it
/// survives none.
pub async fn keys_survive_a_restart<H: SendHarness>() {
    let harness = started::<H>(1).await;
    let mut first = [slot(1, 0, Some("k")), slot(2, 0, None)];
    publish_each(&harness.sender(), &mut first).await;
    let Some(harness) = harness.restart().await else {
        return;
    };
    expect_held(&harness, &first).await;
    let again = send(&harness, slot(3, 0, Some("k"))).await;
    expect_replay_of(&again, first[0].id(), "the same key after a restart");
    harness.advance(DAY);
    let next = send(&harness, slot(4, 0, Some("k"))).await;
    expect_published(&next, "the day is over");
}
