//! Keeping an adapter's panic inside the adapter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// An adapter panicked. What it panicked with has gone to the panic hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the adapter panicked")]
pub(super) struct Panicked;

/// Runs the future that `start` makes, turning a panic of either into an error. The future is not polled again after that.
///
/// Unwind safety is asserted: whatever the future leaves half-done is either its own, or slots whose unresolved state
/// says exactly that.
pub(super) async fn contain<F: Future>(start: impl FnOnce() -> F) -> Result<F::Output, Panicked> {
    // A port may do its work, and panic, before there is a future to poll.
    let future = catch_unwind(AssertUnwindSafe(start)).map_err(|_| Panicked)?;
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}
