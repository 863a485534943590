//! Tests of the limiter's promises, against a model and against threads.

mod properties;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::admission::{Plan, Rate};

/// A clock that a test sets.
#[derive(Default)]
struct SetClock(AtomicU64);

impl SetClock {
    fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::SeqCst);
    }

    fn advance(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

const DAY_ONE: u64 = 1_700_000_000_000_000_000;

fn limiter_on(clock: &Arc<SetClock>) -> GcraLimiter {
    let clock: Arc<dyn Clock> = Arc::<SetClock>::clone(clock);
    GcraLimiter::new(clock)
}

fn limiter() -> (GcraLimiter, Arc<SetClock>) {
    let clock = Arc::new(SetClock::default());
    clock.set(DAY_ONE);
    (limiter_on(&clock), clock)
}

fn rate(interval: Duration, burst: u32) -> Rate {
    Rate::new(NonZeroU32::MIN, interval, NonZeroU32::new(burst).unwrap()).unwrap()
}

fn caller(workspace: u128, key: u128, of_workspace: Option<Rate>, of_key: Option<Rate>) -> Caller {
    Caller {
        key: ApiKeyId::from_bits(key),
        workspace: WorkspaceId::from_bits(workspace),
        environment: None,
        endpoint: None,
        plan: Plan {
            workspace_rate: of_workspace,
            key_rate: of_key,
            ..Plan::default()
        },
    }
}

fn check(limiter: &GcraLimiter, caller: &Caller) -> Verdict {
    let checking = std::pin::pin!(limiter.check(caller));
    match checking.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict.unwrap(),
        Poll::Pending => panic!("the limiter waits"),
    }
}

fn admitted_in_a_row(limiter: &GcraLimiter, caller: &Caller) -> u32 {
    (0..1_000)
        .take_while(|_| check(limiter, caller) == Verdict::Admit)
        .map(|_| 1)
        .sum()
}

fn refusal(limiter: &GcraLimiter, caller: &Caller) -> Duration {
    match check(limiter, caller) {
        Verdict::Refuse { retry_after } => retry_after,
        Verdict::Admit => panic!("admitted"),
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_burst_is_admitted_and_then_one_an_interval() {
    let (limiter, clock) = limiter();
    let caller = caller(1, 1, None, Some(rate(MS, 3)));
    assert_eq!(admitted_in_a_row(&limiter, &caller), 3);
    assert_eq!(refusal(&limiter, &caller), MS);
    clock.advance(MS);
    assert_eq!(admitted_in_a_row(&limiter, &caller), 1);
    clock.advance(MS * 100);
    assert_eq!(admitted_in_a_row(&limiter, &caller), 3);
}

#[test]
fn a_plan_without_rates_is_unlimited_and_remembered_nowhere() {
    let (limiter, _) = limiter();
    assert_eq!(
        admitted_in_a_row(&limiter, &caller(1, 1, None, None)),
        1_000
    );
    assert_eq!(limiter.snapshot(), []);
}

#[test]
fn a_workspace_rate_spans_its_keys_and_no_other_workspace() {
    let (limiter, _) = limiter();
    let shared = Some(rate(MS, 2));
    assert_eq!(check(&limiter, &caller(1, 1, shared, None)), Verdict::Admit);
    assert_eq!(check(&limiter, &caller(1, 2, shared, None)), Verdict::Admit);
    assert_eq!(refusal(&limiter, &caller(1, 3, shared, None)), MS);
    assert_eq!(check(&limiter, &caller(2, 4, shared, None)), Verdict::Admit);
}

#[test]
fn the_longer_wait_is_named() {
    let (limiter, _) = limiter();
    let caller = caller(1, 1, Some(rate(MS * 3, 1)), Some(rate(MS * 7, 1)));
    assert_eq!(check(&limiter, &caller), Verdict::Admit);
    assert_eq!(refusal(&limiter, &caller), MS * 7);
}

#[test]
fn a_new_rate_counts_from_the_next_check() {
    let (limiter, clock) = limiter();
    let hour = Duration::from_hours(1);
    let slow = caller(1, 1, None, Some(rate(hour, 2)));
    assert_eq!(admitted_in_a_row(&limiter, &slow), 2);
    assert_eq!(refusal(&limiter, &slow), hour);
    let fast = caller(1, 1, None, Some(rate(MS, 5)));
    assert_eq!(refusal(&limiter, &fast), MS);
    clock.advance(MS);
    assert_eq!(admitted_in_a_row(&limiter, &fast), 1);
    clock.advance(MS * 5);
    assert_eq!(admitted_in_a_row(&limiter, &fast), 5);
}

#[test]
fn a_clock_that_is_set_back_costs_an_interval_at_most() {
    let (limiter, clock) = limiter();
    let caller = caller(1, 1, Some(rate(MS, 4)), Some(rate(MS, 4)));
    assert_eq!(admitted_in_a_row(&limiter, &caller), 4);
    clock.set(DAY_ONE - 86_400_000_000_000);
    assert_eq!(refusal(&limiter, &caller), MS);
    clock.advance(MS);
    assert_eq!(admitted_in_a_row(&limiter, &caller), 1);
    clock.set(0);
    assert_eq!(refusal(&limiter, &caller), MS);
}

#[test]
fn whoever_has_recovered_is_forgotten() {
    let (limiter, clock) = limiter();
    let both = |id| caller(id, id, Some(rate(MS, 1)), Some(rate(MS, 1)));
    let mut most = 0;
    for id in 0..200_000 {
        assert_eq!(check(&limiter, &both(id)), Verdict::Admit);
        clock.advance(MS);
        if id % 1_000 == 0 {
            let (workspaces, keys) = (
                limiter.levels.workspaces.footprint(),
                limiter.levels.keys.footprint(),
            );
            most = most.max(workspaces.1).max(keys.1);
        }
    }
    assert!(most < 64 * 64 * 4, "{most} entries for one live caller");
}

#[test]
fn whoever_still_owes_is_not_forgotten() {
    let (limiter, _) = limiter();
    let owing = |id| caller(id, id, None, Some(rate(MS, 1)));
    for id in 0..20_000 {
        assert_eq!(check(&limiter, &owing(id)), Verdict::Admit);
    }
    for id in 0..20_000 {
        assert_eq!(refusal(&limiter, &owing(id)), MS);
    }
}

#[test]
fn a_snapshot_restores_what_is_owed_and_never_less() {
    let (before, clock) = limiter();
    let busy = caller(1, 1, Some(rate(MS, 3)), Some(rate(MS * 2, 2)));
    assert_eq!(admitted_in_a_row(&before, &busy), 2);
    let snapshot = before.snapshot();
    assert_eq!(snapshot.len(), 2);

    let after = limiter_on(&clock);
    after.restore(snapshot.clone());
    assert_eq!(refusal(&after, &busy), MS * 2);
    clock.advance(MS * 2);
    assert_eq!(check(&after, &busy), Verdict::Admit);
    after.restore(snapshot);
    assert_eq!(refusal(&after, &busy), MS * 2);
    clock.advance(MS * 10);
    assert_eq!(after.snapshot(), []);
}

#[test]
fn whoever_recovers_this_instant_is_not_in_the_snapshot() {
    let (limiter, clock) = limiter();
    let both = caller(1, 1, Some(rate(MS, 1)), Some(rate(MS, 1)));
    assert_eq!(check(&limiter, &both), Verdict::Admit);
    clock.set(DAY_ONE + 999_999);
    assert_eq!(limiter.snapshot().len(), 2);
    clock.set(DAY_ONE + 1_000_000);
    assert_eq!(limiter.snapshot(), []);
}

#[test]
fn the_later_time_holds_whichever_is_restored() {
    let (spent_once, clock) = limiter();
    let spent_thrice = limiter_on(&clock);
    let busy = caller(1, 1, None, Some(rate(MS, 3)));
    assert_eq!(check(&spent_once, &busy), Verdict::Admit);
    assert_eq!(admitted_in_a_row(&spent_thrice, &busy), 3);
    let (less, more) = (spent_once.snapshot(), spent_thrice.snapshot());
    spent_once.restore(more.clone());
    assert_eq!(spent_once.snapshot(), more);
    assert_eq!(refusal(&spent_once, &busy), MS);
    spent_thrice.restore(less);
    assert_eq!(spent_thrice.snapshot(), more);
}

#[test]
fn what_is_left_is_told_of_the_tighter_level_and_nothing_is_spent() {
    let (limiter, clock) = limiter();
    let peek = |caller: &Caller| {
        let peeking = std::pin::pin!(limiter.peek(caller));
        match peeking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(allowance) => allowance.unwrap(),
            Poll::Pending => panic!("the limiter waits"),
        }
    };
    let told = |limit, remaining, wait| Allowance {
        limit,
        remaining,
        reset_at: Timestamp::from_nanos(DAY_ONE).saturating_add(wait),
    };
    let both = caller(1, 1, Some(rate(MS, 5)), Some(rate(MS * 7, 3)));
    assert_eq!(peek(&both), told(3, 3, Duration::ZERO));
    assert_eq!(check(&limiter, &both), Verdict::Admit);
    assert_eq!(peek(&both), told(3, 2, MS * 7));
    assert_eq!(peek(&both), told(3, 2, MS * 7));
    // Another key of the same workspace finds the shared level spent.
    let shared = |key| caller(1, key, Some(rate(MS, 5)), None);
    for _ in 0..3 {
        assert_eq!(check(&limiter, &shared(2)), Verdict::Admit);
    }
    assert_eq!(peek(&shared(2)), told(5, 1, MS * 4));
    assert_eq!(peek(&both), told(5, 1, MS * 4));
    clock.advance(MS * 4);
    assert_eq!(peek(&shared(2)), told(5, 5, MS * 4));
    assert_eq!(peek(&caller(1, 1, None, None)).limit, u32::MAX);
}

#[test]
fn clones_share_their_state() {
    let (limiter, _) = limiter();
    let caller = caller(1, 1, None, Some(rate(MS, 1)));
    assert_eq!(check(&limiter.clone(), &caller), Verdict::Admit);
    assert_eq!(refusal(&limiter, &caller), MS);
}

#[test]
fn the_most_extreme_rates_and_times_are_borne() {
    let longest = Duration::from_nanos(u64::MAX / 2);
    for interval in [Duration::from_nanos(1), MS, longest / 3, longest] {
        for burst in [1, 2, u32::MAX] {
            for start in [0, DAY_ONE, u64::MAX - 1, u64::MAX] {
                let (limiter, clock) = limiter();
                clock.set(start);
                let rate = Some(rate(interval, burst));
                let caller = caller(1, 1, rate, rate);
                assert_eq!(check(&limiter, &caller), Verdict::Admit);
                for later in [start.saturating_add(1), u64::MAX, 0] {
                    clock.set(later);
                    check(&limiter, &caller);
                }
                limiter.restore(limiter.snapshot());
            }
        }
    }
}

#[test]
fn threads_never_get_more_than_there_is_at_either_level() {
    const THREADS: u128 = 8;
    for round in 0..50 {
        let (limiter, _) = limiter();
        let barrier = Arc::new(Barrier::new(8));
        let admitted = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (limiter, barrier, admitted) =
                    (limiter.clone(), Arc::clone(&barrier), Arc::clone(&admitted));
                std::thread::spawn(move || {
                    // Two keys each share a burst of 60; all share one of 150.
                    let caller = caller(1, thread / 2, Some(rate(MS, 150)), Some(rate(MS, 60)));
                    barrier.wait();
                    for _ in 0..100 {
                        if check(&limiter, &caller) == Verdict::Admit {
                            admitted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(admitted.load(Ordering::SeqCst), 150, "round {round}");
        // Both or neither: the keys have spent together what the workspace has.
        let spent: u128 = limiter
            .snapshot()
            .into_iter()
            .filter(|(key, _)| matches!(key, LimiterKey::Key(_)))
            .map(|(_, time)| u128::from(time.as_nanos() - DAY_ONE) / MS.as_nanos())
            .sum();
        assert_eq!(spent, 150, "round {round}");
    }
}
