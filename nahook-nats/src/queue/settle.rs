//! Settling: stores what has to outlive the record, then notes the progress, and then applies it.

use std::collections::HashMap;
use std::time::Duration;

use nahook_core::StoreError;
use nahook_queue::{DeliveryState, Settled, Settlement};

use super::hub::Hub;
use super::plan::Plan;
use super::progress::{Progress, RecordKey};
use crate::error::QueueError;

/// Time for which settling waits for the log, once everything else is done.
const LOG_PATIENCE: Duration = Duration::from_millis(250);

impl Hub {
    /// Settles deliveries and answers for every lease. An error says that the outcome of some is unknown.
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
            let is_crowded = is_crowded(state.slots.len(), self.settings.window_len_max);
            let keep_for = self.settings.keep_retries_for;
            for (n, settlement) in settlements.iter().enumerate() {
                let Some((slot, due_at)) = state.begin_settling(settlement.lease) else {
                    continue;
                };
                let next = settlement.next.state();
                if next.is_none() && settlement.attempt.is_none() {
                    state.scheduler.release(settlement.lease);
                    answers[n] = Settled::Done;
                    has_released = true;
                    continue;
                }
                let stays = next.is_none_or(|next| {
                    let retry_at = next.retry_at();
                    retry_at
                        .is_some_and(|at| is_soon(at.saturating_since(now), keep_for, is_crowded))
                });
                let next = next.unwrap_or(DeliveryState::Retry(due_at));
                let attempt = settlement.attempt.clone();
                plans.push(Plan::of(settlement.lease, slot, attempt, next, stays));
                nth.push(n);
            }
        }
        if has_released {
            self.notify_changed();
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

    /// Carries out plans whose leases are being settled. Returns for each whether it did; the others are leased as before, also
    /// if this is dropped on the way.
    pub(super) async fn carry_out(&self, plans: Vec<Plan>) -> Vec<bool> {
        if plans.is_empty() {
            return Vec::new();
        }
        let moving = plans.iter().filter(|plan| plan.moved_until().is_some());
        let moving = moving.map(|plan| plan.lease.delivery);
        self.state().moving.extend(moving);
        let mut guard = Guard { hub: self, plans };
        let mut done = self.store_elsewhere(&guard.plans).await;
        let noted = self.progress_of(&guard.plans, &done);
        // Before the note, on the same connection: what is noted is in the log as well.
        let logging = self.write_log(&guard.plans, &done).await;
        if !noted.is_empty() && !self.note(noted.iter()).await {
            done.fill(false);
            return done;
        }
        if let Some(logging) = logging {
            // Sent before the note, so that it is stored by now in general. If not, it goes on in the background.
            let _ = tokio::time::timeout(LOG_PATIENCE, logging).await;
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
                let has_moved = state.moving.remove(&id);
                if !done {
                    state.scheduler.stop_settling(plan.lease);
                } else if let Some(kept) = plan.kept() {
                    state.keep(id, kept, now);
                } else if has_moved {
                    acks.extend(state.close_moved(id, plan.record, plan.place));
                } else {
                    acks.extend(state.close(id));
                }
            }
        }
        guard.plans.clear();
        drop(guard);
        self.notify_changed();
        if !acks.is_empty() {
            self.notify_room();
            self.acknowledge(acks).await;
        }
        done
    }

    /// Sends entries of these deliveries to the log, if there is one. The task ends once they are stored.
    async fn write_log(
        &self,
        plans: &[Plan],
        done: &[bool],
    ) -> Option<tokio::task::JoinHandle<()>> {
        let log = self.log.as_ref()?;
        let now = self.now();
        let settled = plans.iter().zip(done).filter(|(_, done)| **done);
        let entries: Vec<_> = settled
            .filter_map(|(plan, _)| plan.log_entry(now))
            .collect();
        if entries.is_empty() {
            return None;
        }
        Some(tokio::spawn(log.send(&entries).await.wait_until_stored()))
    }

    /// Stores what has to outlive the record: retries that are due later, and dead letters.
    async fn store_elsewhere(&self, plans: &[Plan]) -> Vec<bool> {
        let mut done = vec![true; plans.len()];
        let moved: Vec<_> = (0..plans.len())
            .filter(|n| plans[*n].moved_until().is_some())
            .collect();
        let dead: Vec<_> = (0..plans.len())
            .filter(|n| plans[*n].state == DeliveryState::DeadLetter)
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
            match plan.kept() {
                Some(kept) => progress.keep(plan.place, kept),
                None => progress.settle(plan.place),
            }
        }
        noted
    }
}

/// Returns true if much is held.
fn is_crowded(held: usize, max: usize) -> bool {
    held > max / 2
}

/// Returns true if a retry that is due after this wait stays in its record. While much is held, only one that is due at once does.
fn is_soon(wait: Duration, keep_for: Duration, is_crowded: bool) -> bool {
    wait.is_zero() || (!is_crowded && wait <= keep_for)
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
            state.moving.remove(&plan.lease.delivery);
            state.scheduler.stop_settling(plan.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_stays_in_its_record_for_a_while_and_for_none_where_much_is_held() {
        let keep_for = Duration::from_secs(5);
        let is_soon = |wait, is_crowded| is_soon(Duration::from_millis(wait), keep_for, is_crowded);
        assert_eq!(
            [0, 1, 5_000, 5_001].map(|wait| is_soon(wait, false)),
            [true, true, true, false]
        );
        assert_eq!(
            [0, 1, 5_000].map(|wait| is_soon(wait, true)),
            [true, false, false]
        );
        assert_eq!(
            [0, 100, 101, 200].map(|held| is_crowded(held, 200)),
            [false, false, true, true]
        );
    }
}
