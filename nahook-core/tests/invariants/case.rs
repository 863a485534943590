//! The parts of a case, and the strategies that draw cases.

use std::ops::Range;
use std::time::Duration;

use nahook_core::FailureKind;
use nahook_core::admission::LimiterDown;
use nahook_testkit::{Answer, Fault, FaultScript, Order};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One trigger, with everything that happens to it. Durations are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Seed of the ids.
    pub(crate) seed: u64,
    pub(crate) reach: Reach,
    pub(crate) is_oversized: bool,
    /// True if the ports are trait objects.
    pub(crate) is_erased: bool,
    pub(crate) timeout: u64,
    pub(crate) limiter: Step<LimiterAnswer>,
    pub(crate) limiter_down: LimiterDown,
    pub(crate) store: Step<StoreAnswer>,
    pub(crate) queue: Queue,
}

/// The reach of the caller's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    Workspace,
    Environment,
    Endpoint,
}

/// A port's answer, and when it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<A> {
    pub(crate) after: u64,
    pub(crate) answer: A,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LimiterAnswer {
    Admit,
    Refuse,
    Error,
    Panic,
    Silence,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StoreAnswer {
    Found,
    Unknown,
    Error,
    Panic,
    Silence,
}

/// A script for each delivery on its way to the queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// One for each subscribed endpoint.
    pub(crate) faults: Vec<Fault>,
    pub(crate) order: Order,
    /// True if everything is taken at the end or nothing is, and dropping rolls back.
    pub(crate) is_transaction: bool,
}

impl Queue {
    pub(crate) fn script(&self) -> FaultScript {
        let script = FaultScript::new(self.faults.clone()).in_order(self.order);
        if self.is_transaction {
            script.rolling_back()
        } else {
            script
        }
    }
}

/// Every combination of a delivery's being taken and the publisher's answer about it.
const ALL: [(bool, Answer); 11] = [
    (true, Answer::Acknowledge),
    (false, Answer::Fail(FailureKind::EndpointGone)),
    (false, Answer::Fail(FailureKind::PayloadTooLarge)),
    (false, Answer::Fail(FailureKind::QueueUnavailable)),
    (true, Answer::Fail(FailureKind::Internal)),
    (false, Answer::Fail(FailureKind::Internal)),
    (true, Answer::Fail(FailureKind::Unconfirmed)),
    (false, Answer::Fail(FailureKind::Unconfirmed)),
    (true, Answer::Omit),
    (false, Answer::Omit),
    (true, Answer::Silence),
];

/// Queues that do not do everything at once: among two thousand deliveries everything would always go wrong somewhere.
const MOODS: [&[(bool, Answer)]; 7] = [
    &ALL,
    ALL.split_at(10).0,
    &[(true, Answer::Acknowledge)],
    &[(false, Answer::Fail(FailureKind::QueueUnavailable))],
    &[(true, Answer::Omit), (false, Answer::Omit)],
    &[
        (true, Answer::Acknowledge),
        (false, Answer::Fail(FailureKind::EndpointGone)),
    ],
    &[
        (false, Answer::Fail(FailureKind::QueueUnavailable)),
        (false, Answer::Fail(FailureKind::PayloadTooLarge)),
    ],
];

/// Reads a fault out of 64 random bits: cheaper to draw and to shrink than a structure, by the thousand.
fn fault_of(bits: u64, mood: &[(bool, Answer)], spread: u64) -> Fault {
    let (taken, answer) = mood[usize::try_from(bits & 0xff).unwrap() % mood.len()];
    let millis = |bits: u64| Duration::from_millis((bits & 0xff_ffff) % spread);
    Fault::new(taken, answer).after(millis(bits >> 8), millis(bits >> 32))
}

/// Any trigger.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let reach = prop_oneof![
        8 => Just(Reach::Workspace),
        8 => Just(Reach::Environment),
        1 => Just(Reach::Endpoint),
    ];
    let limiter = prop_oneof![
        20 => Just(LimiterAnswer::Admit),
        2 => Just(LimiterAnswer::Refuse),
        2 => Just(LimiterAnswer::Error),
        1 => Just(LimiterAnswer::Panic),
        1 => Just(LimiterAnswer::Silence),
    ];
    let limiter_down = prop_oneof![Just(LimiterDown::Admit), Just(LimiterDown::Refuse)];
    let store = prop_oneof![
        20 => Just(StoreAnswer::Found),
        1 => Just(StoreAnswer::Unknown),
        1 => Just(StoreAnswer::Error),
        1 => Just(StoreAnswer::Panic),
        1 => Just(StoreAnswer::Silence),
    ];
    (
        (
            any::<u64>(),
            reach,
            prop::bool::weighted(0.05),
            any::<bool>(),
        ),
        prop_oneof![Just(5_000_u64), 1_u64..6_000],
        (latencies(), limiter),
        limiter_down,
        (latencies(), store),
        queues(),
    )
        .prop_map(
            |(
                (seed, reach, is_oversized, is_erased),
                timeout,
                (limiter_after, limiter),
                limiter_down,
                (store_after, store),
                queue,
            )| Case {
                seed,
                reach,
                is_oversized,
                is_erased,
                timeout,
                limiter: Step {
                    after: limiter_after,
                    answer: limiter,
                },
                limiter_down,
                store: Step {
                    after: store_after,
                    answer: store,
                },
                queue,
            },
        )
}

/// A trigger that reaches the queue, if it is let to before the deadline.
pub(crate) fn admitted_cases() -> impl Strategy<Value = Case> {
    cases().prop_map(|case| Case {
        reach: match case.reach {
            Reach::Endpoint => Reach::Workspace,
            reach => reach,
        },
        is_oversized: false,
        limiter: Step {
            after: case.limiter.after % 100,
            answer: LimiterAnswer::Admit,
        },
        store: Step {
            after: case.store.after % 100,
            answer: StoreAnswer::Found,
        },
        ..case
    })
}

/// Draws faults of single deliveries; no panic, which would be the publisher's and not the delivery's.
pub(crate) fn faults() -> impl Strategy<Value = Fault> {
    any::<u64>().prop_map(|bits| fault_of(bits, &ALL, 6_000))
}

fn latencies() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 4 => 0_u64..50, 1 => 0_u64..6_000]
}

fn queues() -> impl Strategy<Value = Queue> {
    let widths: [Range<usize>; 3] = [0..9, 0..101, 0..2_001];
    let [narrow, middling, wide] = widths.map(|width| vec(any::<u64>(), width));
    let bits = prop_oneof![3 => narrow, 3 => middling, 2 => wide];
    let mood = select(&MOODS[..]);
    let spread = select(&[1_u64, 50, 6_000][..]);
    let order = prop_oneof![
        Just(Order::Forward),
        Just(Order::Reverse),
        any::<u64>().prop_map(Order::Shuffled),
    ];
    let ending = prop::option::weighted(
        0.3,
        (
            any::<Index>(),
            select(&[Answer::Panic, Answer::Silence][..]),
        ),
    );
    (
        bits,
        mood,
        spread,
        order,
        prop::bool::weighted(0.25),
        ending,
    )
        .prop_map(|(bits, mood, spread, order, is_transaction, ending)| {
            let faults = bits.into_iter().map(|bits| fault_of(bits, mood, spread));
            let mut faults: Vec<_> = faults.collect();
            if let Some((at, answer)) = ending
                && !faults.is_empty()
            {
                let at = at.index(faults.len());
                faults[at].answer = answer;
            }
            Queue {
                faults,
                order,
                is_transaction,
            }
        })
}
