//! Generators of what goes wrong.

use std::time::Duration;

use nahook_core::FailureKind;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{Answer, Fault, FaultScript, Order};

/// Any fault that a publisher may have without breaking its contract, biased to none.
pub fn honest_fault() -> impl Strategy<Value = Fault> {
    fault().prop_map(|mut fault| {
        // The two dishonest corners become the honest ones next to them.
        if !fault.is_honest() {
            fault.taken = !fault.taken;
        }
        fault
    })
}

/// Any fault, dishonest ones included: an acknowledgement of what was not taken, a definite failure of what was.
fn fault() -> impl Strategy<Value = Fault> {
    let any = (any::<bool>(), answer(), instant(), instant()).prop_map(
        |(taken, answer, delay, latency)| Fault::new(taken, answer).after(delay, latency),
    );
    prop_oneof![2 => Just(Fault::NONE), 3 => any]
}

/// Honest faults for each of `width` slots, in any order, of a publisher that may or may not write all or nothing.
pub fn honest_fault_script(width: usize) -> impl Strategy<Value = FaultScript> {
    let faults = prop::collection::vec(honest_fault(), width);
    let order = prop_oneof![
        Just(Order::Forward),
        Just(Order::Reverse),
        any::<u64>().prop_map(Order::Shuffled),
    ];
    (faults, order, prop::bool::weighted(0.2)).prop_map(|(faults, order, rolls_back)| {
        let script = FaultScript::new(faults).in_order(order);
        if rolls_back {
            script.rolling_back()
        } else {
            script
        }
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Acknowledge),
        8 => select(&FailureKind::ALL[..]).prop_map(Answer::Fail),
        2 => Just(Answer::Omit),
        1 => Just(Answer::Silence),
        1 => Just(Answer::Panic),
    ]
}

/// Nothing, a moment, or around the contract's five seconds.
fn instant() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => Just(Duration::ZERO),
        3 => (1_u64..1_000).prop_map(Duration::from_millis),
        1 => (4_900_u64..5_100).prop_map(Duration::from_millis),
    ]
}
