//! Plans: the deliveries to be settled and their next steps.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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

/// Id of a record that these deliveries move to, so that the server drops a repeated one. Only the same deliveries, out of the
/// same records and after the same attempts, have the same id: the server would drop others although it does not hold them.
pub(super) fn record_id<'a>(first: DeliveryId, moved: impl Iterator<Item = &'a Plan>) -> String {
    let mut hasher = DefaultHasher::new();
    for plan in moved {
        (plan.record, plan.place, plan.attempts).hash(&mut hasher);
    }
    format!("retry-{first}-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nahook_core::id::MessageId;
    use nahook_queue::LeaseToken;
    use nahook_testkit::declare::{event, nth_endpoint_id};

    use super::*;
    use crate::layout::Source;

    const NOW: Timestamp = Timestamp::from_millis(1_712_345_678_901);

    /// A delivery at this place of a record, after so many attempts.
    fn plan(source: Source, sequence: u64, place: u32, attempts: u32) -> Plan {
        Plan {
            lease: Lease {
                delivery: DeliveryId::nth(MessageId::from_bits(7), place),
                token: LeaseToken(1),
            },
            record: RecordKey {
                source,
                sequence,
                stored_at: 1_000 + sequence,
            },
            place,
            event: Arc::new(event("ws_shop", "order.paid", 7, NOW)),
            endpoint: nth_endpoint_id(place as usize),
            attempts,
            attempt: None,
            course: Course::Move(NOW),
        }
    }

    fn id(plans: &[Plan]) -> String {
        record_id(plans[0].lease.delivery, plans.iter())
    }

    #[test]
    fn only_the_same_move_has_the_same_id() {
        use Source::{Deliveries, Retries};
        let moved = || [plan(Deliveries, 1, 0, 1), plan(Deliveries, 1, 1, 1)];
        assert_eq!(id(&moved()), id(&moved()));
        for other in [
            [plan(Deliveries, 1, 0, 1), plan(Deliveries, 1, 2, 1)],
            [plan(Deliveries, 1, 0, 2), plan(Deliveries, 1, 1, 1)],
            // Put off once more: each time they come back in another record, and no attempt was made.
            [plan(Retries, 1, 0, 1), plan(Retries, 1, 1, 1)],
            [plan(Deliveries, 2, 0, 1), plan(Deliveries, 2, 1, 1)],
        ] {
            assert_ne!(id(&moved()), id(&other));
        }
    }

    #[test]
    fn log_entry_tells_the_next_step() {
        let rows = [
            (Course::Close(Next::Delivered), Some(Standing::Delivered)),
            (Course::Close(Next::Failed), Some(Standing::Failed)),
            (Course::Close(Next::DeadLetter), Some(Standing::DeadLetter)),
            (Course::Keep(NOW), None),
            (Course::Move(NOW), None),
        ];
        for (course, without_attempt) in rows {
            let mut plan = plan(Source::Deliveries, 1, 0, 1);
            plan.course = course;
            let standing = |plan: &Plan| plan.log_entry(NOW).map(|entry| entry.standing);
            assert_eq!(standing(&plan), without_attempt, "{course:?}");
            plan.attempt = Some(Attempt {
                started_at: NOW,
                duration: Duration::from_millis(3),
                status_code: None,
                error: None,
            });
            let with_attempt = without_attempt.unwrap_or(Standing::Retry(NOW));
            assert_eq!(standing(&plan), Some(with_attempt), "{course:?}");
        }
    }
}
