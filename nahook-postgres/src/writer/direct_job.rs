//! One call for single endpoints on its way to a writer, and what is answered.

use nahook_core::{DirectDelivery, DirectOutcome, EndpointId, Event, FailureKind};
use tokio::sync::oneshot;

use crate::handover::Handover;

/// The writer's side.
#[derive(Debug)]
pub(crate) struct DirectJob {
    pub(super) slots: Vec<DirectSlot>,
    handover: Handover,
    answer: oneshot::Sender<Vec<DirectOutcome>>,
}

#[derive(Debug)]
pub(super) struct DirectSlot {
    pub(super) event: Event,
    pub(super) endpoint: EndpointId,
}

impl DirectJob {
    /// A job, and the caller's side of it.
    pub(crate) fn new(deliveries: &mut [DirectDelivery]) -> (Self, Sending<'_>) {
        let (sender, answer) = oneshot::channel();
        let handover = Handover::default();
        let slot = |slot: &DirectDelivery| DirectSlot {
            event: slot.event().clone(),
            endpoint: slot.endpoint(),
        };
        let job = Self {
            slots: deliveries.iter().map(slot).collect(),
            handover: handover.clone(),
            answer: sender,
        };
        let sending = Sending {
            slots: deliveries,
            handover,
            answer,
            is_resolved: false,
        };
        (job, sending)
    }

    /// Takes the job on; false if nobody wants it any more.
    pub(super) fn take(&self) -> bool {
        self.handover.take()
    }

    /// Tells whoever waits what became of the slots, in their order.
    pub(super) fn answer(self, outcomes: Vec<DirectOutcome>) {
        let _ = self.answer.send(outcomes);
    }

    /// Nothing of it was sent to the server.
    pub(super) fn refuse(self) {
        let refused = DirectOutcome::Failed(FailureKind::QueueUnavailable);
        let outcomes = vec![refused; self.slots.len()];
        self.answer(outcomes);
    }
}

/// The caller's side.
pub(crate) struct Sending<'a> {
    slots: &'a mut [DirectDelivery],
    handover: Handover,
    answer: oneshot::Receiver<Vec<DirectOutcome>>,
    is_resolved: bool,
}

impl Sending<'_> {
    /// Waits for the answer and resolves the slots.
    pub(crate) async fn answered(mut self) {
        if let Ok(outcomes) = (&mut self.answer).await {
            self.resolve(outcomes);
        }
        // No answer: the writer has ended. Dropping finds out whether it had begun with this.
    }

    fn resolve(&mut self, outcomes: Vec<DirectOutcome>) {
        self.is_resolved = true;
        for (slot, outcome) in self.slots.iter_mut().zip(outcomes) {
            match outcome {
                DirectOutcome::Failed(kind) => slot.failed(kind),
                DirectOutcome::Published => slot.published(),
                DirectOutcome::Replayed(original) => slot.replayed(original),
            }
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.is_resolved {
            return;
        }
        if self.handover.give_up() {
            for slot in &mut *self.slots {
                slot.failed(FailureKind::QueueUnavailable);
            }
        } else if let Ok(outcomes) = self.answer.try_recv() {
            self.resolve(outcomes);
        }
    }
}
