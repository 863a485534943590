//! One call for single endpoints on its way to a writer, and what is answered.

use nahook_core::{DirectDelivery, DirectOutcome, EndpointId, Event, FailureKind};
use nahook_queue::{Reply, Submission};

/// The writer's side.
#[derive(Debug)]
pub(crate) struct DirectJob {
    pub(super) slots: Vec<DirectSlot>,
    reply: Reply<Vec<DirectOutcome>>,
}

#[derive(Debug)]
pub(super) struct DirectSlot {
    pub(super) event: Event,
    pub(super) endpoint: EndpointId,
}

impl DirectJob {
    /// A job, and the caller's side of it.
    pub(crate) fn new(
        deliveries: &mut [DirectDelivery],
    ) -> (Self, Submission<'_, DirectDelivery, Vec<DirectOutcome>>) {
        let slot = |slot: &DirectDelivery| DirectSlot {
            event: slot.event().clone(),
            endpoint: slot.endpoint(),
        };
        let slots = deliveries.iter().map(slot).collect();
        let (submission, reply) = Submission::new(deliveries, resolve);
        (Self { slots, reply }, submission)
    }

    /// Takes the job on; false if nobody wants it any more.
    pub(super) fn take(&self) -> bool {
        self.reply.take()
    }

    /// Tells whoever waits what became of the slots, in their order.
    pub(super) fn answer(self, outcomes: Vec<DirectOutcome>) {
        self.reply.answer(outcomes);
    }

    /// Nothing of it was sent to the server.
    pub(super) fn refuse(self) {
        let outcomes = vec![UNSENT; self.slots.len()];
        self.answer(outcomes);
    }
}

const UNSENT: DirectOutcome = DirectOutcome::Failed(FailureKind::QueueUnavailable);

fn resolve(outcomes: Option<Vec<DirectOutcome>>, slots: &mut [DirectDelivery]) {
    let outcomes = outcomes.unwrap_or_else(|| vec![UNSENT; slots.len()]);
    for (slot, outcome) in slots.iter_mut().zip(outcomes) {
        slot.resolve(outcome);
    }
}
