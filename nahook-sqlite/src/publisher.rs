//! Publishing: an event and its deliveries, in one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{Clock, Delivery, DeliveryPublisher, Event, FailureKind, Metadata};
use nahook_queue::{DeliveryState, Reply, Submission};
use rusqlite::{Connection, params};

use crate::Role;
use crate::error::{WriteEffect, WriteError};
use crate::idempotency::claim;
use crate::queue::QueueState;
use crate::record;
use crate::row::{delivery_key, nanos};
use crate::store::SqliteStore;
use crate::writer::{Job, Session, Urgency};

impl DeliveryPublisher for SqliteStore {
    /// Queues all deliveries of endpoints that exist in one durable transaction, together with whatever else arrives at
    /// that moment.
    ///
    /// Dropped before the writer has begun with it, nothing is written and the slots say so; dropped later, they stay
    /// unconfirmed unless the answer has arrived.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if deliveries.is_empty() {
            return;
        }
        if self.shared().role() != Role::Server {
            resolve_all(deliveries, FailureKind::QueueUnavailable);
            return;
        }
        let (job, submission) = PublishJob::new(event, deliveries, self.shared().shared_clock());
        self.shared().writer().send(Box::new(job));
        submission.answered().await;
    }
}

/// The writer's answer: the outcome of each slot.
type Written = Result<Vec<Slot>, WriteError>;

fn resolve(written: Option<Written>, slots: &mut [Delivery]) {
    match written {
        None => resolve_all(slots, FailureKind::QueueUnavailable),
        Some(Ok(written)) => {
            for (slot, written) in slots.iter_mut().zip(written) {
                match written {
                    Slot::Gone => slot.mark_failed(FailureKind::EndpointGone),
                    Slot::Unfit => slot.mark_failed(FailureKind::QueueUnavailable),
                    Slot::Replayed(original) => slot.mark_replayed(original),
                    Slot::Written(_) => slot.mark_published(),
                }
            }
        }
        Some(Err(error)) => match error.effect() {
            WriteEffect::RolledBack if error.is_too_big() => {
                resolve_all(slots, FailureKind::PayloadTooLarge);
            }
            WriteEffect::RolledBack => resolve_all(slots, FailureKind::QueueUnavailable),
            WriteEffect::Unclear => resolve_all(slots, FailureKind::Unconfirmed),
        },
    }
}

fn resolve_all(slots: &mut [Delivery], kind: FailureKind) {
    for slot in slots {
        slot.mark_failed(kind);
    }
}

/// Number of slots of a record that take about as long as a row.
const SLOTS_OF_ROW: usize = 16;

/// Outcome of a slot in the transaction.
#[derive(Clone, Copy)]
enum Slot {
    /// Its endpoint does not exist.
    Gone,
    /// Its ordinal is beyond what a key has room for, or nothing new is queued for lack of space.
    Unfit,
    /// Its idempotency key stands for this earlier delivery.
    Replayed(DeliveryId),
    /// It is queued for the endpoint with this row.
    Written(i64),
}

/// The writer's side of a publish.
struct PublishJob {
    event: Event,
    /// Ordinal and endpoint of each slot; no ordinal if the slot is another message's.
    slots: Vec<(Option<u32>, EndpointId)>,
    clock: Arc<dyn Clock>,
    written: Vec<Slot>,
    queued: Queued,
    reply: Reply<Written>,
}

/// Deliveries to announce to the queue after the commit.
#[derive(Debug, Default)]
struct Queued {
    /// The event's number.
    seq: i64,
    /// True if they are a record; otherwise each is a row.
    are_fresh: bool,
    /// The endpoints and keys of deliveries that were not there before.
    new: Vec<(i64, i64)>,
    /// Endpoints whose delivery was there already.
    known: Vec<i64>,
}

impl PublishJob {
    fn new<'a>(
        event: &Event,
        deliveries: &'a mut [Delivery],
        clock: Arc<dyn Clock>,
    ) -> (Self, Submission<'a, Delivery, Written>) {
        let slots = deliveries.iter();
        let slots = slots.map(|slot| (slot.id().ordinal(event.id), slot.endpoint()));
        let slots = slots.collect();
        let written = Vec::with_capacity(deliveries.len());
        let (submission, reply) = Submission::new(deliveries, resolve);
        let job = Self {
            event: event.clone(),
            slots,
            clock,
            written,
            queued: Queued::default(),
            reply,
        };
        (job, submission)
    }
}

impl Job for PublishJob {
    fn weight(&self) -> usize {
        2 + self.slots.len() / SLOTS_OF_ROW
    }

    fn urgency(&self) -> Urgency {
        Urgency::Publication
    }

    fn take(&mut self, _queue: &mut QueueState) -> bool {
        self.reply.take()
    }

    fn write(&mut self, session: &mut Session) -> rusqlite::Result<()> {
        self.written.clear();
        self.queued = Queued::default();
        if session.is_disk_low() {
            self.written.resize(self.slots.len(), Slot::Unfit);
            return Ok(());
        }
        let Some(workspace) = session.workspace(self.event.workspace)? else {
            self.written.resize(self.slots.len(), Slot::Gone);
            return Ok(());
        };
        let mut width = 0;
        // The clock is read within the transaction: keys are claimed in the order of the writer.
        let key = self.event.idempotency_key.as_ref();
        let key = key.map(|key| (key, self.clock.now()));
        for (ordinal, endpoint) in &self.slots {
            // A key stands for one delivery: its event's first.
            let ordinal_max = if key.is_some() { 0 } else { u32::MAX };
            let fits = ordinal
                .filter(|ordinal| *ordinal <= ordinal_max && delivery_key(0, *ordinal).is_some());
            let slot = match (session.endpoint(*endpoint, workspace)?, fits) {
                (None, _) => Slot::Gone,
                (Some(_), None) => Slot::Unfit,
                (Some(row), Some(ordinal)) => {
                    let replayed = match key {
                        Some((key, now)) => claim(session, row, key, self.event.id, now)?,
                        None => None,
                    };
                    if let Some(original) = replayed {
                        Slot::Replayed(original)
                    } else {
                        width = width.max(ordinal + 1);
                        Slot::Written(row)
                    }
                }
            };
            self.written.push(slot);
        }
        if width == 0 {
            return Ok(());
        }
        let event_type = session.event_type(&self.event, workspace)?;
        let deliveries: Vec<_> = self.deliveries().collect();
        let audience = record::endpoints_of(&deliveries)
            .map(|endpoints| session.audience(endpoints))
            .transpose()?;
        let connection = session.connection();
        let (seq, is_new) = insert_event(
            connection,
            &self.event,
            workspace,
            event_type,
            width,
            audience,
        )?;
        self.queued.seq = seq;
        let new: Vec<_> = deliveries
            .into_iter()
            .filter_map(|(endpoint, ordinal)| Some((endpoint, delivery_key(seq, ordinal)?)))
            .collect();
        if let Some(audience) = audience.filter(|_| is_new) {
            record::insert(connection, seq, audience)?;
            self.queued.are_fresh = true;
            self.queued.new = new;
        } else {
            self.insert_rows(connection, new)?;
        }
        session.leave_room_to_settle(self.queued.new.len())
    }

    fn conclude(&mut self, is_committed: bool, queue: &mut QueueState) {
        if !is_committed {
            return;
        }
        let Queued {
            seq,
            are_fresh,
            new,
            known,
        } = &self.queued;
        if !new.is_empty() {
            queue.remember_event(*seq, new.len(), &self.event);
        }
        for (endpoint, key) in new {
            if *are_fresh {
                queue.add_fresh(*endpoint, *key);
            } else {
                queue.add_pending(*endpoint, *key);
            }
        }
        for endpoint in known {
            queue.note_work(*endpoint);
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), WriteError>) {
        let Self { written, reply, .. } = *self;
        reply.answer(outcome.map(|()| written));
    }
}

impl PublishJob {
    /// The endpoints and ordinals of what is to be written.
    fn deliveries(&self) -> impl Iterator<Item = (i64, u32)> {
        let slots = self.slots.iter().zip(&self.written);
        slots.filter_map(|((ordinal, _), slot)| match slot {
            Slot::Written(endpoint) => Some((*endpoint, (*ordinal)?)),
            Slot::Gone | Slot::Unfit | Slot::Replayed(_) => None,
        })
    }

    /// Inserts deliveries as rows. Some may be there already, in the event's record or as rows: those were published before, and are
    /// queued, which is all that is asked.
    fn insert_rows(
        &mut self,
        connection: &Connection,
        rows: Vec<(i64, i64)>,
    ) -> rusqlite::Result<()> {
        let fresh = record::fresh(connection, self.queued.seq, usize::MAX)?;
        let fresh: HashSet<_> = fresh.into_iter().map(|(_, key)| key).collect();
        let mut insert = connection.prepare_cached(
            "INSERT INTO nahook_delivery (key, endpoint, status, attempts) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT DO NOTHING",
        )?;
        let pending = DeliveryState::Pending.code();
        for (endpoint, key) in rows {
            if !fresh.contains(&key) && insert.execute(params![key, endpoint, pending])? == 1 {
                self.queued.new.push((endpoint, key));
            } else {
                self.queued.known.push(endpoint);
            }
        }
        Ok(())
    }
}

/// The labels as they are stored; absent if there are none.
pub(crate) fn metadata_json(metadata: &Metadata) -> rusqlite::Result<Option<String>> {
    if metadata.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_string(metadata);
    json.map(Some)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Writes the event and answers its number and whether it is new; one that is there already, because its deliveries are
/// published in several calls, keeps its number.
pub(crate) fn insert_event(
    connection: &Connection,
    event: &Event,
    workspace: i64,
    event_type: Option<i64>,
    width: u32,
    audience: Option<i64>,
) -> rusqlite::Result<(i64, bool)> {
    let id = event.id.as_bits().to_be_bytes();
    let metadata = metadata_json(&event.metadata)?;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO nahook_event (id, workspace, event_type, accepted_at, width, metadata, payload, idempotency_key, audience)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.as_slice(),
            workspace,
            event_type,
            nanos(event.accepted_at),
            width,
            metadata,
            event
                .payload
                .is_kept()
                .then_some(event.payload.as_bytes().as_ref()),
            event
                .idempotency_key
                .as_ref()
                .map(|key| key.as_str().as_bytes()),
            audience,
        ])?;
    if inserted == 1 {
        return Ok((connection.last_insert_rowid(), true));
    }
    connection
        .prepare_cached("UPDATE nahook_event SET width = max(width, ?2) WHERE id = ?1")?
        .execute(params![id.as_slice(), width])?;
    connection
        .prepare_cached("SELECT seq FROM nahook_event WHERE id = ?1")?
        .query_row([id.as_slice()], |row| Ok((row.get(0)?, false)))
}

#[cfg(test)]
mod tests {
    use nahook_core::{Outcome, Timestamp};

    use nahook_queue::LeaseToken;
    use nahook_testkit::ManualClock;
    use nahook_testkit::declare::{deliveries, event, nth_endpoint_id};

    use super::*;
    use crate::queue::Queue;

    /// A publish to two endpoints, handed to `act` in both halves; answers the slots' outcomes after it was given up.
    fn outcomes_after(act: impl FnOnce(Box<PublishJob>, &mut QueueState)) -> Vec<Outcome> {
        let event = event("ws", "a.b", 1, Timestamp::from_millis(1));
        let mut slots = deliveries(&event, &[nth_endpoint_id(0), nth_endpoint_id(1)]);
        let (job, submission) =
            PublishJob::new(&event, &mut slots, Arc::new(ManualClock::default()));
        act(Box::new(job), &mut Queue::new(LeaseToken(0), 100).state());
        drop(submission);
        slots.iter().map(Delivery::outcome).collect()
    }

    fn both(kind: FailureKind) -> Vec<Outcome> {
        vec![Outcome::Failed(kind); 2]
    }

    #[test]
    fn given_up_before_it_was_taken_is_definite_and_is_not_taken_later() {
        let mut left = None;
        let outcomes = outcomes_after(|job, _| left = Some(job));
        assert_eq!(outcomes, both(FailureKind::QueueUnavailable));
        let is_taken = left
            .unwrap()
            .take(&mut Queue::new(LeaseToken(0), 100).state());
        assert!(!is_taken);
    }

    #[test]
    fn given_up_while_it_is_written_is_unconfirmed() {
        let mut left = None;
        let outcomes = outcomes_after(|mut job, queue| {
            assert!(job.take(queue));
            left = Some(job);
        });
        assert_eq!(outcomes, both(FailureKind::Unconfirmed));
    }

    #[test]
    fn an_answer_that_came_in_time_is_kept() {
        let outcomes = outcomes_after(|mut job, queue| {
            assert!(job.take(queue));
            job.written = vec![Slot::Written(1), Slot::Gone];
            job.answer(Ok(()));
        });
        let gone = Outcome::Failed(FailureKind::EndpointGone);
        assert_eq!(outcomes, [Outcome::Published, gone]);
    }

    #[test]
    fn a_commit_that_is_unclear_leaves_them_unconfirmed() {
        let outcomes = outcomes_after(|mut job, queue| {
            assert!(job.take(queue));
            let cause = rusqlite::Error::InvalidQuery;
            job.answer(Err(WriteError::new(cause, WriteEffect::Unclear)));
        });
        assert_eq!(outcomes, both(FailureKind::Unconfirmed));
    }

    #[test]
    fn a_writer_that_ends_before_it_begins_has_queued_nothing() {
        let outcomes = outcomes_after(|job, _| drop(job));
        assert_eq!(outcomes, both(FailureKind::QueueUnavailable));
    }
}
