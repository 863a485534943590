use std::sync::atomic::{AtomicUsize, Ordering};

use nahook_core::id::{DeliveryId, MessageId};
use nahook_queue::{Backlog, Lease, LeaseBatch, LeaseRequest, LeaseToken, Next};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(1);

/// A queue that only settles, as a test says, and counts how often it is asked to.
struct Scripted<F> {
    settle: F,
    calls: AtomicUsize,
}

impl<F: Fn(&[Settlement]) -> Result<Vec<Settled>, StoreError>> Scripted<F> {
    fn new(settle: F) -> Self {
        Self {
            settle,
            calls: AtomicUsize::new(0),
        }
    }
}

#[async_trait::async_trait]
impl<F> DeliveryQueue for Scripted<F>
where
    F: Fn(&[Settlement]) -> Result<Vec<Settled>, StoreError> + Send + Sync,
{
    async fn lease(&self, _: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        Err(StoreError::internal("nothing is leased here"))
    }

    async fn extend(&self, _: &[Lease], _: Duration) -> Result<Vec<bool>, StoreError> {
        Err(StoreError::internal("nothing is extended here"))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        (self.settle)(settlements)
    }

    async fn changed(&self, _: u64) {}

    async fn backlog(&self, _: u64) -> Result<Backlog, StoreError> {
        Ok(Backlog::default())
    }
}

fn nth(ordinal: u32) -> DeliveryId {
    DeliveryId::nth(MessageId::from_bits(7), ordinal)
}

/// Settlements of so many deliveries, each of which has failed so often.
fn batch(len: u32, failures: u32) -> Vec<Pending> {
    let pending = |ordinal| Pending {
        hold: Hold {
            delivery: nth(ordinal),
            number: ordinal.into(),
        },
        settlement: Settlement {
            lease: Lease {
                delivery: nth(ordinal),
                token: LeaseToken(ordinal.into()),
            },
            attempt: None,
            next: Next::Delivered,
        },
        failures,
    };
    (0..len).map(pending).collect()
}

/// The answers in the order of the deliveries, one for each.
fn in_order(answers: Vec<(Pending, Option<Settled>)>) -> Vec<Option<Settled>> {
    let mut answers: Vec<_> = answers
        .into_iter()
        .map(|(pending, answer)| (pending.hold.number, answer))
        .collect();
    answers.sort_by_key(|(number, _)| *number);
    let numbers = answers.iter().map(|(number, _)| *number);
    assert!(numbers.eq(0..answers.len() as u64), "one for each");
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[test]
fn pauses_double_from_a_tenth_of_a_second_to_five_seconds() {
    let millis = [0, 1, 2, 3, 4, 5, 6, 7, 8, 40, u32::MAX].map(|n| backoff(n).as_millis());
    let expected = [
        100, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000,
    ];
    assert_eq!(millis, expected);
}

#[tokio::test(start_paused = true)]
async fn every_settlement_gets_its_own_answer() {
    for len_max in [5, 2] {
        let queue = Scripted::new(|settlements: &[Settlement]| {
            if settlements.len() > len_max {
                return Err(StoreError::internal("planted"));
            }
            let of = |settlement: &Settlement| match settlement.lease.token {
                LeaseToken(0 | 3) => Settled::LeaseLost,
                _ => Settled::Done,
            };
            Ok(settlements.iter().map(of).collect())
        });
        let answers = in_order(settle(&queue, batch(5, 0), TIMEOUT).await);
        let (done, lost) = (Some(Settled::Done), Some(Settled::LeaseLost));
        assert_eq!(answers, [lost, done, done, lost, done], "{len_max}");
    }
}

#[tokio::test(start_paused = true)]
async fn answer_of_another_length_settles_nothing() {
    for surplus in [-1, 1] {
        let queue = Scripted::new(|settlements: &[Settlement]| {
            let len = settlements.len().saturating_add_signed(surplus);
            Ok(vec![Settled::Done; len])
        });
        let answers = in_order(settle(&queue, batch(4, 0), TIMEOUT).await);
        assert_eq!(answers, [None; 4], "{surplus}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_settlement_is_found_wherever_it_is() {
    for poisoned in 0..64 {
        let queue = Scripted::new(|settlements: &[Settlement]| {
            let mut leases = settlements.iter().map(|settlement| settlement.lease);
            if leases.any(|lease| lease.delivery == nth(poisoned)) {
                return Err(StoreError::internal("planted"));
            }
            Ok(vec![Settled::Done; settlements.len()])
        });
        let answers = in_order(settle(&queue, batch(64, 0), TIMEOUT).await);
        assert_eq!(answers.len(), 64);
        for (ordinal, answer) in (0..).zip(answers) {
            let expected = (ordinal != poisoned).then_some(Settled::Done);
            assert_eq!(answer, expected, "{ordinal} beside {poisoned}");
        }
        // Each of six halvings asks for both halves.
        assert_eq!(queue.calls.into_inner(), 13);
    }
}

#[tokio::test(start_paused = true)]
async fn refused_settlements_far_apart_spoil_nothing_for_the_others() {
    let is_poisoned = |token: u64| token.is_multiple_of(16);
    let queue = Scripted::new(|settlements: &[Settlement]| {
        let mut tokens = settlements.iter().map(|it| it.lease.token.0);
        if tokens.any(is_poisoned) {
            return Err(StoreError::internal("planted"));
        }
        Ok(vec![Settled::Done; settlements.len()])
    });
    let answers = in_order(settle(&queue, batch(64, 0), TIMEOUT).await);
    assert_eq!(answers.len(), 64);
    for (ordinal, answer) in (0..).zip(answers) {
        assert_eq!(answer.is_none(), is_poisoned(ordinal), "{ordinal}");
    }
}

/// Twice as many calls in a row as one culprit takes at most, and the one that shows that there are more.
#[tokio::test(start_paused = true)]
async fn queue_that_takes_nothing_is_not_asked_for_each_settlement() {
    for (len, calls) in [(64, 15), (16, 11)] {
        let queue = Scripted::new(|_: &[Settlement]| Err(StoreError::internal("planted")));
        let answers = in_order(settle(&queue, batch(len, 0), TIMEOUT).await);
        assert_eq!(answers, vec![None; len as usize]);
        assert_eq!(queue.calls.into_inner(), calls, "{len}");
    }
}

#[tokio::test(start_paused = true)]
async fn batch_is_taken_apart_for_a_queue_out_of_reach_once_three_rounds_have_failed() {
    for (failures, calls, settled) in [(0, 1, 0), (2, 1, 0), (3, 5, 3)] {
        let queue = Scripted::new(|settlements: &[Settlement]| {
            let mut leases = settlements.iter().map(|settlement| settlement.lease);
            if leases.any(|lease| lease.delivery == nth(1)) {
                return Err(StoreError::unavailable("planted"));
            }
            Ok(vec![Settled::Done; settlements.len()])
        });
        let answers = in_order(settle(&queue, batch(4, failures), TIMEOUT).await);
        assert_eq!(answers.len(), 4);
        assert_eq!(answers.iter().flatten().count(), settled, "{failures}");
        assert_eq!(queue.calls.into_inner(), calls, "{failures}");
    }
}
