//! Keeping a panic of an adapter, or of an attempt, where it happened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Something panicked. What it panicked with has gone to the panic hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it panicked")]
pub(super) struct Panicked;

/// Runs `future`, turning a panic of it into an error. The future is not polled again after that, so nothing that it
/// left half-done is seen.
pub(super) async fn contain<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}
