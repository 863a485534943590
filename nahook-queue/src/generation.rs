//! The count of a queue's changes.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts the changes of a queue, for [`DeliveryQueue::changed`](crate::DeliveryQueue::changed).
#[derive(Debug, Default)]
pub struct Generation {
    number: AtomicU64,
    changed: Notify,
}

impl Generation {
    /// Returns the number of changes so far, for a [`LeaseBatch`](crate::LeaseBatch). Read it before anything else: what changes from
    /// then on is told by [`changed`](Self::changed).
    pub fn get(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Counts a change and wakes everybody who waits for one, in the order in which they began to wait.
    pub fn advance(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Resolves once the number is another than `seen`.
    pub async fn changed(&self, seen: u64) {
        // It is told of changes from here on, be it polled or not.
        let changed = self.changed.notified();
        if self.get() == seen {
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn change_between_reading_and_waiting_is_not_missed() {
        let generation = Generation::default();
        let mut context = Context::from_waker(Waker::noop());
        let seen = generation.get();
        let (mut begun, mut not_begun) = (
            pin!(generation.changed(seen)),
            pin!(generation.changed(seen)),
        );
        assert!(begun.as_mut().poll(&mut context).is_pending());
        generation.advance();
        for waiting in [begun.as_mut(), not_begun.as_mut()] {
            assert!(waiting.poll(&mut context).is_ready());
        }
        let mut waiting = pin!(generation.changed(generation.get()));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
}
