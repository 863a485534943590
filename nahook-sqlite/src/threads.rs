//! Threads that answer questions, so that nothing blocks the caller's: they need no particular async runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nahook_core::StoreError;
use nahook_supervision::{Exit, Loop, Pulse, Supervisor};
use tokio::sync::oneshot;

use crate::OpenError;
use crate::error::{Closed, Panicked};

/// Duration that an idle thread waits before it checks its pulse.
pub(crate) const PULSE_EVERY: Duration = Duration::from_millis(500);

type Question<S> = Box<dyn FnOnce(&mut S) + Send>;

/// As many threads as there are states, each with its own.
#[derive(Debug)]
pub(crate) struct Threads<S> {
    questions: Option<Sender<Question<S>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: Send + 'static> Threads<S> {
    pub(crate) fn start(
        supervisor: &Supervisor,
        which: Loop,
        name: &str,
        states: Vec<S>,
    ) -> Result<Self, OpenError> {
        let (questions, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::with_capacity(states.len());
        for mut state in states {
            let inbox = Arc::clone(&inbox);
            let mut in_hand = None;
            threads.push(supervisor.spawn_thread(which, name, move |pulse| {
                work(&mut state, &inbox, &mut in_hand, pulse)
            })?);
        }
        Ok(Self {
            questions: Some(questions),
            threads,
        })
    }

    /// Has `question` answered by the next thread that is free. Dropping the future does not stop it.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask_or_undo(question, |_, _| {}).await
    }

    /// Like [`ask`](Self::ask); `undo` gets an answer that nobody waits for any more.
    pub(crate) async fn ask_or_undo<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut S) -> T + Send + 'static,
        undo: fn(&mut S, T),
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let question: Question<S> = Box::new(move |state| {
            // Whoever asked has gone: those who wait behind must not pay for it.
            if sender.is_closed() {
                return;
            }
            let made = question(state);
            if let Err(made) = sender.send(made) {
                undo(state, made);
            }
        });
        let questions = self.questions.as_ref().ok_or(Closed)?;
        questions.send(question).map_err(|_| Closed)?;
        let mut waiting = PendingAnswer {
            answer,
            questions,
            undo,
        };
        let answered = (&mut waiting.answer).await;
        answered.map_err(|_| StoreError::internal(Panicked))
    }
}

/// Waits for an answer. Dropped when it has arrived and was not read, it has it undone.
struct PendingAnswer<'a, S: Send + 'static, T: Send + 'static> {
    answer: oneshot::Receiver<T>,
    questions: &'a Sender<Question<S>>,
    undo: fn(&mut S, T),
}

impl<S: Send + 'static, T: Send + 'static> Drop for PendingAnswer<'_, S, T> {
    fn drop(&mut self) {
        self.answer.close();
        let undo = self.undo;
        if let Ok(made) = self.answer.try_recv() {
            // Without a thread there is nothing to undo any more.
            let _ = self
                .questions
                .send(Box::new(move |state| undo(state, made)));
        }
    }
}

impl<S> Drop for Threads<S> {
    fn drop(&mut self) {
        self.questions = None;
        for thread in self.threads.drain(..) {
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Answers until nobody can ask any more. A question that was received and not begun outlives the loop in `in_hand`.
fn work<S>(
    state: &mut S,
    inbox: &Mutex<Receiver<Question<S>>>,
    in_hand: &mut Option<Question<S>>,
    pulse: &Pulse<'_>,
) -> Exit {
    loop {
        if in_hand.is_none() {
            let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
            match inbox.recv_timeout(PULSE_EVERY) {
                Ok(question) => *in_hand = Some(question),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Exit::Stopped,
            }
        }
        if let Some(exit) = pulse.check() {
            return exit;
        }
        if let Some(question) = in_hand.take() {
            // The state is a connection: SQLite leaves it usable, and the panic has gone to the panic hook.
            let _ = catch_unwind(AssertUnwindSafe(|| question(state)));
        }
    }
}
