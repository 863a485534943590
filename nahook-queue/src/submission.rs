//! A call that publishes, between its caller and the task that writes for many callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

/// The caller's side: resolves the slots by the writer's answer.
///
/// Dropped before the writer has taken the call, it withdraws it: nothing will be written, and the slots say so. Dropped
/// later, the slots stay unconfirmed unless the answer has arrived.
#[derive(Debug)]
pub struct Submission<'a, S, A> {
    slots: &'a mut [S],
    resolve: fn(Option<A>, &mut [S]),
    is_decided: Arc<AtomicBool>,
    answer: oneshot::Receiver<A>,
    is_resolved: bool,
}

/// The writer's side of a [`Submission`].
#[derive(Debug)]
pub struct Reply<A> {
    is_decided: Arc<AtomicBool>,
    answer: oneshot::Sender<A>,
}

impl<'a, S, A> Submission<'a, S, A> {
    /// Makes both sides; `resolve` writes an answer into the slots, or that the call was withdrawn if there is none.
    pub fn new(slots: &'a mut [S], resolve: fn(Option<A>, &mut [S])) -> (Self, Reply<A>) {
        let (sender, answer) = oneshot::channel();
        let is_decided = Arc::<AtomicBool>::default();
        let reply = Reply {
            is_decided: Arc::clone(&is_decided),
            answer: sender,
        };
        let submission = Self {
            slots,
            resolve,
            is_decided,
            answer,
            is_resolved: false,
        };
        (submission, reply)
    }

    /// Waits for the answer and resolves the slots.
    pub async fn answered(mut self) {
        if let Ok(answer) = (&mut self.answer).await {
            self.resolve(Some(answer));
        }
        // No answer: the writer has ended. Dropping finds out whether it had taken the call.
    }

    fn resolve(&mut self, answer: Option<A>) {
        self.is_resolved = true;
        (self.resolve)(answer, self.slots);
    }
}

impl<S, A> Drop for Submission<'_, S, A> {
    fn drop(&mut self) {
        if self.is_resolved {
            return;
        }
        if decide(&self.is_decided) {
            self.resolve(None);
        } else if let Ok(answer) = self.answer.try_recv() {
            self.resolve(Some(answer));
        }
    }
}

impl<A> Reply<A> {
    /// Takes the call on. Returns false if the caller has withdrawn it, or if it was taken before.
    pub fn take(&self) -> bool {
        decide(&self.is_decided)
    }

    /// Sends the answer to the caller, if it still waits.
    pub fn answer(self, answer: A) {
        let _ = self.answer.send(answer);
    }
}

/// Returns true for the first side that asks.
fn decide(is_decided: &AtomicBool) -> bool {
    !is_decided.swap(true, Ordering::AcqRel)
}
