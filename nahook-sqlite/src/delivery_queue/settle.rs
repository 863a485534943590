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

/// Rows that a batch makes of records that are too many, or as many as it has settlements.
const ROWS_MAX: usize = 512;

/// A batch of settlements.
pub(super) struct SettleJob {
    settlements: Vec<Settlement>,
    /// The leases, where they were still held when the writer began with this.
    held: Vec<Option<Held<i64, LeasedRow>>>,
    /// Events of whose fresh deliveries the last may become a row, and how many are left.
    ending: Vec<(i64, usize)>,
    /// Events whose fresh deliveries are to become rows besides, as far as the job has room for them, and how many are left.
    too_many: Vec<(i64, usize)>,
    /// Endpoints and keys of those that have.
    made_rows: Vec<(i64, i64)>,
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
            too_many: Vec::new(),
            made_rows: Vec::new(),
            now,
            answer,
        };
        (job, receiver)
    }

    /// Upper bound on rows made of records besides those that are settled: as many as new records may have come with these.
    fn rows_max(&self) -> usize {
        self.settlements.len().max(ROWS_MAX)
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
                self.ending.push((event, 0));
            }
            self.held.push(held);
        }
        self.ending.sort_unstable();
        self.ending.dedup();
        let too_many = queue.take_too_many_records(self.rows_max());
        self.too_many = too_many.into_iter().map(|event| (event, 0)).collect();
        true
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        for (settlement, held) in self.held() {
            write(session.connection(), settlement, held, self.now)?;
        }
        let connection = session.connection();
        for (event, left) in &mut self.ending {
            *left = record::end_if_done(connection, *event)?;
        }
        let rows_max = self.rows_max();
        self.made_rows.clear();
        for (event, left) in &mut self.too_many {
            let max = rows_max - self.made_rows.len();
            let (rows, rest) = record::make_rows(connection, *event, max)?;
            self.made_rows.extend(rows);
            *left = rest;
        }
        Ok(())
    }

    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState) {
        if is_committed {
            for (event, left) in self.ending.iter().chain(&self.too_many) {
                queue.set_left(*event, *left);
            }
            for (endpoint, key) in &self.made_rows {
                queue.became_row(*endpoint, *key);
            }
        }
        for (settlement, held) in self.held() {
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
    use std::time::Duration;

    use nahook_core::id::{DeliveryId, MessageId};
    use nahook_queue::{Attempt, Lease, LeaseToken, Next, WorkerId};

    use super::*;
    use crate::Role;
    use crate::queue::Queue;
    use crate::schema::empty;

    const FIRST: i64 = 1 << 20;

    /// Leases the delivery of the event 1 with this ordinal, which goes to the endpoint 5 and that number more.
    fn leased(queue: &mut QueueState, ordinal: u32) -> Settlement {
        let row = LeasedRow {
            key: FIRST + i64::from(ordinal),
            attempts: 0,
            is_fresh: true,
        };
        let delivery = DeliveryId::nth(MessageId::from_bits(7), ordinal);
        let endpoint = 5 + i64::from(ordinal);
        let expires_at = Timestamp::from_nanos(u64::MAX);
        let held = Held::new(WorkerId(1), endpoint, expires_at, row);
        let token = queue.claim(delivery, held);
        Settlement {
            lease: Lease { delivery, token },
            attempt: None,
            next: Next::Delivered,
        }
    }

    /// Settles as the writer does.
    fn settle(session: &mut Session, queue: &mut QueueState, settlements: &[Settlement]) {
        let (mut job, _answer) = SettleJob::new(settlements, Timestamp::default());
        assert!(job.take(queue));
        job.write(session).unwrap();
        job.conclude(true, queue);
    }

    fn text(session: &Session, sql: &str) -> String {
        let found = session.connection().query_row(sql, [], |row| row.get(0));
        found.unwrap()
    }

    /// Everything that the file has: rows, and what is fresh.
    fn file(session: &Session) -> String {
        text(
            session,
            "SELECT coalesce((SELECT group_concat((key & 1048575) || ':' || status, ' ') FROM nahook_delivery), '')
                 || ' | ' || coalesce((SELECT group_concat(key & 1048575, ' ') FROM nahook_fresh), '')
                 || ' | ' || (SELECT count(*) FROM nahook_queued)",
        )
    }

    #[test]
    fn what_is_left_of_the_oldest_of_too_many_records_becomes_rows_wherever_it_is() {
        let mut session = Session::new(empty(), Role::Server);
        let record = "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 1);
            INSERT INTO nahook_record VALUES (1, '[5, 6, 7, 8]')";
        session.connection().execute_batch(record).unwrap();
        let queue = Queue::new(LeaseToken(0), 100);
        let mut queue = queue.state();
        // Some are settled in this job, some are leased, and some wait.
        let (one, other) = (leased(&mut queue, 0), leased(&mut queue, 1));
        (0..4).for_each(|at| queue.add_fresh(5 + at, FIRST + at));
        settle(&mut session, &mut queue, &[one]);
        assert_eq!(file(&session), "0:2 | 1 2 3 | 1");
        for event in 2..4_200 {
            queue.set_left(event, 1_000);
        }
        let third = leased(&mut queue, 2);
        settle(&mut session, &mut queue, &[third]);
        assert_eq!(file(&session), "0:2 1:0 2:2 3:0 |  | 0");
        assert_eq!(queue.fresh_len(), 0);
        // What is leased is a row now, and settled as one; nothing of it is counted again.
        settle(&mut session, &mut queue, &[other]);
        assert_eq!(file(&session), "0:2 1:2 2:2 3:0 |  | 0");
        assert_eq!(queue.fresh_len(), 0);
    }

    #[test]
    fn records_become_rows_a_bounded_number_at_once() {
        let mut session = Session::new(empty(), Role::Server);
        let endpoints = serde_json::to_string(&(0..400).collect::<Vec<_>>()).unwrap();
        let records = format!(
            "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 400), (2, x'02', 1, 1, 400);
             INSERT INTO nahook_record VALUES (1, '{endpoints}'), (2, '{endpoints}')"
        );
        session.connection().execute_batch(&records).unwrap();
        let queue = Queue::new(LeaseToken(0), 100);
        let mut queue = queue.state();
        for event in 1..4_200 {
            queue.set_left(event, 400);
        }
        let rows = |session: &Session| {
            text(
                session,
                "SELECT count(*) || ' ' || (SELECT count(*) FROM nahook_queued) FROM nahook_delivery",
            )
        };
        settle(&mut session, &mut queue, &[]);
        assert_eq!(rows(&session), "512 1");
        settle(&mut session, &mut queue, &[]);
        assert_eq!(rows(&session), "800 0");
    }

    #[test]
    fn attempt_that_an_unclear_commit_has_left_is_replaced() {
        let mut session = Session::new(empty(), Role::Server);
        let left = "INSERT INTO nahook_event (seq, id, workspace, accepted_at, width) VALUES (1, x'01', 1, 1, 1);
            INSERT INTO nahook_record VALUES (1, '[5]');
            INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES (1 << 20, 5, 1, 1);
            INSERT INTO nahook_attempt (delivery, number, started_at, duration, error) VALUES (1 << 20, 1, 1, 1, 'old')";
        session.connection().execute_batch(left).unwrap();
        let queue = Queue::new(LeaseToken(0), 100);
        let mut queue = queue.state();
        let mut settlement = leased(&mut queue, 0);
        settlement.attempt = Some(Attempt {
            started_at: Timestamp::from_millis(9),
            duration: Duration::from_millis(1),
            status_code: Some(200),
            error: None,
            response_body: None,
        });
        settle(&mut session, &mut queue, &[settlement]);
        assert_eq!(file(&session), "0:2 |  | 0");
        let attempts = "SELECT group_concat(number || ':' || coalesce(error, status_code)) FROM nahook_attempt";
        assert_eq!(text(&session, attempts), "1:200");
    }

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
