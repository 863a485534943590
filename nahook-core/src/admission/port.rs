//! The rate limiter's port.

use std::time::Duration;

use crate::StoreError;
use crate::admission::{Allowance, Caller};
use crate::ports::erase;

/// A rate limiter's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// One token was spent at each level.
    Admit,
    /// Nothing was spent at any level.
    Refuse {
        /// The shortest time after which the same check would admit if no other came: never zero.
        retry_after: Duration,
    },
}

/// A rate limiter's answer to a caller that wants several tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Number of tokens that were spent at each level: as many as were wanted, or as there were.
    pub admitted: u32,
    /// Absent if that is all of them; else the wait that a check for one more was refused with.
    pub refused: Option<Duration>,
}

/// Spends a caller's tokens at two levels: what its workspace's keys share, and the key's own.
pub trait RateLimiter: Send + Sync {
    /// Spends one token of the caller's workspace and one of its key, or neither.
    ///
    /// # Behaviour
    /// * The rates are those of the caller's [`Plan`](crate::admission::Plan); a level without a rate is unlimited.
    /// * A refusal spends nothing, and names the longer of the levels' waits exactly.
    /// * Concurrent checks never admit more than the burst plus what has come back since.
    /// * An error means that nothing is known; the engine then does what its settings say.
    fn check(&self, caller: &Caller) -> impl Future<Output = Result<Verdict, StoreError>> + Send;

    /// Makes as many [checks](Self::check) as tokens are wanted, one after the other until one refuses, in as few round trips
    /// to the back end as one would take.
    fn check_many(
        &self,
        caller: &Caller,
        wanted: u32,
    ) -> impl Future<Output = Result<Grant, StoreError>> + Send;

    /// Returns what the [tighter](Allowance::tighter) of the caller's two levels has left. Spends nothing.
    ///
    /// Answers at once, from what this process knows: a limiter that processes share states how far that may be off. A
    /// caller whose plan has no rate at all is shown as [`Allowance::unlimited`].
    fn peek(&self, caller: &Caller) -> impl Future<Output = Result<Allowance, StoreError>> + Send;
}

erase! {
    /// [`RateLimiter`] as a trait object.
    RateLimiter as DynRateLimiter {
        fn check / check_dyn(caller: &Caller) -> Result<Verdict, StoreError>;
        fn check_many / check_many_dyn(caller: &Caller, wanted: u32) -> Result<Grant, StoreError>;
        fn peek / peek_dyn(caller: &Caller) -> Result<Allowance, StoreError>;
    }
}
