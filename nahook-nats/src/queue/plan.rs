//! Plans: the deliveries to be settled and their next steps.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Event, Timestamp};
use nahook_queue::{Attempt, DeliveryState, Lease, LogEntry};

use super::progress::{Kept, RecordKey};
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
    pub(super) state: DeliveryState,
    /// It stays in its record while it waits, instead of moving to the stream of retries.
    pub(super) stays: bool,
}

impl Plan {
    pub(super) fn of(
        lease: Lease,
        slot: &Slot,
        attempt: Option<Attempt>,
        state: DeliveryState,
        stays: bool,
    ) -> Self {
        Self {
            lease,
            record: slot.record,
            place: slot.place,
            event: Arc::clone(&slot.event),
            endpoint: slot.endpoint,
            attempts: slot.attempts + u32::from(attempt.is_some()),
            attempt,
            state,
            stays,
        }
    }

    /// The delivery as it stays in its record, if it does.
    pub(super) fn kept(&self) -> Option<Kept> {
        let due_at = self.state.retry_at().filter(|_| self.stays)?;
        Some(Kept {
            attempts: self.attempts,
            due_at,
        })
    }

    /// Time until which it waits in the stream of retries, if it does.
    pub(super) fn moved_until(&self) -> Option<Timestamp> {
        self.state.retry_at().filter(|_| !self.stays)
    }

    /// Its entry in the log. `None` if it moves without an attempt.
    pub(super) fn log_entry(&self, now: Timestamp) -> Option<LogEntry> {
        if self.attempt.is_none() && !self.state.has_ended() {
            return None;
        }
        Some(LogEntry {
            event: Arc::clone(&self.event),
            delivery: self.lease.delivery,
            endpoint: self.endpoint,
            attempts: self.attempts,
            attempt: self.attempt.clone(),
            state: self.state,
            at: now,
        })
    }

    /// The delivery as a record has it.
    pub(super) fn item(&self) -> Item {
        Item {
            delivery: self.lease.delivery,
            endpoint: self.endpoint,
            attempts: self.attempts,
            due_at: self.state.retry_at(),
        }
    }
}

/// Id of a record that these deliveries move to, so that the server drops a repeated one. Only the same deliveries, out of the
/// same records, after the same attempts and under the same leases, have the same id: the server would drop others although it
/// does not hold them, or not any more.
pub(super) fn record_id<'a>(first: DeliveryId, moved: impl Iterator<Item = &'a Plan>) -> String {
    let mut hasher = DefaultHasher::new();
    for plan in moved {
        let token = plan.lease.token.0;
        (plan.record, plan.place, plan.attempts, token).hash(&mut hasher);
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
            state: DeliveryState::Retry(NOW),
            stays: false,
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
        // Put off once more out of the same record: what was stored the first time has come back, and is settled.
        let mut again = moved();
        again[1].lease.token = LeaseToken(2);
        assert_ne!(id(&moved()), id(&again));
    }

    #[test]
    fn log_entry_tells_the_state() {
        use DeliveryState::{DeadLetter, Delivered, Failed, Retry};
        for (state, stays) in [
            (Delivered, false),
            (Failed, false),
            (DeadLetter, false),
            (Retry(NOW), true),
            (Retry(NOW), false),
        ] {
            let mut plan = plan(Source::Deliveries, 1, 0, 1);
            (plan.state, plan.stays) = (state, stays);
            let told = |plan: &Plan| plan.log_entry(NOW).map(|entry| entry.state);
            assert_eq!(told(&plan), state.has_ended().then_some(state), "{state:?}");
            plan.attempt = Some(Attempt {
                started_at: NOW,
                duration: Duration::from_millis(3),
                status_code: None,
                error: None,
                response_body: None,
            });
            assert_eq!(told(&plan), Some(state), "{state:?}");
            assert_eq!(plan.kept().is_some(), stays, "{state:?}");
        }
    }
}
