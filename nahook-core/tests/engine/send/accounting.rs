//! The caller of a Send is told what the queue says of its slot.

use std::collections::HashSet;

use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{FailureKind, IdempotencyKey, SendError};

use crate::ports::{Ports, caller, ready, send_to};

#[tokio::test(start_paused = true)]
async fn every_failure_of_a_queue_that_answers_is_told_for_what_it_is() {
    for kind in FailureKind::ALL {
        let ports = Ports::default().admits().finds_endpoints();
        let ports = ports.sender(move |_, slot| {
            slot.mark_failed(kind);
            ready(())
        });
        let played = ports.play_send(&caller()).await;
        match (kind, &played.answer) {
            (FailureKind::EndpointGone, told) => {
                assert!(matches!(told, Err(SendError::UnknownEndpoint)), "{told:?}");
            }
            (_, Err(SendError::Unconfirmed { is_keyed, .. })) if kind.may_be_queued() => {
                assert!(is_keyed, "it has a key, so repeating it is safe");
            }
            (_, Err(SendError::QueueRefused(told))) if !kind.may_be_queued() => {
                assert_eq!(*told, kind);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_says_nothing_or_panics_leaves_a_send_unconfirmed() {
    let silent = Ports::default()
        .admits()
        .finds_endpoints()
        .sender(|_, _| ready(()));
    let broken = Ports::default().admits().finds_endpoints();
    let broken = broken.sender(|_, _| panic!("planned"));
    for ports in [silent, broken] {
        let played = ports.play_send(&caller()).await;
        let answer = &played.answer;
        assert!(matches!(answer, Err(SendError::Unconfirmed { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_panics_keeps_what_it_said_of_a_send() {
    let ports = Ports::default().admits().finds_endpoints();
    let ports = ports.sender(|_, slot| {
        slot.mark_published();
        panic!("planned")
    });
    assert!(ports.play_send(&caller()).await.answer.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_send_that_stands_for_an_earlier_one_is_answered_with_that_one() {
    let earlier = DeliveryId::nth(MessageId::from_bits(77), 0);
    let ports = Ports::default().admits().finds_endpoints();
    let ports = ports.sender(move |_, slot| {
        slot.mark_replayed(earlier);
        ready(())
    });
    let played = ports.play_send(&caller()).await;
    let sent = played.answer.as_ref().unwrap();
    assert_eq!((sent.delivery, sent.is_replay), (earlier, true));
    assert_ne!(DeliveryId::nth(sent.message, 0), earlier);
}

#[tokio::test(start_paused = true)]
async fn each_send_of_a_batch_is_a_message_of_its_own_with_a_key_of_its_own() {
    let ports = Ports::default()
        .grants(3, 3, None)
        .finds_endpoints()
        .sends();
    let sends = [1, 1, 2].map(send_to).to_vec();
    let played = ports.play_sends(sends, &caller()).await;
    let sent: Vec<_> = played.answer.iter().flatten().collect();
    assert_eq!(sent.len(), 3);
    let messages: HashSet<_> = sent.iter().map(|sent| sent.message).collect();
    assert_eq!(messages.len(), 3);
    for sent in sent {
        assert_eq!(sent.delivery, DeliveryId::nth(sent.message, 0));
        assert_eq!(sent.idempotency_key, IdempotencyKey::of(sent.delivery));
    }
}
