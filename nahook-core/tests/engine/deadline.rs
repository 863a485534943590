//! The deadline in each step. Time is paused, so every duration is exact.

use std::time::Duration;

use nahook_core::admission::Verdict;
use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome, TriggerError};
use tokio::time::{Instant, sleep};

use crate::ports::{Answer, Played, Ports, TIMEOUT, after, caller, silence, subscribers};

const ALMOST: Duration = Duration::from_millis(4_999);
const MS: Duration = Duration::from_millis(1);

impl Played {
    fn is_late(&self) -> bool {
        matches!(self.answer, Err(TriggerError::DeadlineExceeded))
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_limiter_costs_the_deadline_and_nothing_is_looked_up() {
    let ports = Ports::default().limiter(|_| silence());
    let played = ports.play(&caller()).await;
    assert!(played.is_late());
    assert_eq!(played.calls, ["limiter"]);
    assert_eq!(played.elapsed, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_what_the_limiter_has_left_and_nothing_is_published() {
    let played = Ports::default()
        .limiter(|_| after(ALMOST, Ok(Verdict::Admit)))
        .store(|_, _| silence())
        .play(&caller())
        .await;
    assert!(played.is_late());
    assert_eq!(played.calls, ["limiter", "store"]);
    assert_eq!(played.elapsed, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_ends_with_the_deadline_publishes_nothing() {
    let ports = Ports::default().admits();
    let ports = ports.store(|_, _| after(TIMEOUT, Ok(Some(subscribers(3)))));
    let played = ports.play(&caller()).await;
    assert!(played.is_late());
    assert_eq!(played.calls, ["limiter", "store"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_already_publishes_nothing() {
    let deadline = Instant::now();
    sleep(MS).await;
    let played = Ports::default().play_by(deadline, &caller()).await;
    assert!(played.is_late());
    assert_eq!(played.elapsed, Duration::ZERO);
    // The others answer at once, so they may be asked.
    assert!(!played.calls.contains(&"publisher"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_callers_counts_from_when_it_was_drawn_up() {
    let deadline = Instant::now() + TIMEOUT;
    sleep(Duration::from_secs(3)).await;
    let ports = Ports::default().admits().store(|_, _| silence());
    let played = ports.play_by(deadline, &caller()).await;
    assert!(played.is_late());
    assert_eq!(played.elapsed, Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_ends_just_in_time_is_heard() {
    let ports = Ports::default().admits().finds(2);
    let ports = ports.publisher(|_, deliveries| {
        deliveries.iter_mut().for_each(Delivery::mark_published);
        after(ALMOST, ())
    });
    let played = ports.play(&caller()).await;
    assert_eq!(played.answer.unwrap().delivery_ids().count(), 2);
    assert_eq!(played.elapsed, ALMOST);
}

fn silent_after(resolve: fn(&mut [Delivery])) -> impl Fn(&Event, &mut [Delivery]) -> Answer<()> {
    move |_, deliveries| {
        resolve(deliveries);
        silence()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_resolved_by_the_deadline_is_kept_and_the_rest_is_unconfirmed() {
    let ports = Ports::default().admits().finds(3);
    let ports = ports.publisher(silent_after(|deliveries| {
        deliveries[0].mark_published();
        deliveries[2].mark_failed(FailureKind::EndpointGone);
    }));
    let played = ports.play(&caller()).await;
    assert_eq!(played.elapsed, TIMEOUT);
    let receipt = played.answer.unwrap();
    let outcomes: Vec<_> = receipt.deliveries().iter().map(Delivery::outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Published,
            Outcome::Failed(FailureKind::Unconfirmed),
            Outcome::Failed(FailureKind::EndpointGone),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_queue_is_a_receipt_because_it_may_hold_the_deliveries() {
    let ports = Ports::default().admits().finds(2);
    let ports = ports.publisher(silent_after(|_| ()));
    let receipt = ports.play(&caller()).await.answer.unwrap();
    let kinds: Vec<_> = receipt.failures().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::Unconfirmed; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refused_everything_before_the_deadline_may_be_tried_again() {
    let ports = Ports::default().admits().finds(2);
    let ports = ports.publisher(silent_after(|deliveries| {
        for delivery in deliveries {
            delivery.mark_failed(FailureKind::QueueUnavailable);
        }
    }));
    assert!(ports.play(&caller()).await.is_late());
}

#[tokio::test(start_paused = true)]
async fn one_unclassified_failure_is_enough_for_a_receipt() {
    let ports = Ports::default().admits().finds(2);
    let ports = ports.publisher(silent_after(|deliveries| {
        deliveries[0].mark_failed(FailureKind::QueueUnavailable);
        deliveries[1].mark_failed(FailureKind::Internal);
    }));
    let receipt = ports.play(&caller()).await.answer.unwrap();
    assert_eq!(receipt.failures().count(), 2);
}

/// Like a database transaction: nothing is queued unless it lives to commit, and dropping it rolls back.
struct Transactional {
    commits_after: Duration,
}

struct Transaction<'a> {
    deliveries: &'a mut [Delivery],
    committed: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.committed {
            for delivery in &mut *self.deliveries {
                delivery.mark_failed(FailureKind::QueueUnavailable);
            }
        }
    }
}

impl DeliveryPublisher for Transactional {
    async fn publish(&self, _: &Event, deliveries: &mut [Delivery]) {
        let mut transaction = Transaction {
            deliveries,
            committed: false,
        };
        sleep(self.commits_after).await;
        transaction
            .deliveries
            .iter_mut()
            .for_each(Delivery::mark_published);
        transaction.committed = true;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_rolls_back_when_dropped_makes_the_deadline_an_error() {
    let ports = Ports::default().admits().finds(4);
    let commits_after = TIMEOUT + MS;
    let publisher = Transactional { commits_after };
    let played = ports.play_with(publisher, &caller()).await;
    assert!(played.is_late());
    assert_eq!(played.elapsed, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_commits_in_time_does_not_roll_back() {
    let ports = Ports::default().admits().finds(4);
    let publisher = Transactional {
        commits_after: ALMOST,
    };
    let played = ports.play_with(publisher, &caller()).await;
    assert_eq!(played.answer.unwrap().delivery_ids().count(), 4);
    assert_eq!(played.elapsed, ALMOST);
}
