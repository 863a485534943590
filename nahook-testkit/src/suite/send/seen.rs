//! Direct deliveries as the other ports show them.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::task::Poll;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Clock, IdempotencyKey, Outcome};

use crate::declare::{Workspace, nth_endpoint_id, single_send};
use crate::{HeldDelivery, ManualClock, SendHarness, SingleSend};

/// A harness whose endpoints exist.
pub(super) async fn started<H: SendHarness>(endpoints: usize) -> H {
    let harness = H::start().await;
    let shop = Workspace::new("ws_shop").endpoints(endpoints);
    harness.apply(&shop.manifest()).await;
    harness
}

pub(super) fn now() -> nahook_core::Timestamp {
    ManualClock::default().now()
}

/// A slot for the endpoint with that number.
pub(super) fn slot(number: usize, endpoint: usize, key: Option<&str>) -> SingleSend {
    single_send(
        "ws_shop",
        nth_endpoint_id(endpoint),
        key,
        number as u64,
        now(),
    )
}

pub(super) async fn send<H: SendHarness>(harness: &H, mut slot: SingleSend) -> SingleSend {
    slot.publish(&harness.sender()).await;
    slot
}

pub(super) fn is_published(slot: &SingleSend) -> bool {
    slot.outcome() == Outcome::Published
}

pub(super) fn expect_published(slot: &SingleSend, why: &str) {
    assert_eq!(slot.outcome(), Outcome::Published, "{why}");
}

pub(super) fn expect_replay_of(slot: &SingleSend, original: DeliveryId, why: &str) {
    assert_eq!(slot.outcome(), Outcome::Replayed(original), "{why}");
}

/// Expects that of the slots with one key one is published and the others are its replays.
pub(super) fn expect_one_each(slots: &[SingleSend]) {
    let mut originals: HashMap<(EndpointId, &IdempotencyKey), Vec<DeliveryId>> = HashMap::new();
    for slot in slots {
        let id = match slot.outcome() {
            Outcome::Published => slot.id(),
            Outcome::Replayed(original) => original,
            Outcome::Failed(kind) => panic!("a healthy back end has failed: {kind:?}"),
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
pub(super) async fn expect_held<H: SendHarness>(harness: &H, slots: &[SingleSend]) {
    let mut found: HashMap<DeliveryId, HeldDelivery> = HashMap::new();
    for delivery in harness.held().await {
        let twice = found.insert(delivery.delivery, delivery);
        assert_eq!(twice, None, "the queue holds a delivery twice");
    }
    for slot in slots.iter().filter(|slot| is_published(slot)) {
        assert_eq!(
            found.remove(&slot.id()),
            Some(slot.held()),
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
pub(super) async fn expect_truthful<H: SendHarness>(harness: &H, slots: &[SingleSend]) {
    let held: HashSet<_> = harness
        .held()
        .await
        .into_iter()
        .map(|held| held.delivery)
        .collect();
    for slot in slots {
        let is_held = held.contains(&slot.id());
        match slot.outcome() {
            Outcome::Published => assert!(is_held, "it is marked published"),
            Outcome::Replayed(original) => {
                assert!(!is_held && held.contains(&original), "it is a replay");
            }
            Outcome::Failed(kind) => {
                assert!(kind.may_be_queued() || !is_held, "{kind:?} is definite");
            }
        }
    }
}

/// Polls a future so many times, as long as it is pending, and drops it.
pub(super) async fn poll_so_often(polls: usize, future: impl Future<Output = ()>) {
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
