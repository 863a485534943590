//! Outcome of the latest record: the evidence that the stream stores what it is sent.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::acks::{RecordOutcome, Refusal};

/// Outcome of the latest record that says something about the storage. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatestRecord(Arc<Mutex<Latest>>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Latest {
    /// None was sent yet, or none knows what became of it.
    #[default]
    Unclear,
    Stored,
    /// It was refused for lack of room at this instant.
    Full(Instant),
}

impl LatestRecord {
    pub(crate) fn get(&self) -> Latest {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, outcome: RecordOutcome) {
        let latest = match outcome {
            RecordOutcome::Stored => Latest::Stored,
            RecordOutcome::Refused(Refusal::Full) => Latest::Full(Instant::now()),
            // The stream was not reached.
            RecordOutcome::Refused(_) => return,
            RecordOutcome::Unclear(_) => Latest::Unclear,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = latest;
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::FailureKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_known_of_the_storage_counts() {
        let record = LatestRecord::default();
        assert_eq!(record.get(), Latest::Unclear);
        let full = Latest::Full(Instant::now());
        for (outcome, latest) in [
            (RecordOutcome::Stored, Latest::Stored),
            (RecordOutcome::Refused(Refusal::Nobody), Latest::Stored),
            (RecordOutcome::Refused(Refusal::Full), full),
            (RecordOutcome::Refused(Refusal::Forbidden), full),
            (RecordOutcome::Refused(Refusal::TooLarge), full),
            (RecordOutcome::Stored, Latest::Stored),
            (
                RecordOutcome::Unclear(FailureKind::Unconfirmed),
                Latest::Unclear,
            ),
        ] {
            record.note(outcome);
            assert_eq!(record.get(), latest, "{outcome:?}");
        }
    }
}
