//! Waiting for several futures at once.

use std::pin::Pin;
use std::task::Poll;

/// A future that still runs, or what it has come to.
enum Running<F: Future> {
    Done(F::Output),
    Pending(Pin<Box<F>>),
}

/// Runs all of them side by side; answers in their order once the last has ended.
///
/// Each is polled whenever one wakes: for the few items of a batch that is less than knowing which one did.
pub(super) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F::Output: Unpin,
{
    let mut running: Vec<_> = futures
        .into_iter()
        .map(|future| Running::Pending(Box::pin(future)))
        .collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for slot in &mut running {
            if let Running::Pending(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Running::Done(output),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    running
        .into_iter()
        .filter_map(|slot| match slot {
            Running::Done(output) => Some(output),
            Running::Pending(_) => None,
        })
        .collect()
}
