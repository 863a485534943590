//! Sending to single endpoints: several events, each with its one delivery and its key, in one transaction.

use std::sync::Arc;

use nahook_core::{
    Clock, DeliveryId, DirectDelivery, DirectOutcome, DirectPublisher, EndpointId, Event,
    FailureKind, IdempotencyKey, MessageId, Timestamp,
};
use nahook_queue::{Reply, Submission};
use rusqlite::{OptionalExtension, params};

use crate::Role;
use crate::error::{WriteEffect, WriteError, is_too_big};
use crate::publisher::insert_event;
use crate::queue::QueueState;
use crate::row::{Status, delivery_key, message_at, nanos};
use crate::store::SqliteStore;
use crate::writer::{Job, Session};

/// Number of expired keys deleted for each that is claimed: more than one, so that they cannot pile up.
const FORGOTTEN_PER_CLAIM: i64 = 2;

impl DirectPublisher for SqliteStore {
    /// Queues all slots whose endpoint exists in one durable transaction, together with whatever else arrives at that
    /// moment.
    ///
    /// Dropped before the writer has begun with it, nothing is written and the slots say so; dropped later, they stay
    /// unconfirmed unless the answer has arrived.
    async fn publish_direct(&self, deliveries: &mut [DirectDelivery]) {
        if deliveries.is_empty() {
            return;
        }
        if self.shared().role() != Role::Server {
            resolve_all(deliveries, FailureKind::QueueUnavailable);
            return;
        }
        let (job, submission) = DirectJob::new(deliveries, self.shared().shared_clock());
        self.shared().writer().send(Box::new(job));
        submission.answered().await;
    }
}

/// The writer's answer: the outcome of each slot.
type Written = Result<Vec<DirectOutcome>, WriteError>;

fn resolve(written: Option<Written>, slots: &mut [DirectDelivery]) {
    let kind = match written {
        Some(Ok(outcomes)) => {
            for (slot, outcome) in slots.iter_mut().zip(outcomes) {
                slot.resolve(outcome);
            }
            return;
        }
        Some(Err(error)) => match error.effect() {
            WriteEffect::RolledBack => FailureKind::QueueUnavailable,
            WriteEffect::Unclear => FailureKind::Unconfirmed,
        },
        None => FailureKind::QueueUnavailable,
    };
    resolve_all(slots, kind);
}

fn resolve_all(slots: &mut [DirectDelivery], kind: FailureKind) {
    for slot in slots {
        slot.failed(kind);
    }
}

/// The writer's side.
struct DirectJob {
    slots: Vec<Slot>,
    clock: Arc<dyn Clock>,
    /// True if the deliveries start as fresh; otherwise they start as pending.
    are_fresh: bool,
    written: Vec<DirectOutcome>,
    queued: Vec<Queued>,
    reply: Reply<Written>,
}

struct Slot {
    event: Event,
    endpoint: EndpointId,
}

/// A delivery to announce to the queue after the commit.
struct Queued {
    /// Which slot's.
    slot: usize,
    /// The endpoint's row.
    endpoint: i64,
    /// The event's number and the delivery's key, unless the delivery was there already.
    new: Option<(i64, i64)>,
}

impl DirectJob {
    fn new(
        deliveries: &mut [DirectDelivery],
        clock: Arc<dyn Clock>,
    ) -> (Self, Submission<'_, DirectDelivery, Written>) {
        let slot = |slot: &DirectDelivery| Slot {
            event: slot.event().clone(),
            endpoint: slot.endpoint(),
        };
        let slots: Vec<_> = deliveries.iter().map(slot).collect();
        let (submission, reply) = Submission::new(deliveries, resolve);
        let job = Self {
            written: Vec::with_capacity(slots.len()),
            slots,
            clock,
            are_fresh: false,
            queued: Vec::new(),
            reply,
        };
        (job, submission)
    }
}

impl Job for DirectJob {
    fn weight(&self) -> usize {
        3 * self.slots.len()
    }

    fn take(&mut self, queue: &mut QueueState) -> bool {
        self.are_fresh = queue.has_room_for_fresh();
        self.reply.take()
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        self.written.clear();
        self.queued.clear();
        // Read within the transaction: keys are claimed in the order of the writer.
        let now = self.clock.now();
        let status = (!self.are_fresh).then_some(Status::Pending);
        for (at, slot) in self.slots.iter().enumerate() {
            let outcome = match slot.write(session, now, at, status, &mut self.queued) {
                // Refused before anything of it was written.
                Err(error) if is_too_big(&error) => {
                    DirectOutcome::Failed(FailureKind::PayloadTooLarge)
                }
                outcome => outcome?,
            };
            self.written.push(outcome);
        }
        match self.queued.len() {
            // Each was refused, or stands for one that was sent before.
            0 => Ok(()),
            queued => session.leave_room_to_settle(queued),
        }
    }

    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState) {
        if !is_committed {
            return;
        }
        for Queued {
            slot,
            endpoint,
            new,
        } in &self.queued
        {
            match new {
                Some((seq, key)) => {
                    queue.remember_event(*seq, 1, &self.slots[*slot].event);
                    if self.are_fresh {
                        queue.add_fresh(*endpoint, *key);
                    } else {
                        queue.add_pending(*endpoint, *key);
                    }
                }
                None => queue.note_work(*endpoint),
            }
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let Self { written, reply, .. } = *self;
        reply.answer(outcome.map(|()| written));
    }
}

impl Slot {
    fn write(
        &self,
        session: &mut Session,
        now: Timestamp,
        at: usize,
        status: Option<Status>,
        queued: &mut Vec<Queued>,
    ) -> rusqlite::Result<DirectOutcome> {
        let gone = Ok(DirectOutcome::Failed(FailureKind::EndpointGone));
        let Some(workspace) = session.workspace(self.event.workspace)? else {
            return gone;
        };
        let Some(endpoint) = session.endpoint(self.endpoint, workspace)? else {
            return gone;
        };
        if let Some(key) = &self.event.idempotency_key
            && let Some(original) = original(session, endpoint, key, now)?
        {
            return Ok(DirectOutcome::Replayed(original));
        }
        let event_type = session.event_type(&self.event, workspace)?;
        let connection = session.connection();
        let (seq, _) = insert_event(connection, &self.event, workspace, event_type, 1)?;
        let key = delivery_key(seq, 0);
        let inserted = connection
            .prepare_cached(
                "INSERT INTO delivery (key, endpoint, status, attempts) VALUES (?1, ?2, ?3, 0)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![key, endpoint, status])?;
        if let Some(key) = &self.event.idempotency_key {
            claim(session, endpoint, key, self.event.id, now)?;
        }
        queued.push(Queued {
            slot: at,
            endpoint,
            new: key.filter(|_| inserted == 1).map(|key| (seq, key)),
        });
        Ok(DirectOutcome::Published)
    }
}

/// Returns the delivery that the key stands for now.
fn original(
    session: &Session,
    endpoint: i64,
    key: &IdempotencyKey,
    now: Timestamp,
) -> rusqlite::Result<Option<DeliveryId>> {
    let found = session
        .connection()
        .prepare_cached(
            "SELECT message FROM idempotency_key
             WHERE endpoint = ?1 AND key = ?2 AND claimed_at > ?3",
        )?
        .query_row(
            params![endpoint, key.as_str().as_bytes(), over_before(now)],
            |row| message_at(row, 0),
        )
        .optional()?;
    Ok(found.map(|message| DeliveryId::nth(message, 0)))
}

/// From now on the key stands for the message's delivery. Forgets some of those that have run out.
fn claim(
    session: &Session,
    endpoint: i64,
    key: &IdempotencyKey,
    message: MessageId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let connection = session.connection();
    connection
        .prepare_cached(
            "INSERT INTO idempotency_key (endpoint, key, message, claimed_at)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET message = excluded.message, claimed_at = excluded.claimed_at",
        )?
        .execute(params![
            endpoint,
            key.as_str().as_bytes(),
            message.as_bits().to_be_bytes().as_slice(),
            nanos(now),
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM idempotency_key WHERE (endpoint, key) IN
                 (SELECT endpoint, key FROM idempotency_key
                  WHERE claimed_at <= ?1 ORDER BY claimed_at LIMIT ?2)",
        )?
        .execute(params![over_before(now), FORGOTTEN_PER_CLAIM])?;
    Ok(())
}

/// Keys claimed then or before have run out at `now`.
fn over_before(now: Timestamp) -> i64 {
    let window = u64::try_from(IdempotencyKey::WINDOW.as_nanos()).unwrap_or(u64::MAX);
    let before = now.as_nanos().checked_sub(window);
    // Within a day of 1970: no key can have been claimed a day before.
    before.map_or(-1, |before| nanos(Timestamp::from_nanos(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_runs_out_after_twenty_four_hours() {
        let claimed_at = Timestamp::from_millis(1_767_225_600_000);
        let hours = |count: u64| claimed_at.as_nanos() + count * 3_600_000_000_000;
        let is_over = |now| nanos(claimed_at) <= over_before(Timestamp::from_nanos(now));
        for (now, expected) in [
            (hours(0), false),
            (hours(23), false),
            (hours(24) - 1, false),
            (hours(24), true),
            (hours(25), true),
        ] {
            assert_eq!(is_over(now), expected, "{now}");
        }
        // A clock that begins with the epoch: nothing can have run out on its first day.
        let day = Timestamp::from_nanos(86_400_000_000_000 - 1);
        assert_eq!(over_before(day), -1);
    }
}
