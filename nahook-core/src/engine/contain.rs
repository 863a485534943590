//! Keeping an adapter's panic inside the adapter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tracing::Span;

use crate::StoreError;

/// An adapter panicked. What it panicked with has gone to the panic hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the adapter panicked")]
pub(crate) struct Panicked;

/// The span of calls that have none of their own.
pub(crate) static NO_SPAN: Span = Span::none();

/// Runs the future that `start` makes within `span`, turning a panic of either into an error. The future is not polled again
/// after that. Nor does a panic get out when the future is dropped, at the deadline.
///
/// The span is entered here because a future that is wrapped, by `Instrument`, is moved once more: that costs an eighth of a
/// fan-out to one endpoint, for spans that nobody listens to.
///
/// Unwind safety is asserted: whatever the future leaves half-done is either its own, or slots whose unresolved state
/// says exactly that.
pub(crate) async fn contain<F: Future>(
    span: &Span,
    start: impl FnOnce() -> F,
) -> Result<F::Output, Panicked> {
    // A port may do its work, and panic, before there is a future to poll.
    let future = caught(|| span.in_scope(start))?;
    let future = pin!(Some(future));
    let mut contained = Contained { future, span };
    std::future::poll_fn(|context| contained.poll(context)).await
}

/// A future, until it is dropped.
struct Contained<'a, F> {
    future: Pin<&'a mut Option<F>>,
    span: &'a Span,
}

impl<F: Future> Contained<'_, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<F::Output, Panicked>> {
        let Some(future) = self.future.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(Panicked));
        };
        match caught(|| self.span.in_scope(|| future.poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

impl<F> Drop for Contained<'_, F> {
    fn drop(&mut self) {
        // Whatever the future has resolved while it was dropped counts; that it panicked then changes nothing.
        let _ = caught(|| self.future.set(None));
    }
}

/// Turns a port's panic into the error that the port is taken to have answered.
pub(crate) fn panicked<T>(panic: Panicked) -> Result<T, StoreError> {
    Err(StoreError::internal(panic))
}

fn caught<T>(act: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| Panicked)
}
