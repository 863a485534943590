//! A clock that goes as tokio's does, and ids that come out the same for the same seed.

use std::sync::atomic::{AtomicU64, Ordering};

use nahook_core::{Clock, IdSource, Timestamp};
use tokio::time::Instant;

pub(crate) struct TokioClock(Instant);

impl Default for TokioClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000).saturating_add(self.0.elapsed())
    }
}

pub(crate) struct SeededIds {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededIds {
    pub(crate) fn new(seed: u64) -> Self {
        let drawn = AtomicU64::new(0);
        Self { seed, drawn }
    }
}

impl IdSource for SeededIds {
    fn random(&self) -> u128 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let half = |salt: u64| {
            let mut z = self.seed ^ drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(z ^ (z >> 31))
        };
        half(0) << 64 | half(0x5555_5555_5555_5555)
    }
}
