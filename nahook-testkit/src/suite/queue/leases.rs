//! Clauses about holding a delivery.

use std::collections::HashSet;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nahook_queue::{DeliveryQueue, Next, Settled};

use super::shop::{ALMOST_A_LEASE, LEASE, MILLISECOND, Shop, ids, request};
use crate::QueueHarness;
use crate::declare::{event_type_name, metadata, nth_endpoint_id, payload, workspace_id};

/// An empty queue answers at once, with nothing, and nothing waits for time.
pub async fn an_empty_queue_has_nothing<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let batch = shop.lease(&request(1, 10)).await;
    assert_eq!(batch.deliveries, [], "nothing was published");
    assert_eq!(batch.next_due, None, "nothing waits for time");
}

/// A leased delivery carries what its worker needs, as it was published: the message, workspace, endpoint, name of the
/// event type, payload and instant of acceptance, with no attempts before it.
pub async fn a_leased_delivery_is_complete<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    let mut event = shop.event();
    event.payload = payload("{ \"spaced\" :  [1.0, 2e+3]\n}");
    event.metadata = metadata(&[("a", "1")]);
    let published = shop.publish_event(&event, &[2, 0]).await;
    let leased = shop.lease_all(1).await;
    assert_eq!(leased.len(), 2, "both deliveries are due");
    for leased in leased {
        let nth = published
            .iter()
            .position(|id| *id == leased.lease.delivery)
            .expect("a delivery that was published");
        assert_eq!(
            leased.endpoint,
            nth_endpoint_id([2, 0][nth]),
            "the endpoint"
        );
        assert_eq!(leased.message, event.id, "the message");
        assert_eq!(leased.workspace, workspace_id("ws_shop"), "the workspace");
        assert_eq!(
            leased.event_type,
            Some(event_type_name("order.paid")),
            "the event type"
        );
        assert_eq!(leased.payload, event.payload, "the payload, byte for byte");
        assert_eq!(leased.attempts, 0, "no attempt was settled yet");
        assert_eq!(
            leased.accepted_at, event.accepted_at,
            "the instant of acceptance"
        );
    }
}

/// A leased delivery is offered to nobody else, nor again to its holder, until the lease ends.
pub async fn a_lease_is_exclusive<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let mut published = shop.publish(&[0, 1]).await;
    published.extend(shop.publish(&[0]).await);
    let leased = shop.lease_all(1).await;
    assert_eq!(
        ids(&leased).into_iter().collect::<HashSet<_>>(),
        published.into_iter().collect(),
        "one worker leases everything there is"
    );
    let tokens: HashSet<_> = leased.iter().map(|leased| leased.lease).collect();
    assert_eq!(tokens.len(), 3, "leases differ from one another");
    for after in [Duration::ZERO, ALMOST_A_LEASE] {
        shop.advance(after);
        for worker in [1, 2] {
            assert_eq!(
                shop.lease_ids(worker).await,
                [],
                "worker {worker} asks {after:?} after worker 1 has leased for {LEASE:?}"
            );
        }
    }
}

/// A lease that was neither settled nor extended is offered again once it has expired, under another token.
pub async fn an_expired_lease_is_offered_again<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let first = shop.lease_one(1).await.lease;
    shop.advance(ALMOST_A_LEASE);
    assert_eq!(
        shop.lease_ids(2).await,
        [],
        "the lease lasts a millisecond longer"
    );
    shop.advance(MILLISECOND);
    let second = shop.lease_one(2).await;
    assert_eq!(second.lease.delivery, id, "the same delivery");
    assert_ne!(second.lease.token, first.token, "another claim");
    assert_eq!(second.attempts, 0, "no attempt was settled");
}

/// A lease that was extended is kept for the new duration, counted from the extension.
pub async fn an_extension_lasts_for_its_duration<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    let mut lease = shop.lease_one(1).await.lease;
    for duration in [LEASE / 2, 3 * LEASE, LEASE] {
        // Too little of it is left for the shortest, too.
        shop.advance(LEASE.mul_f64(0.9));
        assert_eq!(
            shop.extend(&[lease], duration).await,
            [true],
            "the lease is still held"
        );
        shop.advance(duration.saturating_sub(MILLISECOND));
        assert_eq!(shop.lease_ids(2).await, [], "extended for {duration:?}");
        shop.advance(MILLISECOND);
        lease = shop.lease_one(2).await.lease;
    }
}

/// An extended lease is held as long as it is extended, and expires afterwards.
pub async fn an_extended_lease_is_kept<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    shop.publish_one().await;
    let lease = shop.lease_one(1).await.lease;
    for _ in 0..3 {
        shop.advance(ALMOST_A_LEASE);
        assert_eq!(
            shop.extend(&[lease], LEASE).await,
            [true],
            "the lease is still held"
        );
    }
    shop.advance(ALMOST_A_LEASE);
    assert_eq!(shop.lease_ids(2).await, [], "the lease was extended");
    shop.advance(MILLISECOND);
    assert_eq!(
        shop.lease_ids(2).await.len(),
        1,
        "the extension has expired"
    );
}

/// Extending a lease that somebody else has by now, or that was settled, changes nothing and says so, lease by lease.
pub async fn a_lost_lease_cannot_be_extended<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    shop.publish(&[0, 1, 2]).await;
    let leased = shop.lease_all(1).await;
    let [settled, kept, lost] = [0, 1, 2].map(|n| leased[n].lease);
    shop.settle_held(settled, Next::Delivered).await;
    assert_eq!(
        shop.extend(&[kept], 2 * LEASE).await,
        [true],
        "the lease is held"
    );
    shop.advance(LEASE);
    let taken_over = shop.lease_one(2).await.lease;
    assert_eq!(
        taken_over.delivery, lost.delivery,
        "the one that was not extended"
    );
    assert_eq!(
        shop.extend(&[settled, kept, lost], LEASE).await,
        [false, true, false],
        "settled, kept, taken over by another worker"
    );
    assert_eq!(
        shop.settle(taken_over, Next::Delivered).await,
        Settled::Done,
        "the attempt to extend it has not disturbed the new lease"
    );
}

/// A call that is dropped before it answers loses no delivery: what it may have leased is offered again once those
/// leases have expired, at the latest.
pub async fn a_dropped_lease_call_loses_nothing<H: QueueHarness>() {
    let shop = Shop::<H>::with_endpoints(5).await;
    let mut published = HashSet::new();
    for _ in 0..4 {
        published.extend(shop.publish(&[0, 1, 2, 3, 4]).await);
    }
    for polls in 0..6 {
        let queue = shop.harness.queue();
        let request = request(1, 2);
        let mut leasing = pin!(queue.lease(&request));
        for _ in 0..polls {
            let polled =
                std::future::poll_fn(|context| Poll::Ready(leasing.as_mut().poll(context))).await;
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    shop.advance(LEASE);
    let leased = shop.lease_ids(2).await;
    assert_eq!(
        leased.into_iter().collect::<HashSet<_>>(),
        published,
        "everything is offered again after the leases of the dropped calls have expired"
    );
}
