//! Outcomes of a fan-out, in numbers.

use std::fmt;

use nahook_core::{FailureKind, Outcome, Receipt};

/// Number of deliveries for each outcome; counted in one pass, however wide the fan-out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) published: usize,
    /// In the order of [`FailureKind::ALL`].
    failed: [usize; FailureKind::ALL.len()],
}

impl Tally {
    pub(crate) fn of(receipt: &Receipt) -> Self {
        let mut tally = Self {
            published: 0,
            failed: [0; FailureKind::ALL.len()],
        };
        for delivery in receipt.deliveries() {
            match delivery.outcome() {
                Outcome::Failed(kind) => tally.failed[position(kind)] += 1,
                Outcome::Published | Outcome::Replayed(_) => tally.published += 1,
            }
        }
        tally
    }

    /// The kinds of failure that occurred, and how often.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (FailureKind, usize)> {
        let counts = FailureKind::ALL.into_iter().zip(self.failed);
        counts.filter(|(_, count)| *count > 0)
    }
}

/// Shows the failures by code.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures().map(|(kind, count)| (kind.code(), count));
        f.debug_map().entries(failures).finish()
    }
}

/// Index of the kind in [`FailureKind::ALL`].
const fn position(kind: FailureKind) -> usize {
    match kind {
        FailureKind::EndpointGone => 0,
        FailureKind::Internal => 1,
        FailureKind::PayloadTooLarge => 2,
        FailureKind::QueueUnavailable => 3,
        FailureKind::Unconfirmed => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_all() {
        for (expected, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(position(kind), expected);
        }
    }
}
