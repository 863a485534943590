//! A run before it begins: its size, its faults and its numbers, all drawn from a seed.

use std::fmt;
use std::time::Duration;

use crate::random::Random;

/// Kinds of faults, by their bits in [`Faults`].
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $bit:literal),+ $(,)?) => {
        impl Faults {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+

            /// Every kind with its name.
            pub const KINDS: &[(&'static str, Self)] = &[$((stringify!($name), Self::$name)),+];
        }
    };
}

/// A set of kinds of faults.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Faults(u32);

faults! {
    /// A call does nothing and fails.
    REFUSE = 0,
    /// A call is carried out, and its answer is lost.
    LOSE = 1,
    /// A call is carried out seconds later, perhaps after its caller has given up.
    STALL = 2,
    /// A settlement is carried out twice, as by a connection that sends again.
    REPEAT = 3,
    /// A server is killed before or after a call, and started again later.
    KILL = 4,
    /// A server is stopped gracefully, and started again later.
    STOP = 5,
    /// A wake of the queue is lost, late, or comes for nothing.
    WAKE = 6,
    /// Receivers answer with errors, or not at all.
    FAIL = 7,
    /// Receivers take seconds to answer.
    SLOW = 8,
    /// Receivers never answer.
    HANG = 9,
    /// Receivers answer 410.
    GONE = 10,
    /// Endpoints are deleted, disabled, enabled and made.
    CHANGE = 11,
    /// Clocks jump by up to two seconds.
    CLOCK = 12,
    /// The queue takes some deliveries of an event and refuses others.
    PART = 13,
    /// A server that lives is taken for dead, and what it had in hand is given to others.
    DEAD = 14,
}

impl Faults {
    /// Those of receivers and of what people change: servers and their store are well.
    const OUTSIDE: Self = Self(
        Self::FAIL.0 | Self::SLOW.0 | Self::HANG.0 | Self::GONE.0 | Self::CHANGE.0 | Self::PART.0,
    );

    /// Returns true if servers and their store are well.
    pub const fn are_outside(self) -> bool {
        self.0 & !Self::OUTSIDE.0 == 0
    }

    /// Returns true if the set has this kind.
    pub const fn has(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    /// The set without this kind.
    #[must_use]
    pub const fn without(self, kind: Self) -> Self {
        Self(self.0 & !kind.0)
    }

    /// Reads the names that [`Display`](fmt::Display) writes; what is unknown is left out.
    pub fn named(names: &str) -> Self {
        let kinds = Self::KINDS.iter();
        let kinds = kinds.filter(|(name, _)| names.split(',').any(|it| it == *name));
        Self(kinds.fold(0, |all, (_, kind)| all | kind.0))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = Self::KINDS.iter().filter(|(_, kind)| self.has(*kind));
        let names: Vec<_> = kinds.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

/// A run before it begins. The same plan always runs the same way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Everything that is random follows from it.
    pub seed: u64,
    /// Kinds of faults that occur.
    pub faults: Faults,
    /// Number of steps before the calm; most are triggers.
    pub steps: u64,
    /// Number of servers, each with ingest and a worker.
    pub servers: usize,
    /// Number of endpoints at the beginning.
    pub endpoints: u64,
    /// True if deliveries are queued as records that servers take from a store, false if the store hands out each delivery.
    pub has_records: bool,
    /// One call in so many goes wrong.
    pub calls_per_fault: u64,
    /// Duration of a lease.
    pub lease: Duration,
    /// Slots of a worker.
    pub slots: usize,
}

impl Plan {
    /// The plan that belongs to a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let kinds = random.next() & random.next() | random.next() & random.next();
        let kinds = u32::try_from(kinds & 0x7fff).unwrap_or_default();
        Self {
            seed,
            // The fewer kinds, the less the oracle excuses.
            faults: Faults(match random.below(16) {
                0 => 0,
                1..4 => kinds & Faults::OUTSIDE.0,
                _ => kinds,
            }),
            steps: 4 + random.below(18),
            servers: random.pick(&[1, 2, 2, 3]),
            endpoints: 2 + random.below(5),
            has_records: random.one_in(2),
            calls_per_fault: random.pick(&[4, 10, 30]),
            lease: Duration::from_secs(random.pick(&[10, 30, 60])),
            slots: random.pick(&[8, 32]),
        }
    }

    /// The plans that are this one with less of something, to find the smallest that fails.
    pub fn smaller(&self) -> Vec<Self> {
        let kinds = Faults::KINDS.iter().map(|(_, kind)| *kind);
        let kinds = kinds.filter(|kind| self.faults.has(*kind));
        let with = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            plan
        };
        let mut plans: Vec<_> = kinds
            .map(|kind| with(&|plan| plan.faults = plan.faults.without(kind)))
            .collect();
        for steps in [self.steps / 2, self.steps.saturating_sub(1)] {
            plans.push(with(&|plan| plan.steps = steps));
        }
        plans.push(with(&|plan| plan.servers = (plan.servers - 1).max(1)));
        plans.push(with(&|plan| plan.endpoints = (plan.endpoints - 1).max(1)));
        plans.retain(|plan| plan != self);
        plans
    }
}

impl fmt::Display for Plan {
    /// The variables of the environment that replay it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NAHOOK_SEED={} NAHOOK_FAULTS={} NAHOOK_STEPS={} NAHOOK_SERVERS={} NAHOOK_ENDPOINTS={}",
            self.seed, self.faults, self.steps, self.servers, self.endpoints
        )
    }
}
