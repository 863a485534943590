//! Keeping an adapter's panic inside the adapter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::StoreError;

/// An adapter panicked. What it panicked with has gone to the panic hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the adapter panicked")]
pub(crate) struct Panicked;

/// Runs the future that `start` makes, turning a panic of either into an error. The future is not polled again after that.
/// Nor does a panic get out when the future is dropped, at the deadline.
///
/// Unwind safety is asserted: whatever the future leaves half-done is either its own, or slots whose unresolved state
/// says exactly that.
pub(crate) async fn contain<F: Future>(start: impl FnOnce() -> F) -> Result<F::Output, Panicked> {
    // A port may do its work, and panic, before there is a future to poll.
    let future = caught(start)?;
    let future = pin!(Some(future));
    let mut contained = Contained(future);
    std::future::poll_fn(|context| contained.poll(context)).await
}

/// A future, until it is dropped.
struct Contained<'a, F>(Pin<&'a mut Option<F>>);

impl<F: Future> Contained<'_, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<F::Output, Panicked>> {
        let Some(future) = self.0.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(Panicked));
        };
        match caught(|| future.poll(context)) {
            Ok(poll) => poll.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

impl<F> Drop for Contained<'_, F> {
    fn drop(&mut self) {
        // Whatever the future has resolved while it was dropped counts; that it panicked then changes nothing.
        let _ = caught(|| self.0.set(None));
    }
}

/// Turns a port's panic into the error that the port is taken to have answered.
pub(crate) fn panicked<T>(panic: Panicked) -> Result<T, StoreError> {
    Err(StoreError::internal(panic))
}

fn caught<T>(act: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| Panicked)
}
