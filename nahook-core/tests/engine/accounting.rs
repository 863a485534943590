//! The receipt says what the publisher resolved, slot by slot.

use nahook_core::id::DeliveryId;
use nahook_core::{Delivery, Event, FailureKind, Outcome};

use crate::ports::{Answer, Ports, caller, ready, subscribers};

fn resolving(resolve: fn(&mut [Delivery])) -> impl Fn(&Event, &mut [Delivery]) -> Answer<()> {
    move |_, deliveries| {
        resolve(deliveries);
        ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_reported_for_its_own_endpoint() {
    let ports = Ports::default().admits().finds(7);
    let ports = ports.publisher(resolving(|deliveries| {
        deliveries[1].mark_published();
        for (delivery, kind) in deliveries[2..].iter_mut().zip(FailureKind::ALL) {
            delivery.mark_failed(kind);
        }
    }));
    let receipt = ports.play(&caller()).await.answer.unwrap();
    let endpoints = subscribers(7).endpoints;

    let accounted: Vec<_> = receipt
        .deliveries()
        .iter()
        .map(Delivery::endpoint)
        .collect();
    assert_eq!(accounted, *endpoints);
    let published = DeliveryId::nth(receipt.message(), 1);
    assert_eq!(receipt.delivery_ids().collect::<Vec<_>>(), [published]);
    assert_eq!(receipt.deliveries()[1].outcome(), Outcome::Published);

    let failures: Vec<_> = receipt
        .failures()
        .map(|failure| (failure.endpoint, failure.delivery, failure.kind))
        .collect();
    let mut expected = vec![(0, FailureKind::Unconfirmed)];
    expected.extend((2..).zip(FailureKind::ALL));
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(at, kind)| {
            let delivery = DeliveryId::nth(receipt.message(), at);
            (endpoints[usize::try_from(at).unwrap()], delivery, kind)
        })
        .collect();
    assert_eq!(failures, expected);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_resolves_nothing_leaves_everything_unconfirmed() {
    let ports = Ports::default().admits().finds(3);
    let ports = ports.publisher(resolving(|_| ()));
    let receipt = ports.play(&caller()).await.answer.unwrap();
    assert_eq!(receipt.delivery_ids().count(), 0);
    let kinds: Vec<_> = receipt.failures().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::Unconfirmed; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_everything_in_time_is_a_receipt() {
    let ports = Ports::default().admits().finds(3);
    let ports = ports.publisher(resolving(|deliveries| {
        for delivery in deliveries {
            delivery.mark_failed(FailureKind::QueueUnavailable);
        }
    }));
    let receipt = ports.play(&caller()).await.answer.unwrap();
    let kinds: Vec<_> = receipt.failures().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::QueueUnavailable; 3]);
}
