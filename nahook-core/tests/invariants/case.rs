//! What a case consists of, and how cases are drawn.

use std::ops::Range;

use nahook_core::{FailureKind, LimiterDown};
use proptest::collection::vec;
use proptest::prelude::*;

/// One trigger, with everything that happens to it. Durations are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Where the ids come from.
    pub(crate) seed: u64,
    pub(crate) reach: Reach,
    pub(crate) is_oversized: bool,
    /// Whether the ports are trait objects.
    pub(crate) is_erased: bool,
    pub(crate) timeout: u64,
    pub(crate) limiter: Step<LimiterAnswer>,
    pub(crate) limiter_down: LimiterDown,
    pub(crate) store: Step<StoreAnswer>,
    pub(crate) queue: QueueScript,
}

/// What the caller's key reaches.
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

/// What the queue does with each delivery, counted from when it is asked.
#[derive(Clone, Debug)]
pub(crate) struct QueueScript {
    /// One for each subscribed endpoint.
    pub(crate) fates: Vec<Fate>,
    /// Whether everything is taken at the end or nothing is, and dropping rolls back.
    pub(crate) is_transaction: bool,
    pub(crate) ending: Ending,
}

/// Whether the queue takes a delivery, and what it says of that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) taken: bool,
    pub(crate) said: Said,
    pub(crate) taken_at: u64,
    pub(crate) said_at: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// An acknowledgement, of a delivery that it has taken.
    Published,
    /// A failure; a definite one only of a delivery that it has not taken.
    Failed(FailureKind),
    /// Nothing.
    Nothing,
}

/// How the publisher ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// By returning once everything is said.
    Return,
    /// Not at all.
    Silence,
    /// By a panic at that time, whatever is left to do.
    Panic(u64),
}

const MOODS: [&[(bool, Said)]; 8] = [
    &ALL,
    &ALL,
    &ALL,
    &[(true, Said::Published)],
    &[(false, Said::Failed(FailureKind::QueueUnavailable))],
    &[(true, Said::Nothing), (false, Said::Nothing)],
    &[
        (true, Said::Published),
        (false, Said::Failed(FailureKind::EndpointGone)),
    ],
    &[
        (false, Said::Failed(FailureKind::QueueUnavailable)),
        (false, Said::Failed(FailureKind::PayloadTooLarge)),
    ],
];

/// Taken and acknowledged, in every combination that a port may answer.
const ALL: [(bool, Said); 8] = [
    (true, Said::Published),
    (false, Said::Failed(FailureKind::EndpointGone)),
    (false, Said::Failed(FailureKind::PayloadTooLarge)),
    (false, Said::Failed(FailureKind::QueueUnavailable)),
    (true, Said::Failed(FailureKind::Internal)),
    (false, Said::Failed(FailureKind::Internal)),
    (true, Said::Nothing),
    (false, Said::Nothing),
];

impl Fate {
    /// Reads a fate out of 64 random bits: cheaper to draw and to shrink than a structure, by the thousand.
    fn of(bits: u64, mood: &[(bool, Said)], spread: u64) -> Self {
        let (taken, said) = mood[usize::try_from(bits & 0xff).unwrap() % mood.len()];
        let taken_at = (bits >> 8 & 0xff_ffff) % spread;
        Self {
            taken,
            said,
            taken_at,
            said_at: taken_at + (bits >> 32 & 0xff_ffff) % spread,
        }
    }
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
        queue_scripts(),
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

/// What another fate would be for one of the endpoints.
pub(crate) fn fates() -> impl Strategy<Value = Fate> {
    any::<u64>().prop_map(|bits| Fate::of(bits, &ALL, 6_000))
}

fn latencies() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 4 => 0_u64..50, 1 => 0_u64..6_000]
}

fn queue_scripts() -> impl Strategy<Value = QueueScript> {
    let widths: [Range<usize>; 3] = [0..9, 0..101, 0..2_001];
    let [narrow, middling, wide] = widths.map(|width| vec(any::<u64>(), width));
    let bits = prop_oneof![3 => narrow, 3 => middling, 2 => wide];
    let ending = prop_oneof![
        6 => Just(Ending::Return),
        2 => Just(Ending::Silence),
        1 => (0_u64..6_000).prop_map(Ending::Panic),
    ];
    let mood = (0..MOODS.len()).prop_map(|mood| MOODS[mood]);
    let spread = prop_oneof![Just(1_u64), Just(50), Just(6_000)];
    (bits, prop::bool::weighted(0.25), ending, mood, spread).prop_map(
        |(bits, is_transaction, ending, mood, spread)| QueueScript {
            fates: bits
                .into_iter()
                .map(|bits| Fate::of(bits, mood, spread))
                .collect(),
            is_transaction,
            ending,
        },
    )
}
