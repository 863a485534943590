//! Settling: the attempt and the delivery's new status, in one transaction.

use nahook_core::Timestamp;
use nahook_queue::{DeliveryState, Held, Settled, Settlement};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use crate::error::WriteError;
use crate::queue::{LeasedRow, QueueState};
use crate::record;
use crate::row::{nanos, split_key};
use crate::writer::{Job, Session, Urgency};

/// A batch of settlements.
pub(super) struct SettleJob {
    settlements: Vec<Settlement>,
    /// The leases, where they were still held when the writer began with this.
    held: Vec<Option<Held<i64, LeasedRow>>>,
    /// Events of whose fresh deliveries the last may become a row.
    ending: Vec<i64>,
    now: Timestamp,
    answer: oneshot::Sender<Result<Vec<Settled>, WriteError>>,
}

impl SettleJob {
    pub(super) fn new(
        settlements: &[Settlement],
        now: Timestamp,
    ) -> (Self, oneshot::Receiver<Result<Vec<Settled>, WriteError>>) {
        let (answer, receiver) = oneshot::channel();
        let job = Self {
            settlements: settlements.to_vec(),
            held: Vec::with_capacity(settlements.len()),
            ending: Vec::new(),
            now,
            answer,
        };
        (job, receiver)
    }

    fn held(&self) -> impl Iterator<Item = (&Settlement, &Held<i64, LeasedRow>)> {
        self.settlements
            .iter()
            .zip(&self.held)
            .filter_map(|(settlement, held)| Some((settlement, held.as_ref()?)))
    }
}

impl Job for SettleJob {
    fn weight(&self) -> usize {
        2 * self.settlements.len()
    }

    fn urgency(&self) -> Urgency {
        Urgency::Settlement
    }

    fn take(&mut self, queue: &mut QueueState) -> bool {
        if self.answer.is_closed() {
            // Whoever asked has given up and may be asking again.
            return false;
        }
        // From here on the leases neither expire nor are settled by another: no delivery is leased to two.
        for settlement in &self.settlements {
            let held = queue.begin_settling(settlement.lease);
            if let Some(event) = held.and_then(|held| new_row_of(settlement, &held))
                && queue.begin_row(event)
            {
                self.ending.push(event);
            }
            self.held.push(held);
        }
        self.ending.sort_unstable();
        self.ending.dedup();
        true
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        for (settlement, held) in self.held() {
            write(session.connection(), settlement, held, self.now)?;
        }
        let mut ending = self.ending.iter();
        ending.try_for_each(|event| record::remove_if_done(session.connection(), *event))
    }

    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState) {
        for (settlement, held) in self.held() {
            if let Some(event) = new_row_of(settlement, held) {
                queue.end_row(event, is_committed);
            }
            if !is_committed {
                queue.stop_settling(settlement.lease);
                continue;
            }
            let state = settlement.next.state();
            // As it was before it was leased.
            if state.is_none() && settlement.attempt.is_none() {
                queue.put_back(settlement.lease);
                continue;
            }
            queue.end(settlement.lease);
            match state.map(DeliveryState::retry_at) {
                None => queue.note_work_again(held.endpoint),
                Some(Some(at)) => queue.note_work_at(held.endpoint, at),
                Some(None) => {}
            }
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let settled = outcome.map(|()| {
            let of = |held: &Option<_>| match held {
                Some(_) => Settled::Done,
                None => Settled::LeaseLost,
            };
            self.held.iter().map(of).collect()
        });
        let _ = self.answer.send(settled);
    }
}

/// The event whose fresh delivery becomes a row by being settled so, if it does.
fn new_row_of(settlement: &Settlement, held: &Held<i64, LeasedRow>) -> Option<i64> {
    let becomes_row = settlement.attempt.is_some() || settlement.next.state().is_some();
    (held.kept.is_fresh && becomes_row).then(|| split_key(held.kept.key).0)
}

/// A fresh delivery becomes a row. Other rows keep what is absent.
const SETTLE: &str = "INSERT INTO nahook_delivery AS known
         (key, endpoint, status, attempts, due_at, first_attempt_at, delivered_at, updated_at)
     VALUES (?1, ?2, coalesce(?3, 0), ?4, ?5, ?6, ?7, ?8)
     ON CONFLICT (key) DO UPDATE SET
         due_at = CASE WHEN ?3 IS NULL THEN known.due_at ELSE ?5 END,
         status = coalesce(?3, known.status), attempts = ?4,
         first_attempt_at = coalesce(known.first_attempt_at, ?6), delivered_at = ?7, updated_at = ?8";

fn write(
    connection: &Connection,
    settlement: &Settlement,
    held: &Held<i64, LeasedRow>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let attempt = settlement.attempt.as_ref();
    let state = settlement.next.state();
    if attempt.is_none() && state.is_none() {
        return Ok(());
    }
    let row = &held.kept;
    let attempts = settlement.attempts_after(row.attempts);
    let now = nanos(now);
    connection.prepare_cached(SETTLE)?.execute(params![
        row.key,
        held.endpoint,
        state.map(DeliveryState::code),
        attempts,
        state.and_then(DeliveryState::retry_at).map(nanos),
        attempt
            .filter(|attempt| attempt.was_made())
            .map(|attempt| nanos(attempt.started_at)),
        (state == Some(DeliveryState::Delivered)).then_some(now),
        now,
    ])?;
    if let Some(attempt) = attempt {
        connection
            .prepare_cached(
                "INSERT INTO nahook_attempt (delivery, number, started_at, duration, status_code, error, response_body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 -- There already if a commit was taken for failed that was not.
                 ON CONFLICT (delivery, number) DO UPDATE SET
                     started_at = excluded.started_at, duration = excluded.duration, status_code = excluded.status_code,
                     error = excluded.error, response_body = excluded.response_body",
            )?
            .execute(params![
                row.key,
                attempts,
                nanos(attempt.started_at),
                i64::try_from(attempt.duration.as_nanos()).unwrap_or(i64::MAX),
                attempt.status_code,
                attempt.error,
 attempt.response_body,
            ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nahook_core::id::{DeliveryId, MessageId};
    use nahook_queue::{Lease, LeaseToken, Next};

    use super::*;
    use crate::queue::Queue;

    #[test]
    fn settlement_that_nobody_waits_for_is_not_begun_with() {
        for is_abandoned in [false, true] {
            let settlement = Settlement {
                lease: Lease {
                    delivery: DeliveryId::nth(MessageId::from_bits(7), 0),
                    token: LeaseToken(1),
                },
                attempt: None,
                next: Next::Delivered,
            };
            let (mut job, answer) = SettleJob::new(&[settlement], Timestamp::default());
            let answer = (!is_abandoned).then_some(answer);
            let is_taken = job.take(&mut Queue::new(LeaseToken(0), 100).state());
            assert_eq!(is_taken, !is_abandoned);
            drop(answer);
        }
    }
}
