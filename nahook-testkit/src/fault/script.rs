//! Scripts of faults, delivery by delivery.

use std::time::Duration;

use nahook_core::FailureKind;

use crate::double::mixed;

/// Fault of one delivery on its way to the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fault {
    /// True if the queue takes it.
    pub taken: bool,
    /// Time that the queue needs to take it. A publication that is dropped before that has not been taken.
    pub delay: Duration,
    /// Answer that the publisher gets.
    pub answer: Answer,
    /// Latency of the answer after that.
    pub latency: Duration,
}

/// Answer that the publisher gets for a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// That the queue holds it.
    Acknowledge,
    /// That it failed like this.
    Fail(FailureKind),
    /// Nothing; the publisher goes on and leaves the slot alone.
    Omit,
    /// The publisher panics.
    Panic,
    /// Nothing; the publisher waits for ever.
    Silence,
}

/// In which order deliveries that are due at the same time are taken and answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Order {
    /// First to last.
    #[default]
    Forward,
    /// Last to first.
    Reverse,
    /// As shuffled by this seed.
    Shuffled(u64),
}

/// Faults of the deliveries of every publication: the first slot has the first fault, and so on; slots beyond
/// the last fault come to no harm.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FaultScript {
    faults: Vec<Fault>,
    order: Order,
    rolls_back: bool,
}

impl Fault {
    /// None: taken and acknowledged, at once.
    pub const NONE: Self = Self {
        taken: true,
        delay: Duration::ZERO,
        answer: Answer::Acknowledge,
        latency: Duration::ZERO,
    };

    /// Taken or not, and told this, at once.
    pub const fn new(taken: bool, answer: Answer) -> Self {
        Self {
            taken,
            answer,
            ..Self::NONE
        }
    }

    /// The fault with a queue that needs so long, and an answer that is under way for so long.
    #[must_use]
    pub const fn after(self, delay: Duration, latency: Duration) -> Self {
        Self {
            delay,
            latency,
            ..self
        }
    }

    /// Returns true if a publisher may give this answer: what it acknowledges is taken, and what it reports as a
    /// definite failure is not. Without that, a publisher breaks its port's contract.
    pub const fn is_honest(&self) -> bool {
        match self.answer {
            Answer::Acknowledge => self.taken,
            Answer::Fail(kind) => kind.may_be_queued() || !self.taken,
            Answer::Omit | Answer::Panic | Answer::Silence => true,
        }
    }

    /// An honest fault drawn from a seed: half of the time none, then anything.
    pub fn seeded(seed: u64) -> Self {
        let draw = |nth: u64, below: u64| mixed(seed ^ mixed(nth)) % below;
        if draw(0, 2) == 0 {
            return Self::NONE;
        }
        let taken = draw(1, 2) == 0;
        let answer = match draw(2, 16) {
            0 => Answer::Silence,
            1 => Answer::Panic,
            2 | 3 => Answer::Omit,
            4..=6 => Answer::Fail(FailureKind::Internal),
            7..=9 => Answer::Fail(FailureKind::Unconfirmed),
            10..=12 if taken => Answer::Acknowledge,
            13 if taken => Answer::Fail(FailureKind::Internal),
            _ if taken => Answer::Fail(FailureKind::Unconfirmed),
            10 => Answer::Fail(FailureKind::EndpointGone),
            11 => Answer::Fail(FailureKind::PayloadTooLarge),
            _ => Answer::Fail(FailureKind::QueueUnavailable),
        };
        // Nothing, a moment, just within and beyond the contract's five seconds.
        let duration = |nth| {
            Duration::from_millis(match draw(nth, 8) {
                0..=2 => 0,
                3 => 1,
                4 => 10,
                5 => 1_000,
                6 => 4_000,
                _ => 7_000,
            })
        };
        Self::new(taken, answer).after(duration(3), duration(4))
    }
}

impl FaultScript {
    /// These faults, slot by slot.
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            faults: faults.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same fault for each of the first `width` slots.
    pub fn uniform(fault: Fault, width: usize) -> Self {
        Self::new(std::iter::repeat_n(fault, width))
    }

    /// Honest faults drawn from a seed for each of the first `width` slots, in an order drawn from it too.
    pub fn seeded(seed: u64, width: usize) -> Self {
        let faults = (0..)
            .take(width)
            .map(|nth: u64| Fault::seeded(mixed(seed).wrapping_add(nth)));
        let order = match mixed(!seed) % 3 {
            0 => Order::Forward,
            1 => Order::Reverse,
            _ => Order::Shuffled(seed),
        };
        Self::new(faults).in_order(order)
    }

    /// The script with this order.
    #[must_use]
    pub fn in_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The script for a publisher that writes all or nothing: everything is taken and answered at the end, and when it
    /// is dropped before that, nothing is taken and every slot says [`FailureKind::QueueUnavailable`].
    #[must_use]
    pub fn rolling_back(mut self) -> Self {
        self.rolls_back = true;
        self
    }

    /// Returns the fault of the delivery in this slot, counted from 0.
    pub fn fault(&self, slot: usize) -> Fault {
        self.faults.get(slot).copied().unwrap_or(Fault::NONE)
    }

    /// Returns true if every fault [is honest](Fault::is_honest).
    pub fn is_honest(&self) -> bool {
        self.faults.iter().all(Fault::is_honest)
    }

    /// Returns true if no delivery comes to harm or is delayed.
    pub fn is_empty(&self) -> bool {
        self.faults.iter().all(|fault| *fault == Fault::NONE)
            && self.order == Order::Forward
            && !self.rolls_back
    }

    /// Returns true if the publisher writes all or nothing.
    pub fn rolls_back(&self) -> bool {
        self.rolls_back
    }

    /// Returns the slot's rank among those that are due at the same time.
    pub(super) fn rank(&self, slot: usize) -> u64 {
        let slot = slot as u64;
        match self.order {
            Order::Forward => slot,
            Order::Reverse => u64::MAX - slot,
            Order::Shuffled(seed) => mixed(mixed(seed) ^ slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_faults_are_honest_and_of_every_kind() {
        let faults: Vec<_> = (0..10_000).map(Fault::seeded).collect();
        assert!(faults.iter().all(Fault::is_honest));
        let answers = [
            Answer::Acknowledge,
            Answer::Omit,
            Answer::Panic,
            Answer::Silence,
            Answer::Fail(FailureKind::EndpointGone),
            Answer::Fail(FailureKind::Internal),
            Answer::Fail(FailureKind::PayloadTooLarge),
            Answer::Fail(FailureKind::QueueUnavailable),
            Answer::Fail(FailureKind::Unconfirmed),
        ];
        for answer in answers {
            assert!(
                faults.iter().any(|fault| fault.answer == answer),
                "{answer:?}"
            );
        }
        for kind in [FailureKind::Internal, FailureKind::Unconfirmed] {
            for taken in [true, false] {
                let wanted =
                    |fault: &&Fault| fault.taken == taken && fault.answer == Answer::Fail(kind);
                assert!(
                    faults.iter().any(|fault| wanted(&fault)),
                    "{kind:?}, taken: {taken}"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_script() {
        assert_eq!(FaultScript::seeded(7, 100), FaultScript::seeded(7, 100));
        assert_ne!(FaultScript::seeded(7, 100), FaultScript::seeded(8, 100));
    }
}
