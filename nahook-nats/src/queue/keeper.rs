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
    let interval = interval(hub.settings.ack_wait);
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

/// Interval of the signs of life: a third of what the server waits for one, and short enough that no note grows much too old.
fn interval(ack_wait: Duration) -> Duration {
    (ack_wait / 3).clamp(Duration::from_millis(100), NOTE_AGE / 3)
}

/// Returns true if no more than a tenth of the room is left.
fn is_nearly_full(used: usize, max: usize) -> bool {
    used * 10 >= max * 9
}

/// Number of deliveries that are put off for an endpoint that has so many of all that are held, and for how long: half of them,
/// if they are a quarter of all.
fn put_off(of_endpoint: usize, of_all: usize) -> (usize, Duration) {
    if of_endpoint * 4 < of_all {
        return (0, Duration::ZERO);
    }
    let turns = u32::try_from(1 + of_endpoint / AWAY_FOR_EACH).unwrap_or(u32::MAX);
    let count = (of_endpoint / 2).min(SENT_AWAY_MAX);
    (count, AWAY.saturating_mul(turns).min(AWAY_MAX))
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
            let settings = &self.settings;
            let mut rooms = [
                (state.slots.len(), settings.window_len_max),
                (state.records.len(), settings.window_records_max),
                (state.bytes, settings.window_bytes_max),
            ]
            .into_iter();
            let is_full = rooms.any(|(used, max)| is_nearly_full(used, max));
            let longest = state.scheduler.longest().filter(|_| is_full);
            let Some((endpoint, len)) = longest else {
                return;
            };
            let (count, away) = put_off(len, state.slots.len());
            let ids = state.scheduler.last_of(endpoint, count);
            let until = now.saturating_add(away);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_hears_three_times_of_a_holder_and_notes_are_renewed_in_time() {
        let milliseconds = |ack_wait| interval(Duration::from_millis(ack_wait)).as_millis();
        assert_eq!([30, 1_500, 9_000].map(milliseconds), [100, 500, 3_000]);
        assert_eq!([15_000, 15_003, 90_000].map(milliseconds), [5_000; 3]);
    }

    #[test]
    fn room_is_nearly_full_from_nine_tenths_on() {
        assert!(is_nearly_full(9, 10) && is_nearly_full(180, 200) && is_nearly_full(201, 200));
        assert!(!is_nearly_full(8, 10) && !is_nearly_full(179, 200) && !is_nearly_full(0, 200));
    }

    #[test]
    fn endpoint_with_a_quarter_of_all_has_half_of_it_put_off() {
        let put_off = |of_endpoint, of_all| {
            let (count, away) = put_off(of_endpoint, of_all);
            (count, away.as_secs())
        };
        assert_eq!(put_off(49, 200), (0, 0));
        assert_eq!(put_off(50, 200), (25, 60));
        assert_eq!(put_off(8_000, 8_000), (4_000, 60));
        // The more, the longer, up to a bound.
        assert_eq!(put_off(16_383, 16_384), (4_096, 60));
        assert_eq!(put_off(16_384, 16_384), (4_096, 120));
        assert_eq!(put_off(100_000, 100_000), (4_096, 7 * 60));
        assert_eq!(put_off(1_000_000, 1_000_000), (4_096, 15 * 60));
    }
}
