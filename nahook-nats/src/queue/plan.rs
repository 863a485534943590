//! Plans: the deliveries to be settled and their next steps.

use std::sync::Arc;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Event, Timestamp};
use nahook_queue::{Attempt, Lease, LogEntry, Next, Standing};

use super::progress::RecordKey;
use super::state::Slot;
use crate::record::Item;

/// One delivery to be settled.
pub(super) struct Plan {
    pub(super) lease: Lease,
    pub(super) record: RecordKey,
    pub(super) place: u32,
    pub(super) event: Arc<Event>,
    pub(super) endpoint: EndpointId,
    /// Number of attempts, the settled one included.
    pub(super) attempts: u32,
    pub(super) attempt: Option<Attempt>,
    pub(super) course: Course,
}

/// Next step of a delivery that is settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Course {
    Close(Next),
    /// It stays in its record.
    Keep(Timestamp),
    /// It moves to the stream of retries.
    Move(Timestamp),
}

impl Plan {
    pub(super) fn of(lease: Lease, slot: &Slot, attempt: Option<Attempt>, course: Course) -> Self {
        Self {
            lease,
            record: slot.record,
            place: slot.place,
            event: Arc::clone(&slot.event),
            endpoint: slot.endpoint,
            attempts: slot.attempts + u32::from(attempt.is_some()),
            attempt,
            course,
        }
    }

    /// Its entry in the log. `None` if it moves without an attempt.
    pub(super) fn log_entry(&self, now: Timestamp) -> Option<LogEntry> {
        let standing = match self.course {
            Course::Close(Next::Delivered) => Standing::Delivered,
            Course::Close(Next::DeadLetter) => Standing::DeadLetter,
            Course::Close(_) => Standing::Failed,
            Course::Keep(_) | Course::Move(_) if self.attempt.is_none() => return None,
            Course::Keep(at) | Course::Move(at) => Standing::Retry(at),
        };
        Some(LogEntry {
            event: Arc::clone(&self.event),
            delivery: self.lease.delivery,
            endpoint: self.endpoint,
            attempts: self.attempts,
            attempt: self.attempt.clone(),
            standing,
            at: now,
        })
    }

    /// The delivery as a record has it.
    pub(super) fn item(&self, due_at: Option<Timestamp>) -> Item {
        Item {
            delivery: self.lease.delivery,
            endpoint: self.endpoint,
            attempts: self.attempts,
            due_at,
        }
    }
}

/// Id of a record of `len` deliveries. The same deliveries after the same attempts have the same.
pub(super) fn name(kind: &str, first: DeliveryId, attempts: u32, len: usize) -> String {
    format!("{kind}-{first}-{attempts}-{len}")
}
