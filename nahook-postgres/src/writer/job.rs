//! One trigger on its way to a writer, and what is answered.

use nahook_core::id::EndpointId;
use nahook_core::{Delivery, Event, FailureKind, Outcome};
use nahook_queue::{Reply, Submission};

use crate::row::delivery_key;

/// Outcomes of a job's slots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Written {
    /// Of all of them …
    pub(crate) usual: Outcome,
    /// … but of those at these places.
    pub(crate) others: Vec<(usize, Outcome)>,
}

impl Written {
    pub(crate) fn all(outcome: Outcome) -> Self {
        Self {
            usual: outcome,
            others: Vec::new(),
        }
    }

    /// Published, but for slots at these places, whose endpoints are gone.
    pub(crate) fn all_but(gone: Vec<usize>) -> Self {
        let gone = gone.into_iter();
        Self {
            usual: Outcome::Published,
            others: gone
                .map(|place| (place, Outcome::Failed(FailureKind::EndpointGone)))
                .collect(),
        }
    }

    /// Nothing was sent to the server.
    fn unsent() -> Self {
        Self::all(Outcome::Failed(FailureKind::QueueUnavailable))
    }

    pub(crate) fn resolve(&self, slots: &mut [Delivery]) {
        for slot in slots.iter_mut() {
            slot.resolve(self.usual);
        }
        for (place, outcome) in &self.others {
            if let Some(slot) = slots.get_mut(*place) {
                slot.resolve(*outcome);
            }
        }
    }
}

/// The writer's side.
#[derive(Debug)]
pub(crate) struct PublishJob {
    pub(crate) event: Event,
    /// Ordinal and endpoint of each slot that can be written, and its place among the caller's; in the order of ordinals.
    pub(crate) slots: Vec<(i32, EndpointId, usize)>,
    /// Those that cannot: another message's, beyond what a key has room for, or there twice.
    unfit: Vec<usize>,
    /// JSON; absent if there are no labels.
    pub(crate) metadata: Option<String>,
    reply: Reply<Written>,
}

impl PublishJob {
    /// A job, and the caller's side of it.
    pub(crate) fn new<'a>(
        event: &Event,
        deliveries: &'a mut [Delivery],
    ) -> (Self, Submission<'a, Delivery, Written>) {
        let (mut slots, mut unfit) = (Vec::with_capacity(deliveries.len()), Vec::new());
        for (place, slot) in deliveries.iter().enumerate() {
            let ordinal = slot.id().ordinal(event.id);
            // A key stands for one delivery: its event's first.
            let ordinal_max = event.idempotency_key.as_ref().map_or(u32::MAX, |_| 0);
            let ordinal = ordinal
                .filter(|ordinal| *ordinal <= ordinal_max && delivery_key(0, *ordinal).is_some());
            match ordinal.and_then(|ordinal| i32::try_from(ordinal).ok()) {
                Some(ordinal) => slots.push((ordinal, slot.endpoint(), place)),
                None => unfit.push(place),
            }
        }
        slots.sort_by_key(|slot| slot.0);
        slots.dedup_by(|later, first| {
            let is_twice = later.0 == first.0;
            unfit.extend(is_twice.then_some(later.2));
            is_twice
        });
        let (submission, reply) = Submission::new(deliveries, |written: Option<Written>, slots| {
            written.unwrap_or_else(Written::unsent).resolve(slots);
        });
        let job = Self {
            event: event.clone(),
            slots,
            unfit,
            metadata: metadata(event),
            reply,
        };
        (job, submission)
    }

    /// The first of the slots' ordinals; 0 if there are no slots.
    pub(super) fn first_ordinal(&self) -> i32 {
        self.slots.first().map_or(0, |slot| slot.0)
    }

    /// The idempotency key's bytes, if it has one.
    pub(super) fn key(&self) -> Option<&[u8]> {
        let key = self.event.idempotency_key.as_ref();
        key.map(|key| key.as_str().as_bytes())
    }

    /// The event type's id, if it has one.
    pub(super) fn event_type(&self) -> Option<&str> {
        self.event
            .event_type
            .as_ref()
            .map(|event_type| event_type.id.as_str())
    }

    /// The event type's name, if it has one.
    pub(super) fn event_type_name(&self) -> Option<&str> {
        self.event
            .event_type
            .as_ref()
            .map(|event_type| event_type.name.as_str())
    }

    /// Takes the job on; false if nobody wants it any more.
    pub(super) fn take(&self) -> bool {
        self.reply.take()
    }

    /// Tells whoever waits what became of the slots, by place.
    pub(super) fn answer(self, mut written: Written) {
        let unfit = Outcome::Failed(FailureKind::QueueUnavailable);
        written
            .others
            .extend(self.unfit.into_iter().map(|place| (place, unfit)));
        self.reply.answer(written);
    }

    /// Nothing of it was sent to the server.
    pub(super) fn refuse(self) {
        self.answer(Written::unsent());
    }
}

/// An event's labels as they are stored.
pub(crate) fn metadata(event: &Event) -> Option<String> {
    if event.metadata.is_empty() {
        None
    } else {
        // A map of texts always has a JSON form.
        serde_json::to_string(&event.metadata).ok()
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;
    use nahook_testkit::declare::{endpoint_id, event, idempotency_key};

    use super::*;

    /// What is answered where everything that was written is published: one slot an ordinal.
    async fn answers(event: &Event, ordinals: &[u32]) -> Vec<Outcome> {
        let slot = |ordinal: &u32| Delivery::new(event.id, *ordinal, endpoint_id("ep_1"));
        let mut slots: Vec<_> = ordinals.iter().map(slot).collect();
        let (job, submission) = PublishJob::new(event, &mut slots);
        assert!(job.take());
        job.answer(Written::all(Outcome::Published));
        submission.answered().await;
        slots.iter().map(Delivery::outcome).collect()
    }

    #[tokio::test]
    async fn ordinals_that_no_key_has_room_for_are_refused() {
        let mut event = event("ws_a", "order.paid", 1, Timestamp::default());
        let refused = Outcome::Failed(FailureKind::QueueUnavailable);
        let expected = [Outcome::Published, Outcome::Published, refused];
        assert_eq!(
            answers(&event, &[1, (1 << 20) - 1, 1 << 20]).await,
            expected
        );
        // An idempotency key stands for the first.
        event.idempotency_key = Some(idempotency_key("key"));
        assert_eq!(answers(&event, &[0]).await, [Outcome::Published]);
        assert_eq!(answers(&event, &[1]).await, [refused]);
    }

    #[tokio::test]
    async fn job_that_nobody_waits_for_is_not_taken_and_a_dropped_one_is_refused() {
        let event = event("ws_a", "order.paid", 1, Timestamp::default());
        let mut slots = [Delivery::new(event.id, 0, endpoint_id("ep_1"))];
        let (job, submission) = PublishJob::new(&event, &mut slots);
        drop(submission);
        assert!(!job.take());
        let (job, submission) = PublishJob::new(&event, &mut slots);
        assert!(job.take());
        drop(job);
        submission.answered().await;
        let refused = Outcome::Failed(FailureKind::QueueUnavailable);
        assert_eq!(slots[0].outcome(), refused);
    }
}
