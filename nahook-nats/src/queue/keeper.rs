//! Care of held records: signs of life, notes that must not grow old, and endpoints that take all the room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nahook_queue::{DeliveryState, Lease, WorkerId};
use nahook_supervision::Exit;
use tokio::time::Instant;

use super::hub::Hub;
use super::plan::Plan;
use super::progress::{Progress, RecordKey};

/// Greatest age of the newest whole note of a record's progress: the stream of notes drops the oldest.
const NOTE_AGE: Duration = Duration::from_secs(15);
/// Most deliveries that are put off at a time.
const SENT_AWAY_MAX: usize = 4_096;
/// Time for which deliveries are put off, for every `AWAY_FOR_EACH` in the backlog of their endpoint …
const AWAY: Duration = Duration::from_mins(1);
const AWAY_FOR_EACH: usize = 16_384;
/// … up to this time.
const AWAY_MAX: Duration = Duration::from_mins(15);
/// Worker that leases the deliveries which are being put off.
const NOBODY: WorkerId = WorkerId(u64::MAX);

/// Interval of looking for retries of an earlier version, which may still run beside this one.
const LEFT_OVER_INTERVAL: Duration = Duration::from_secs(30);

pub(super) async fn run(hub: Arc<Hub>) -> Exit {
    let interval = (hub.settings.ack_wait / 3).clamp(Duration::from_millis(100), NOTE_AGE / 3);
    let mut left_over_at = Instant::now();
    let mut has_more = hub.schedule_left_over().await.is_some();
    loop {
        tokio::time::sleep(interval).await;
        hub.show_signs_of_life(interval).await;
        hub.settle_superseded().await;
        // Each step may take as long as a stream that is out of reach is waited for.
        hub.show_signs_of_life(interval).await;
        hub.note_again().await;
        hub.show_signs_of_life(interval).await;
        hub.make_room().await;
        if has_more || left_over_at.elapsed() >= LEFT_OVER_INTERVAL {
            left_over_at = Instant::now();
            has_more = hub.schedule_left_over().await.is_some();
        }
    }
}

impl Hub {
    async fn show_signs_of_life(&self, age: Duration) {
        let acks: Vec<_> = {
            let now = Instant::now();
            let mut state = self.state();
            let held = state.records.values_mut();
            held.filter(|held| now.duration_since(held.alive_at) >= age)
                .map(|held| {
                    held.alive_at = now;
                    held.ack.clone()
                })
                .collect()
        };
        self.keep_alive(acks).await;
    }

    /// Settles copies of deliveries of which another record has a newer state.
    async fn settle_superseded(&self) {
        // They stay in the list until they are settled, so that an error forgets none.
        let superseded = self.state().superseded.clone();
        if superseded.is_empty() {
            return;
        }
        let mut noted: HashMap<RecordKey, Progress> = HashMap::new();
        {
            let state = self.state();
            for (key, place) in &superseded {
                if let Some(held) = state.records.get(key) {
                    let len = u32::try_from(held.deliveries.len()).unwrap_or(u32::MAX);
                    let progress = noted.entry(*key).or_insert_with(|| Progress::of(len));
                    progress.settle(*place);
                }
            }
        }
        if !noted.is_empty() && !self.note(noted.iter()).await {
            return;
        }
        let acks: Vec<_> = {
            let mut state = self.state();
            state.superseded.drain(..superseded.len());
            superseded
                .into_iter()
                .filter_map(|(key, place)| state.settle_place(key, place))
                .collect()
        };
        self.acknowledge(acks).await;
        self.notify_room();
    }

    /// Notes the whole progress of records whose notes grow old again.
    async fn note_again(&self) {
        let aged: Vec<_> = {
            let now = Instant::now();
            let mut state = self.state();
            let held = state.records.iter_mut();
            held.filter(|(_, held)| {
                !held.progress.is_untouched() && now.duration_since(held.noted_at) >= NOTE_AGE
            })
            .map(|(key, held)| {
                held.noted_at = now;
                (*key, held.progress.clone())
            })
            .collect()
        };
        for aged in aged.chunks(1_000) {
            let noted = aged.iter().map(|(key, progress)| (key, progress));
            if !self.note(noted).await {
                return;
            }
        }
    }

    /// If the room is all taken and one endpoint's deliveries take a large part of it, puts off those that would have waited
    /// longest, so that others are reached.
    async fn make_room(&self) {
        let plans = {
            let now = self.now();
            let mut state = self.state();
            let is_full = state.slots.len() * 10 >= self.settings.window_len_max * 9
                || state.records.len() * 10 >= self.settings.window_records_max * 9
                || state.bytes * 10 >= self.settings.window_bytes_max * 9;
            let longest = state.scheduler.longest().filter(|_| is_full);
            let Some((endpoint, len)) = longest else {
                return;
            };
            if len * 4 < state.slots.len() {
                return;
            }
            let put_off = (len / 2).min(SENT_AWAY_MAX);
            let ids = state.scheduler.last_of(endpoint, put_off);
            let turns = u32::try_from(1 + len / AWAY_FOR_EACH).unwrap_or(u32::MAX);
            let until = now.saturating_add((AWAY * turns).min(AWAY_MAX));
            let never = now.saturating_add(Duration::MAX);
            ids.into_iter()
                .filter_map(|id| {
                    let lease = state.scheduler.seize(id, NOBODY, never)?;
                    let (slot, _) = state.begin_settling(lease)?;
                    Some(Plan::of(
                        lease,
                        slot,
                        None,
                        DeliveryState::Retry(until),
                        false,
                    ))
                })
                .collect::<Vec<_>>()
        };
        if plans.is_empty() {
            return;
        }
        tracing::info!(
            deliveries = plans.len(),
            "one endpoint's deliveries take all the room: some are put off"
        );
        let _away = Away {
            hub: self,
            leases: plans.iter().map(|plan| plan.lease).collect(),
        };
        self.carry_out(plans).await;
    }
}

/// Leases of deliveries that are being put off. On drop it releases those that could not be.
struct Away<'a> {
    hub: &'a Hub,
    leases: Vec<Lease>,
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        for lease in &self.leases {
            state.scheduler.release(*lease);
        }
    }
}
