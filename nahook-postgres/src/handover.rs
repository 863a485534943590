//! Who decides about a piece of work that both its caller and the writer hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Whoever moves on first decides: the writer by taking the work, or the caller by giving it up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover(Arc<AtomicU8>);

impl Handover {
    /// The writer's move: false if the caller has given up.
    pub(crate) fn take(&self) -> bool {
        self.move_on(TAKEN)
    }

    /// The caller's move: false if the writer has taken it.
    pub(crate) fn give_up(&self) -> bool {
        self.move_on(GIVEN_UP)
    }

    fn move_on(&self, to: u8) -> bool {
        self.0
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
