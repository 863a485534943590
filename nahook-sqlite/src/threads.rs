//! Threads that answer questions, so that nothing blocks the caller's: they need no particular async runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nahook_core::StoreError;
use tokio::sync::oneshot;

use crate::OpenError;
use crate::error::{Closed, Panicked};

type Question<S> = Box<dyn FnOnce(&mut S) + Send>;

/// As many threads as there are states, each with its own.
#[derive(Debug)]
pub(crate) struct Threads<S> {
    questions: Option<Sender<Question<S>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: Send + 'static> Threads<S> {
    pub(crate) fn start(name: &str, states: Vec<S>) -> Result<Self, OpenError> {
        let (questions, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::with_capacity(states.len());
        for state in states {
            let inbox = Arc::clone(&inbox);
            let thread = thread::Builder::new().name(name.to_owned());
            threads.push(thread.spawn(move || work(state, &inbox))?);
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
        undo: impl FnOnce(&mut S, T) + Send + 'static,
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
        answer.await.map_err(|_| StoreError::internal(Panicked))
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

fn work<S>(mut state: S, inbox: &Mutex<Receiver<Question<S>>>) {
    loop {
        let next = {
            let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
            inbox.recv()
        };
        let Ok(question) = next else {
            return;
        };
        // The state is a connection: SQLite leaves it usable, and the panic has gone to the panic hook.
        let _ = catch_unwind(AssertUnwindSafe(|| question(&mut state)));
    }
}
