//! Ids that come out the same in every run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nahook_core::IdSource;

/// Draws the same ids for the same seed, all different; clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct SeededIds {
    seed: u64,
    drawn: Arc<AtomicU64>,
}

impl SeededIds {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: Arc::new(AtomicU64::new(0)),
        }
    }
}

impl Default for SeededIds {
    fn default() -> Self {
        Self::new(0)
    }
}

impl IdSource for SeededIds {
    fn random(&self) -> u128 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        // A bijection of the counter in the lower half keeps the ids of one sequence apart.
        let upper = mixed(self.seed ^ mixed(!drawn));
        let lower = mixed(drawn ^ mixed(self.seed));
        (u128::from(upper) << 64) | u128::from(lower)
    }
}

/// The finaliser of `SplitMix64`: a bijection that spreads neighbouring numbers.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
