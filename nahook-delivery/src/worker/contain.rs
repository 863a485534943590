//! Keeping a panic of an adapter, or of an attempt, where it happened.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// Something panicked. What it panicked with has gone to the panic hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it panicked")]
pub(super) struct Panicked;

/// Runs `future`, turning a panic of it into an error. The future is not polled again after that, so nothing that it
/// left half-done is seen.
pub(super) async fn contain<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let caught = AssertUnwindSafe(future).catch_unwind().await;
    caught.map_err(|_| Panicked)
}
