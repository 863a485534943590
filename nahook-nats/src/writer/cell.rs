//! State of a chunk, shared by its publication and the writer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nahook_core::{FailureKind, Outcome};
use tokio::sync::Notify;

/// State of a chunk. Only the publication may call [`withdraw`](Self::withdraw).
#[derive(Debug)]
pub(crate) struct Cell {
    stage: Mutex<Stage>,
    resolved: Notify,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Not sent, or known not to have been taken.
    Waiting,
    /// Handed to the connection.
    Sent,
    /// Nobody wants it sent any more.
    Withdrawn,
    Resolved(Outcome),
}

impl Cell {
    pub(crate) fn new() -> Self {
        Self {
            stage: Mutex::new(Stage::Waiting),
            resolved: Notify::new(),
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the chunk for sending. `false` if it was withdrawn.
    pub(super) fn take(&self) -> bool {
        let mut stage = self.stage();
        let is_wanted = *stage == Stage::Waiting;
        if is_wanted {
            *stage = Stage::Sent;
        }
        is_wanted
    }

    /// Says that what was sent is known not to have been taken.
    pub(super) fn put_back(&self) {
        let mut stage = self.stage();
        if *stage == Stage::Sent {
            *stage = Stage::Waiting;
        }
    }

    pub(super) fn resolve(&self, outcome: Outcome) {
        let mut stage = self.stage();
        if *stage != Stage::Withdrawn {
            *stage = Stage::Resolved(outcome);
        }
        drop(stage);
        self.resolved.notify_one();
    }

    /// Resolves the chunk as far as that is known, if nobody else has and nobody will.
    pub(super) fn abandon(&self) {
        let kind = match *self.stage() {
            Stage::Waiting => FailureKind::QueueUnavailable,
            Stage::Sent => FailureKind::Unconfirmed,
            Stage::Withdrawn | Stage::Resolved(_) => return,
        };
        self.resolve(Outcome::Failed(kind));
    }

    /// Waits for the outcome.
    pub(crate) async fn resolved(&self) -> Outcome {
        loop {
            if let Stage::Resolved(outcome) = *self.stage() {
                return outcome;
            }
            self.resolved.notified().await;
        }
    }

    /// Takes the chunk back if it is not sent, and answers what is known of it: `None` if it is under way.
    pub(crate) fn withdraw(&self) -> Option<Outcome> {
        let mut stage = self.stage();
        match *stage {
            Stage::Waiting | Stage::Withdrawn => {
                *stage = Stage::Withdrawn;
                Some(Outcome::Failed(FailureKind::QueueUnavailable))
            }
            Stage::Sent => None,
            Stage::Resolved(outcome) => Some(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_QUEUED: Option<Outcome> = Some(Outcome::Failed(FailureKind::QueueUnavailable));

    #[test]
    fn what_is_withdrawn_is_never_sent() {
        let cell = Cell::new();
        assert_eq!(cell.withdraw(), NOT_QUEUED);
        assert!(!cell.take());
        cell.resolve(Outcome::Published);
        assert_eq!(
            cell.withdraw(),
            NOT_QUEUED,
            "it was not sent, whatever is said"
        );
    }

    #[test]
    fn what_is_under_way_cannot_be_withdrawn() {
        let cell = Cell::new();
        assert!(cell.take());
        assert_eq!(cell.withdraw(), None);
        cell.resolve(Outcome::Published);
        assert_eq!(cell.withdraw(), Some(Outcome::Published));
    }

    #[test]
    fn what_was_put_back_can_be_withdrawn() {
        let cell = Cell::new();
        assert!(cell.take());
        cell.put_back();
        assert_eq!(cell.withdraw(), NOT_QUEUED);
        assert!(!cell.take());
    }

    #[test]
    fn abandoned_chunk_is_resolved_by_what_is_known() {
        let cell = Cell::new();
        cell.abandon();
        assert_eq!(cell.withdraw(), NOT_QUEUED);
        let cell = Cell::new();
        assert!(cell.take());
        cell.abandon();
        let unclear = Some(Outcome::Failed(FailureKind::Unconfirmed));
        assert_eq!(cell.withdraw(), unclear);
        let cell = Cell::new();
        cell.resolve(Outcome::Published);
        cell.abandon();
        assert_eq!(cell.withdraw(), Some(Outcome::Published));
    }
}
