//! The records that were sent and not answered, and which of them a permission error is about.
//!
//! The server reports a missing right by the subject alone, beside the answers. Each such error is about another record
//! that was sent to that subject and will never be answered. So a record is known to be refused only once there are as many
//! errors as records without an answer; until then nothing more is sent there. That makes it certain: a record that was
//! taken just before the right was withdrawn is answered, and is not among them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::{Fate, Refusal};

/// After what silence a record lets others be sent …
const SILENCE: Duration = Duration::from_secs(3);
/// … and is not waited for any more: who leads the stream may have ended with it, and nobody will ever answer.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A record without an answer. It stays also if nobody waits for it any more: an error may be about it.
pub(super) struct Record {
    pub(super) subject: String,
    pub(super) answer: oneshot::Sender<Fate>,
    pub(super) generation: u64,
    pub(super) sent_at: Instant,
    /// Given back when the record is answered, its connection is lost, or it has been silent for long: later ones need not
    /// wait for it.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// The permission errors about a subject that are not known to be about a certain record.
enum Unmatched {
    Errors(usize),
    /// A record was given up meanwhile, so that an error may be about that one: nothing is concluded, and nothing sent,
    /// until all that was sent is answered or given up.
    Until(Instant),
}

#[derive(Default)]
pub(super) struct InFlight {
    records: HashMap<u64, Record>,
    drawn: u64,
    unmatched: HashMap<String, Unmatched>,
}

impl InFlight {
    /// Takes a record in that is about to be sent; `None` if it is refused instead.
    pub(super) fn insert(&mut self, record: Record) -> Option<u64> {
        if self.unmatched.contains_key(&record.subject) {
            let _ = record.answer.send(Fate::Refused(Refusal::Forbidden));
            return None;
        }
        self.drawn += 1;
        self.records.insert(self.drawn, record);
        Some(self.drawn)
    }

    pub(super) fn answer(&mut self, token: u64, fate: Fate) {
        let Some(record) = self.records.remove(&token) else {
            return;
        };
        let _ = record.answer.send(fate);
        self.match_errors(&record.subject);
    }

    /// Takes a permission error in.
    pub(super) fn forbid(&mut self, subject: &str) {
        let unmatched = self
            .unmatched
            .entry(subject.to_owned())
            .or_insert(Unmatched::Errors(0));
        if let Unmatched::Errors(errors) = unmatched {
            *errors += 1;
        }
        self.match_errors(subject);
    }

    /// Refuses the records of a subject once there are as many errors.
    fn match_errors(&mut self, subject: &str) {
        let Some(Unmatched::Errors(errors)) = self.unmatched.get(subject) else {
            return;
        };
        let of_subject = |record: &Record| record.subject == subject;
        let unanswered = self.records.values().filter(|record| of_subject(record));
        if unanswered.count() > *errors {
            return;
        }
        self.unmatched.remove(subject);
        for (_, record) in self.records.extract_if(|_, record| of_subject(record)) {
            let _ = record.answer.send(Fate::Refused(Refusal::Forbidden));
        }
    }

    /// Releases the permits of records sent over a lost connection.
    pub(super) fn release_permits(&mut self) {
        for record in self.records.values_mut() {
            record.permit = None;
        }
    }

    /// Gives up what has been silent for long, and lets later records pass what has been silent for a while.
    pub(super) fn give_up_silent(&mut self) {
        let now = Instant::now();
        for record in self.records.values_mut() {
            if now.duration_since(record.sent_at) > SILENCE {
                record.permit = None;
            }
        }
        self.give_up(|record| now.duration_since(record.sent_at) > SILENCE_MAX);
        self.unmatched
            .retain(|_, unmatched| !matches!(unmatched, Unmatched::Until(until) if *until <= now));
    }

    /// Gives up what was sent over earlier connections.
    pub(super) fn give_up_before(&mut self, generation: u64) {
        self.give_up(|record| record.generation < generation);
    }

    /// Gives up everything: no answer can arrive.
    pub(super) fn give_up_all(&mut self) {
        self.give_up(|_| true);
    }

    /// Ends the waiting for these records without a word: a stream may hold them.
    fn give_up(&mut self, which: impl Fn(&Record) -> bool) {
        for (_, record) in self.records.extract_if(|_, record| which(record)) {
            if let Some(unmatched) = self.unmatched.get_mut(&record.subject) {
                *unmatched = Unmatched::Until(Instant::now() + SILENCE_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Result<Fate, oneshot::error::TryRecvError> =
        Ok(Fate::Refused(Refusal::Forbidden));
    const OPEN: Result<Fate, oneshot::error::TryRecvError> =
        Err(oneshot::error::TryRecvError::Empty);
    const GIVEN_UP: Result<Fate, oneshot::error::TryRecvError> =
        Err(oneshot::error::TryRecvError::Closed);

    fn send(
        in_flight: &mut InFlight,
        subject: &str,
        generation: u64,
    ) -> (Option<u64>, oneshot::Receiver<Fate>) {
        let (answer, receiver) = oneshot::channel();
        let token = in_flight.insert(Record {
            subject: subject.to_owned(),
            answer,
            generation,
            sent_at: Instant::now(),
            permit: None,
        });
        (token, receiver)
    }

    #[tokio::test]
    async fn error_about_the_only_record_refuses_it() {
        let mut in_flight = InFlight::default();
        let (_, mut other) = send(&mut in_flight, "b", 0);
        let (_, mut refused) = send(&mut in_flight, "a", 0);
        in_flight.forbid("a");
        assert_eq!(refused.try_recv(), REFUSED);
        assert_eq!(other.try_recv(), OPEN);
        let (token, _) = send(&mut in_flight, "a", 0);
        assert!(token.is_some(), "it is tried again");
    }

    #[tokio::test]
    async fn record_that_may_have_been_taken_is_not_refused() {
        let mut in_flight = InFlight::default();
        let (first_token, mut first) = send(&mut in_flight, "a", 0);
        let (_, mut second) = send(&mut in_flight, "a", 0);
        in_flight.forbid("a");
        assert_eq!((first.try_recv(), second.try_recv()), (OPEN, OPEN));
        // Nothing is sent meanwhile, so that this comes to an end.
        let (token, mut third) = send(&mut in_flight, "a", 0);
        assert_eq!((token, third.try_recv()), (None, REFUSED));
        in_flight.answer(first_token.unwrap(), Fate::Stored);
        assert_eq!(first.try_recv(), Ok(Fate::Stored));
        assert_eq!(second.try_recv(), REFUSED);
    }

    #[tokio::test]
    async fn record_that_nobody_waits_for_counts() {
        let mut in_flight = InFlight::default();
        let (_, dropped) = send(&mut in_flight, "a", 0);
        drop(dropped);
        let (_, mut second) = send(&mut in_flight, "a", 0);
        in_flight.release_permits();
        in_flight.forbid("a");
        assert_eq!(second.try_recv(), OPEN, "the error may be about the first");
        in_flight.forbid("a");
        assert_eq!(second.try_recv(), REFUSED);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_concluded_after_a_record_was_given_up() {
        let mut in_flight = InFlight::default();
        let (_, mut old) = send(&mut in_flight, "a", 0);
        let (_, mut new) = send(&mut in_flight, "a", 1);
        in_flight.forbid("a");
        in_flight.give_up_before(1);
        assert_eq!((old.try_recv(), new.try_recv()), (GIVEN_UP, OPEN));
        in_flight.forbid("a");
        assert_eq!(new.try_recv(), OPEN);
        assert_eq!(send(&mut in_flight, "a", 1).0, None);
        tokio::time::advance(Duration::from_millis(15_001)).await;
        in_flight.give_up_silent();
        assert_eq!(new.try_recv(), GIVEN_UP);
        tokio::time::advance(Duration::from_millis(15_001)).await;
        in_flight.give_up_silent();
        let (_, mut again) = send(&mut in_flight, "a", 1);
        in_flight.forbid("a");
        assert_eq!(again.try_recv(), REFUSED, "the slate is clean");
    }
}
