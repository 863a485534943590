//! Ending leases: first what has to outlive the record is stored elsewhere, then the progress is noted, and then it counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nahook_core::{DeliveryId, EndpointId, Event, StoreError, Timestamp};

use nahook_queue::{Attempt, Lease, LogEntry, Next, Settled, Settlement, Standing};

use super::hub::Hub;
use super::progress::{Kept, Progress, RecordKey};
use super::state::Slot;
use crate::error::QueueError;
use crate::record::Item;

/// How long settling waits for the log, once everything else is done.
const LOG_PATIENCE: Duration = Duration::from_millis(250);

/// How one delivery is to be settled.
pub(super) struct Plan {
    pub(super) lease: Lease,
    pub(super) record: RecordKey,
    pub(super) place: u32,
    pub(super) event: Arc<Event>,
    pub(super) endpoint: EndpointId,
    /// How many attempts there are, the one that is settled included.
    pub(super) attempts: u32,
    pub(super) attempt: Option<Attempt>,
    pub(super) course: Course,
}

/// What is to become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Course {
    Close(Next),
    /// It stays in its record.
    Keep(Timestamp),
    /// It moves to the stream of retries.
    Move(Timestamp),
}

impl Plan {
    pub(super) fn of(lease: Lease, slot: &Slot, attempt: Option<Attempt>, course: Course) -> Self {
        Self {
            lease,
            record: slot.record,
            place: slot.place,
            event: Arc::clone(&slot.event),
            endpoint: slot.endpoint,
            attempts: slot.attempts + u32::from(attempt.is_some()),
            attempt,
            course,
        }
    }

    /// What the log shows of it; nothing where nobody has attempted it and nobody will yet.
    fn log_entry(&self, now: Timestamp) -> Option<LogEntry> {
        let standing = match self.course {
            Course::Close(Next::Delivered) => Standing::Delivered,
            Course::Close(Next::DeadLetter) => Standing::DeadLetter,
            Course::Close(_) => Standing::Failed,
            Course::Keep(_) | Course::Move(_) if self.attempt.is_none() => return None,
            Course::Keep(at) | Course::Move(at) => Standing::Retry(at),
        };
        Some(LogEntry {
            event: Arc::clone(&self.event),
            delivery: self.lease.delivery,
            endpoint: self.endpoint,
            attempts: self.attempts,
            attempt: self.attempt.clone(),
            standing,
            at: now,
        })
    }

    /// The delivery as a record has it.
    pub(super) fn item(&self, due_at: Option<Timestamp>) -> Item {
        Item {
            delivery: self.lease.delivery,
            endpoint: self.endpoint,
            attempts: self.attempts,
            due_at,
        }
    }
}

impl Hub {
    /// Settles. Every lease is answered; an error says that nothing is known of some.
    pub(super) async fn settle(
        &self,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let mut answers = vec![Settled::LeaseLost; settlements.len()];
        let mut plans = Vec::new();
        let mut nth = Vec::new();
        let mut has_released = false;
        {
            let now = self.now();
            let mut state = self.state();
            let is_crowded = state.slots.len() > self.settings.window_len_max / 2;
            for (n, settlement) in settlements.iter().enumerate() {
                let id = settlement.lease.delivery;
                let Some(slot) = state.begin_settling(settlement.lease) else {
                    continue;
                };
                let course = match settlement.next {
                    Next::Release if settlement.attempt.is_none() => {
                        state.end_lease(id);
                        state.enqueue(id, now);
                        answers[n] = Settled::Done;
                        has_released = true;
                        continue;
                    }
                    Next::Release => Course::Keep(slot.due_at),
                    Next::Retry(at) if self.is_soon(at, now, is_crowded) => Course::Keep(at),
                    Next::Retry(at) => Course::Move(at),
                    closed => Course::Close(closed),
                };
                let attempt = settlement.attempt.clone();
                plans.push(Plan::of(settlement.lease, slot, attempt, course));
                nth.push(n);
            }
        }
        if has_released {
            self.changed();
        }
        let done = self.carry_out(plans).await;
        for (n, done) in nth.into_iter().zip(&done) {
            if *done {
                answers[n] = Settled::Done;
            }
        }
        if done.iter().all(|done| *done) {
            Ok(answers)
        } else {
            Err(StoreError::unavailable(QueueError::Unconfirmed))
        }
    }

    /// Whether a retry due then stays in its record: while there is much in hand, only one that is due at once.
    fn is_soon(&self, at: Timestamp, now: Timestamp, is_crowded: bool) -> bool {
        let wait = at.saturating_since(now);
        wait.is_zero() || (!is_crowded && wait <= self.settings.keep_retries_for)
    }

    /// Carries plans out whose leases are being settled; answers which it did. Those that it did not are leased as before, also
    /// if this is dropped on the way.
    pub(super) async fn carry_out(&self, plans: Vec<Plan>) -> Vec<bool> {
        if plans.is_empty() {
            return Vec::new();
        }
        let mut guard = Guard { hub: self, plans };
        let mut done = self.store_elsewhere(&guard.plans).await;
        let noted = self.progress_of(&guard.plans, &done);
        // Before the note, on the same connection: what is known to be settled, the log knows as well.
        let telling = self.tell_log(&guard.plans, &done).await;
        if !noted.is_empty() && !self.note(noted.iter()).await {
            done.fill(false);
            return done;
        }
        if let Some(telling) = telling {
            // Sent beside the note, so that it is as good as there by now. If not, it goes on and we do too.
            let _ = tokio::time::timeout(LOG_PATIENCE, telling).await;
        }
        let mut acks = Vec::new();
        {
            let now = self.now();
            let mut state = self.state();
            for (key, progress) in &noted {
                state.index.learn(*key, progress);
            }
            for (plan, done) in guard.plans.iter().zip(&done) {
                let id = plan.lease.delivery;
                match plan.course {
                    _ if !done => state.stop_settling(plan.lease),
                    Course::Keep(due_at) => {
                        let attempts = plan.attempts;
                        state.keep(id, Kept { attempts, due_at }, now);
                    }
                    Course::Close(_) | Course::Move(_) => acks.extend(state.close(id)),
                }
            }
        }
        guard.plans.clear();
        drop(guard);
        self.changed();
        if !acks.is_empty() {
            self.has_room();
            self.acknowledge(acks).await;
        }
        done
    }

    /// Begins to tell the log what has become of these deliveries, if there is one.
    async fn tell_log(&self, plans: &[Plan], done: &[bool]) -> Option<tokio::task::JoinHandle<()>> {
        let log = self.log.as_ref()?;
        let now = self.now();
        let told = plans.iter().zip(done).filter(|(_, done)| **done);
        let entries: Vec<_> = told.filter_map(|(plan, _)| plan.log_entry(now)).collect();
        if entries.is_empty() {
            return None;
        }
        Some(tokio::spawn(log.tell(&entries).await.stored()))
    }

    /// Stores what has to outlive the record: retries that are far away, and dead letters.
    async fn store_elsewhere(&self, plans: &[Plan]) -> Vec<bool> {
        let mut done = vec![true; plans.len()];
        let moved: Vec<_> = (0..plans.len())
            .filter(|n| matches!(plans[*n].course, Course::Move(_)))
            .collect();
        let dead: Vec<_> = (0..plans.len())
            .filter(|n| plans[*n].course == Course::Close(Next::DeadLetter))
            .collect();
        let (moved_stored, dead_stored) = tokio::join!(
            self.store_retries(plans, &moved),
            self.store_dead_letters(plans, &dead)
        );
        for n in moved.into_iter().filter(|n| !moved_stored.contains(n)) {
            done[n] = false;
        }
        for n in dead.into_iter().filter(|n| !dead_stored.contains(n)) {
            done[n] = false;
        }
        done
    }

    fn progress_of(&self, plans: &[Plan], done: &[bool]) -> HashMap<RecordKey, Progress> {
        let state = self.state();
        let mut noted: HashMap<RecordKey, Progress> = HashMap::new();
        for (plan, _) in plans.iter().zip(done).filter(|(_, done)| **done) {
            let Some(held) = state.records.get(&plan.record) else {
                continue;
            };
            let len = u32::try_from(held.deliveries.len()).unwrap_or(u32::MAX);
            let progress = noted
                .entry(plan.record)
                .or_insert_with(|| Progress::of(len));
            match plan.course {
                Course::Keep(due_at) => {
                    let attempts = plan.attempts;
                    progress.keep(plan.place, Kept { attempts, due_at });
                }
                Course::Close(_) | Course::Move(_) => progress.settle(plan.place),
            }
        }
        noted
    }
}

/// Leases that are being settled.
struct Guard<'a> {
    hub: &'a Hub,
    plans: Vec<Plan>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.plans.is_empty() {
            return;
        }
        let mut state = self.hub.state();
        for plan in &self.plans {
            state.stop_settling(plan.lease);
        }
    }
}

/// The ids of some plans' deliveries, as a name for a record of them: the same deliveries after the same attempts give the same.
pub(super) fn name(kind: &str, first: DeliveryId, attempts: u32, len: usize) -> String {
    format!("{kind}-{first}-{attempts}-{len}")
}
