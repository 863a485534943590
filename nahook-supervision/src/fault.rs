//! Ending a loop on purpose, for the tests that show its recovery.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::Exit;

/// A way for a loop to end without having been asked to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Death {
    /// It panics.
    Panic,
    /// It returns an error.
    Fail,
    /// Its task is aborted. A thread panics instead, as it cannot be aborted.
    Abort,
}

impl Death {
    /// Every way.
    pub const ALL: &[Self] = &[Self::Panic, Self::Fail, Self::Abort];
}

/// Order to a loop to die.
#[derive(Debug, Default)]
pub(crate) struct Order {
    death: AtomicU8,
    given: Notify,
}

impl Order {
    pub(crate) fn give(&self, death: Death) {
        let code = match death {
            Death::Panic => 1,
            Death::Fail => 2,
            Death::Abort => 3,
        };
        self.death.store(code, Ordering::Release);
        self.given.notify_one();
    }

    /// Takes the order, so that it is carried out once.
    pub(crate) fn take(&self) -> Option<Death> {
        if self.death.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.death.swap(0, Ordering::AcqRel) {
            1 => Some(Death::Panic),
            2 => Some(Death::Fail),
            3 => Some(Death::Abort),
            _ => None,
        }
    }

    /// Waits for an order and takes it.
    pub(crate) async fn taken(&self) -> Death {
        loop {
            if let Some(death) = self.take() {
                return death;
            }
            self.given.notified().await;
        }
    }
}

/// Check that a loop on a thread makes once a round, so that tests can end it.
#[derive(Debug)]
pub struct Pulse<'a>(pub(crate) &'a Order);

impl Pulse<'_> {
    /// Returns how the loop has to end, if a test says so.
    ///
    /// # Panics
    /// Panics if the test wants a panic.
    pub fn check(&self) -> Option<Exit> {
        match self.0.take()? {
            Death::Fail => Some(Exit::failed("a test ends the loop")),
            Death::Panic | Death::Abort => panic_on_order(),
        }
    }
}

#[expect(clippy::panic, reason = "a test has asked for it")]
pub(crate) fn panic_on_order() -> ! {
    panic!("a test ends the loop")
}
