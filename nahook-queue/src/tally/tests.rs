use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{Event, Payload};

use super::*;
use crate::{Attempt, CountsQuery, Lease, LeaseToken};

/// Takes so many calls, and refuses those after them.
#[derive(Default)]
struct Store {
    taken: Mutex<Vec<RollUp>>,
    calls_left: Mutex<usize>,
}

#[async_trait]
impl DeliveryCounts for Store {
    async fn add_counts(&self, roll_ups: &[RollUp]) -> Result<(), StoreError> {
        let mut left = self.calls_left.lock().unwrap();
        *left = left
            .checked_sub(1)
            .ok_or_else(|| StoreError::unavailable("no more calls"))?;
        self.taken.lock().unwrap().extend_from_slice(roll_ups);
        Ok(())
    }

    async fn counts(&self, _: &CountsQuery) -> Result<Vec<RollUp>, StoreError> {
        Ok(Vec::new())
    }
}

impl Store {
    fn taking(calls: usize) -> Self {
        Self {
            calls_left: Mutex::new(calls),
            ..Self::default()
        }
    }

    /// The sum of what was taken of such a place.
    fn sum(&self, endpoint: Option<EndpointId>, period: Period, start: Timestamp) -> Counts {
        let taken = self.taken.lock().unwrap();
        let of = |it: &&RollUp| (it.endpoint, it.period, it.start) == (endpoint, period, start);
        let mut sum = Counts::default();
        taken.iter().filter(of).for_each(|it| sum.add(&it.counts));
        sum
    }
}

const START: Timestamp = Timestamp::from_millis(1_795_680_000_000);

fn at(secs: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(secs))
}

fn workspace() -> WorkspaceId {
    WorkspaceId::new("ws_1").unwrap()
}

fn endpoint(number: u32) -> EndpointId {
    EndpointId::new(&format!("ep_{number}")).unwrap()
}

/// Settles a delivery that was accepted then and whose attempt ended two seconds later.
fn settle(tally: &Tally, number: u32, accepted_at: Timestamp, next: Next, error: Option<&str>) {
    let lease = Lease {
        delivery: DeliveryId::nth(MessageId::from_bits(7), 0),
        token: LeaseToken(1),
    };
    let (payload, message) = (Payload::new("{}").unwrap(), MessageId::from_bits(7));
    let event = Event::direct(payload, message, workspace(), None, accepted_at);
    let delivery = LeasedDelivery::new(lease, &event, endpoint(number), 0);
    let attempt = Attempt {
        started_at: accepted_at.saturating_add(Duration::from_secs(1)),
        duration: Duration::from_secs(1),
        status_code: None,
        error: error.map(str::to_owned),
        response_body: None,
    };
    let settlement = Settlement {
        lease,
        attempt: Some(attempt),
        next,
    };
    tally.settled(&delivery, &settlement);
}

#[tokio::test]
async fn settlements_count_for_the_workspace_and_for_the_endpoint() {
    let (tally, store) = (Tally::default(), Store::taking(9));
    tally.accepted(workspace(), at(5));
    settle(&tally, 1, at(5), Next::Delivered, None);
    settle(&tally, 1, at(70), Next::Retry(at(99)), Some("no"));
    settle(&tally, 2, at(70), Next::DeadLetter, Some("no"));
    settle(
        &tally,
        2,
        at(70),
        Next::Failed,
        Some("not attempted: disabled"),
    );
    tally.write(&store, usize::MAX).await.unwrap();

    let hour = store.sum(None, Period::Hour, START);
    let numbers = (hour.events, hour.delivered, hour.failed, hour.abandoned);
    assert_eq!(numbers, (1, 1, 2, 2));
    assert_eq!(hour.latency(0.5), Some(Duration::from_secs(2)));
    let first = store.sum(None, Period::Minute, START);
    assert_eq!((first.events, first.delivered, first.failed), (1, 1, 0));
    let second = store.sum(None, Period::Minute, at(60));
    assert_eq!(
        (second.delivered, second.failed, second.abandoned),
        (0, 2, 2)
    );
    let one = store.sum(Some(endpoint(1)), Period::Hour, START);
    assert_eq!((one.events, one.delivered, one.failed), (0, 1, 1));
    let two = store.sum(Some(endpoint(2)), Period::Hour, START);
    assert_eq!((two.failed, two.abandoned), (1, 2));
    // Endpoints have no minutes, and nothing is written twice.
    assert_eq!(store.taken.lock().unwrap().len(), 5);
    tally.write(&store, usize::MAX).await.unwrap();
    assert_eq!(store.taken.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn refused_counts_are_written_the_next_time() {
    let tally = Tally::default();
    let count = u32::try_from(3 * PER_CALL).unwrap();
    let stores = [0, 1, 2, 9].map(Store::taking);
    for (number, store) in (0..).zip(&stores) {
        for of in 0..count {
            settle(&tally, of, at(0), Next::Delivered, None);
        }
        assert_eq!(tally.write(store, usize::MAX).await.is_ok(), number == 3);
    }
    let sum = |of: Option<u32>| -> u64 {
        let sums = stores
            .iter()
            .map(|store| store.sum(of.map(endpoint), Period::Hour, START).delivered);
        sums.sum()
    };
    assert_eq!(sum(None), u64::from(4 * count));
    assert!((0..count).all(|of| sum(Some(of)) == 4));
}

#[tokio::test]
async fn endpoints_that_wait_longest_are_written_first() {
    let (tally, store) = (Tally::default(), Store::taking(99));
    for write in 1..=4 {
        for of in 0..20 {
            settle(&tally, of, at(0), Next::Delivered, None);
        }
        tally.write(&store, 5).await.unwrap();
        let taken = store.taken.lock().unwrap();
        let endpoints: HashSet<_> = taken.iter().filter_map(|it| it.endpoint).collect();
        // Those of each write are others, however much is counted meanwhile.
        assert_eq!(endpoints.len(), 5 * write);
    }
    // A workspace's are written each time; of the endpoints nothing is lost.
    let hour = store.sum(None, Period::Hour, START);
    assert_eq!(hour.delivered, 80);
    tally.write(&store, usize::MAX).await.unwrap();
    for of in 0..20 {
        let hour = store.sum(Some(endpoint(of)), Period::Hour, START);
        assert_eq!(hour.delivered, 4, "{of}");
    }
}

#[test]
fn full_tally_counts_for_the_workspace() {
    let tally = Tally::default();
    settle(&tally, 0, at(0), Next::Delivered, None);
    tally.accepted(workspace(), at(0));
    let counted = u32::try_from(PLACES_MAX).unwrap() + 50;
    for number in 1..counted {
        settle(&tally, number, at(0), Next::Delivered, None);
    }
    let roll_ups = tally.take(usize::MAX);
    let hour = roll_ups
        .iter()
        .find(|it| it.endpoint.is_none() && it.period == Period::Hour);
    assert_eq!(hour.unwrap().counts.delivered, u64::from(counted));
    assert_eq!(roll_ups.len(), PLACES_MAX + 1);
}

#[test]
fn latency_is_the_bound_that_the_share_kept() {
    let mut counts = Counts::default();
    assert_eq!(counts.latency(0.5), None);
    for millis in [1, 5, 6, 20, 21, 21, 40, 60, 90, 90_000_000] {
        counts.note_latency(Duration::from_millis(millis));
    }
    let bound = |share| counts.latency(share).map(|bound| bound.as_millis());
    assert_eq!(bound(0.0), Some(5));
    assert_eq!(bound(0.2), Some(5));
    assert_eq!(bound(0.3), Some(10));
    assert_eq!(bound(0.5), Some(50));
    assert_eq!(bound(0.9), Some(100));
    assert_eq!(bound(0.99), None);
    assert_eq!(Counts::from_numbers(counts.to_numbers()), counts);
}
