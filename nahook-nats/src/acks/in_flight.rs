//! Records in flight, and the permission errors that refuse them.
//!
//! The server reports a missing right beside the answers, and names the subject alone. Each such error stands for one record
//! that was sent to that subject and will never be answered. So the records of a subject are known to be refused only once
//! there are as many errors as records without an answer. Until then nothing more is sent there. A record that was stored just
//! before the right was withdrawn is answered, and so is not among them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::answer::{RecordOutcome, Refusal};

/// Silence after which a record releases its permit …
const SILENCE: Duration = Duration::from_secs(3);
/// … and after which it is given up: the leader of the stream may have ended with it, and then no answer comes.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Record without an answer. It stays even if nobody waits for it any more: an error may be about it.
pub(super) struct Record {
    pub(super) subject: String,
    pub(super) answer: oneshot::Sender<RecordOutcome>,
    pub(super) generation: u64,
    pub(super) sent_at: Instant,
    /// Released when the record is answered, its connection is lost, or it has been silent for long, so that later ones are
    /// sent.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Permission errors about a subject that are not matched to records yet.
enum Unmatched {
    Errors(usize),
    /// A record was given up, and an error may be about that one. Nothing is concluded and nothing sent until this instant,
    /// when everything that was sent is answered or given up.
    Until(Instant),
}

#[derive(Default)]
pub(super) struct InFlight {
    records: HashMap<u64, Record>,
    drawn: u64,
    unmatched: HashMap<String, Unmatched>,
}

impl InFlight {
    /// Registers a record that is about to be sent. Returns its token, or `None` if it is refused instead.
    pub(super) fn insert(&mut self, record: Record) -> Option<u64> {
        if self.unmatched.contains_key(&record.subject) {
            let _ = record
                .answer
                .send(RecordOutcome::Refused(Refusal::Forbidden));
            return None;
        }
        self.drawn += 1;
        self.records.insert(self.drawn, record);
        Some(self.drawn)
    }

    pub(super) fn answer(&mut self, token: u64, outcome: RecordOutcome) {
        let Some(record) = self.records.remove(&token) else {
            return;
        };
        let _ = record.answer.send(outcome);
        self.match_errors(&record.subject);
    }

    /// Counts a permission error.
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
            let _ = record
                .answer
                .send(RecordOutcome::Refused(Refusal::Forbidden));
        }
    }

    /// Releases the permits of records sent over a lost connection.
    pub(super) fn release_permits(&mut self) {
        for record in self.records.values_mut() {
            record.permit = None;
        }
    }

    /// Gives up records that have been silent for long, and releases the permits of those that have been for a while.
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

    /// Gives up the records of earlier connections.
    pub(super) fn give_up_before(&mut self, generation: u64) {
        self.give_up(|record| record.generation < generation);
    }

    /// Gives up all records, because no answer can arrive.
    pub(super) fn give_up_all(&mut self) {
        self.give_up(|_| true);
    }

    /// Drops these records without an outcome: a stream may hold them.
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
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    const REFUSED: Result<RecordOutcome, oneshot::error::TryRecvError> =
        Ok(RecordOutcome::Refused(Refusal::Forbidden));
    const OPEN: Result<RecordOutcome, oneshot::error::TryRecvError> =
        Err(oneshot::error::TryRecvError::Empty);
    const GIVEN_UP: Result<RecordOutcome, oneshot::error::TryRecvError> =
        Err(oneshot::error::TryRecvError::Closed);

    fn send(
        in_flight: &mut InFlight,
        subject: &str,
        generation: u64,
    ) -> (Option<u64>, oneshot::Receiver<RecordOutcome>) {
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

    /// Sends a record that holds the only permit.
    fn send_with_permit(
        in_flight: &mut InFlight,
    ) -> (Arc<Semaphore>, oneshot::Receiver<RecordOutcome>) {
        let permits = Arc::new(Semaphore::new(1));
        let (answer, receiver) = oneshot::channel();
        in_flight.insert(Record {
            subject: "a".to_owned(),
            answer,
            generation: 0,
            sent_at: Instant::now(),
            permit: Arc::clone(&permits).try_acquire_owned().ok(),
        });
        assert_eq!(permits.available_permits(), 0);
        (permits, receiver)
    }

    #[tokio::test(start_paused = true)]
    async fn silent_record_makes_room_for_later_ones_before_it_is_given_up() {
        let mut in_flight = InFlight::default();
        let (permits, mut silent) = send_with_permit(&mut in_flight);
        tokio::time::advance(Duration::from_secs(3)).await;
        in_flight.give_up_silent();
        assert_eq!(permits.available_permits(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        in_flight.give_up_silent();
        assert_eq!((permits.available_permits(), silent.try_recv()), (1, OPEN));
        tokio::time::advance(Duration::from_millis(11_999)).await;
        in_flight.give_up_silent();
        assert_eq!(silent.try_recv(), OPEN, "after 15 s");
        tokio::time::advance(Duration::from_millis(1)).await;
        in_flight.give_up_silent();
        assert_eq!(silent.try_recv(), GIVEN_UP);
    }

    #[tokio::test]
    async fn record_of_a_lost_connection_makes_room_and_may_be_answered() {
        let mut in_flight = InFlight::default();
        let (permits, mut lost) = send_with_permit(&mut in_flight);
        in_flight.release_permits();
        assert_eq!((permits.available_permits(), lost.try_recv()), (1, OPEN));
    }

    #[tokio::test]
    async fn records_of_earlier_connections_or_all_are_given_up() {
        let mut in_flight = InFlight::default();
        let (_, mut old) = send(&mut in_flight, "a", 0);
        let (_, mut new) = send(&mut in_flight, "a", 1);
        in_flight.give_up_before(1);
        assert_eq!((old.try_recv(), new.try_recv()), (GIVEN_UP, OPEN));
        in_flight.give_up_all();
        assert_eq!(new.try_recv(), GIVEN_UP);
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
        in_flight.answer(first_token.unwrap(), RecordOutcome::Stored);
        assert_eq!(first.try_recv(), Ok(RecordOutcome::Stored));
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
        assert_eq!(send(&mut in_flight, "a", 1).0, None, "an error may follow");
        tokio::time::advance(Duration::from_millis(15_001)).await;
        in_flight.give_up_silent();
        let (_, mut again) = send(&mut in_flight, "a", 1);
        in_flight.forbid("a");
        assert_eq!(again.try_recv(), REFUSED, "the slate is clean");
    }
}
