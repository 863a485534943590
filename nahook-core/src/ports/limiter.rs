//! How much a caller may ask for.

use std::time::Duration;

use super::erase;
use crate::{Caller, StoreError};

/// A rate limiter's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a limiter admits or refuses")]
pub enum Verdict {
    /// One token was spent at each level.
    Admit,
    /// Nothing was spent at any level.
    Refuse {
        /// The shortest time after which the same check would admit, if nobody else came: never zero.
        retry_after: Duration,
    },
}

/// Spends a caller's tokens at two levels: what its workspace's keys share, and the key's own.
pub trait RateLimiter: Send + Sync {
    /// Spends one token of the caller's workspace and one of its key, or neither.
    ///
    /// # Behaviour
    /// * The rates are those of the caller's [`Plan`](crate::Plan); a level without a rate is unlimited.
    /// * A refusal spends nothing, and names the longer of the levels' waits exactly.
    /// * Concurrent checks never admit more than the burst plus what has come back since.
    /// * An error means that nothing is known; the engine then does what its settings say.
    fn check(&self, caller: &Caller) -> impl Future<Output = Result<Verdict, StoreError>> + Send;
}

erase! {
    /// [`RateLimiter`] as a trait object.
    RateLimiter as DynRateLimiter {
        fn check / check_dyn(caller: &Caller) -> Result<Verdict, StoreError>;
    }
}
