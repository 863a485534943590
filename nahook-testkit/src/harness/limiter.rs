//! The harness of a rate limiter.

use std::time::Duration;

use nahook_core::RateLimiter;

/// Starts a [`RateLimiter`] whose time stands still unless told to go on.
pub trait LimiterHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same state.
    type Limiter: RateLimiter + Clone + 'static;

    /// Starts a limiter that has admitted nobody yet.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn limiter(&self) -> Self::Limiter;

    /// Lets time pass, to the nanosecond.
    fn advance(&self, by: Duration);
}
