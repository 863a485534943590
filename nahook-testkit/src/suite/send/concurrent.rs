//! Clauses about calls that overlap, and calls that are dropped.

use std::collections::HashSet;
use std::time::Duration;

use nahook_core::Outcome;

use super::seen::{expect_held, expect_one_each, poll_so_often, slot, started};
use crate::{SendHarness, publish_each};

/// Of calls with the same key that overlap in time one is queued, and all others are answered with it.
pub async fn concurrent_repeats_queue_one<H: SendHarness>() {
    let harness = started::<H>(1).await;
    let mut sent = Vec::new();
    for round in 0..10 {
        let sending: Vec<_> = (0..16)
            .map(|number| {
                let sender = harness.sender();
                let key = format!("round {round}");
                let mut slots = [slot(round * 100 + number, 0, Some(&key))];
                tokio::spawn(async move {
                    publish_each(&sender, &mut slots).await;
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
pub async fn concurrent_batches_in_any_order_queue_one_each<H: SendHarness>() {
    const KEYS: usize = 20;
    let harness = started::<H>(3).await;
    let sending: Vec<_> = (0..12)
        .map(|batch| {
            let sender = harness.sender();
            let mut slots: Vec<_> = (0..KEYS)
                .map(|at| {
                    // Every batch has the same keys, in an order of its own.
                    let key = (at * (2 * batch + 1) + batch) % KEYS;
                    slot(batch * 100 + at, key % 3, Some(&format!("key {key}")))
                })
                .collect();
            tokio::spawn(async move {
                publish_each(&sender, &mut slots).await;
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

/// A call that is dropped, at whatever moment, leaves slots that are true, and can be repeated with the same keys: each key
/// ends up with one delivery, that of the answer.
pub async fn a_dropped_send_can_be_repeated<H: SendHarness>() {
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
        poll_so_often(polls, publish_each(&harness.sender(), &mut slots)).await;
        dropped.push(slots);
    }
    for micros in [1, 20, 50, 100, 200, 400, 800, 2_000, 5_000] {
        let mut slots = call(dropped.len(), 0);
        let sender = harness.sender();
        let sending = publish_each(&sender, &mut slots);
        let _ = tokio::time::timeout(Duration::from_micros(micros), sending).await;
        dropped.push(slots);
    }
    let mut final_ids = HashSet::new();
    for (number, first) in dropped.iter().enumerate() {
        let mut again = call(number, 1);
        publish_each(&harness.sender(), &mut again).await;
        for (first, again) in first.iter().zip(&again) {
            match (first.outcome(), again.outcome()) {
                (Outcome::Failed(kind), Outcome::Replayed(id)) => {
                    assert_eq!(id, first.id(), "there was no other with the key");
                    assert!(
                        kind.may_be_queued(),
                        "{kind:?} is definite, and it is queued"
                    );
                    final_ids.insert(id);
                }
                (Outcome::Published, Outcome::Replayed(id)) => {
                    assert_eq!(id, first.id(), "there was no other with the key");
                    final_ids.insert(id);
                }
                (Outcome::Failed(_), Outcome::Published) => {
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
