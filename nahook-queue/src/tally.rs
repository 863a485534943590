//! Counts in memory, on their way to the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};

use crate::{Counts, DeliveryCounts, LeasedDelivery, Next, Period, RollUp, Settlement};

/// Upper bound on the endpoints and times told apart; what is beyond it counts for the workspace alone, and then not at all.
const PLACES_MAX: usize = 100_000;

/// Roll-ups in one call of the store, which has others waiting.
const PER_CALL: usize = 200;

/// Counts what this process accepts and delivers, until it is written. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By minute, also of endpoints.
    counted: HashMap<Place, Counts>,
    /// Left by a write, or refused by the store, for the next time.
    unwritten: HashMap<Place, Unwritten>,
    /// Number of writes that have begun.
    writes: u64,
}

#[derive(Debug, Default)]
struct Unwritten {
    /// Number of the write that left it first.
    since: u64,
    counts: Counts,
}

/// A workspace or an endpoint in one time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Place {
    workspace: WorkspaceId,
    endpoint: Option<EndpointId>,
    period: Period,
    start: Timestamp,
}

impl Tally {
    /// Counts an event that was accepted then, and queued for at least one endpoint.
    pub fn accepted(&self, workspace: WorkspaceId, at: Timestamp) {
        let mut state = self.state();
        let counts = counts_at(&mut state.counted, workspace, None, at);
        if let Some(counts) = counts {
            counts.events += 1;
        }
    }

    /// Counts a settlement that the queue has recorded.
    pub fn settled(&self, delivery: &LeasedDelivery, settlement: &Settlement) {
        let Some(attempt) = &settlement.attempt else {
            return;
        };
        let ended_at = attempt.started_at.saturating_add(attempt.duration);
        let mut state = self.state();
        let endpoint = Some(delivery.endpoint);
        let counts = counts_at(&mut state.counted, delivery.workspace, endpoint, ended_at);
        let Some(counts) = counts else { return };
        if settlement.next == Next::Delivered {
            counts.delivered += 1;
            counts.note_latency(ended_at.saturating_since(delivery.accepted_at));
        } else {
            counts.failed += u64::from(attempt.was_made());
        }
        if matches!(settlement.next, Next::DeadLetter | Next::Failed) {
            counts.abandoned += 1;
        }
    }

    /// Adds to the store what was counted since the last time, but of at most `endpoints_max` endpoints, those first that have waited
    /// longest. The others, and what the store does not take, are kept for the next time.
    ///
    /// # Cancellation
    /// Dropped, it forgets the counts that it was writing.
    pub async fn write(
        &self,
        store: &(impl DeliveryCounts + ?Sized),
        endpoints_max: usize,
    ) -> Result<(), StoreError> {
        let roll_ups = self.take(endpoints_max);
        let mut calls = roll_ups.chunks(PER_CALL);
        while let Some(call) = calls.next() {
            if let Err(error) = store.add_counts(call).await {
                self.keep(call.iter().chain(calls.flatten()));
                return Err(error);
            }
        }
        Ok(())
    }

    fn take(&self, endpoints_max: usize) -> Vec<RollUp> {
        let (counted, mut all, since) = {
            let mut state = self.state();
            state.writes += 1;
            let counted = std::mem::take(&mut state.counted);
            (counted, std::mem::take(&mut state.unwritten), state.writes)
        };
        for (place, counts) in &counted {
            // Endpoints have hours alone: ten thousand of them have ten thousand rows an hour, and not a minute.
            let workspace = Place {
                endpoint: None,
                ..*place
            };
            let of_endpoint = place.endpoint.map(|_| place.hour());
            let places = [workspace, workspace.hour()].into_iter().chain(of_endpoint);
            for place in places {
                let new = || Unwritten {
                    since,
                    counts: Counts::default(),
                };
                all.entry(place).or_insert_with(new).counts.add(counts);
            }
        }
        let is_of_endpoint = |(place, _): &(Place, _)| place.endpoint.is_some();
        let (mut endpoints, workspaces): (Vec<_>, Vec<_>) =
            all.into_iter().partition(is_of_endpoint);
        endpoints.sort_unstable_by_key(|(_, left)| left.since);
        let left = endpoints.split_off(endpoints_max.min(endpoints.len()));
        let left = left.into_iter().take(PLACES_MAX);
        self.state().unwritten.extend(left);
        let roll_up = |(place, left): (Place, Unwritten)| RollUp {
            workspace: place.workspace,
            endpoint: place.endpoint,
            period: place.period,
            start: place.start,
            counts: left.counts,
        };
        workspaces
            .into_iter()
            .chain(endpoints)
            .map(roll_up)
            .collect()
    }

    fn keep<'a>(&self, roll_ups: impl Iterator<Item = &'a RollUp>) {
        let mut state = self.state();
        for roll_up in roll_ups {
            let place = Place {
                workspace: roll_up.workspace,
                endpoint: roll_up.endpoint,
                period: roll_up.period,
                start: roll_up.start,
            };
            if state.unwritten.len() < PLACES_MAX || state.unwritten.contains_key(&place) {
                let unwritten = state.unwritten.entry(place).or_default();
                unwritten.counts.add(&roll_up.counts);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn hour(self) -> Self {
        Self {
            period: Period::Hour,
            start: Period::Hour.start_of(self.start),
            ..self
        }
    }
}

/// The counts of that minute; the workspace's own where there is no room for an endpoint's, and `None` where there is none at all.
fn counts_at(
    counted: &mut HashMap<Place, Counts>,
    workspace: WorkspaceId,
    endpoint: Option<EndpointId>,
    at: Timestamp,
) -> Option<&mut Counts> {
    let mut place = Place {
        workspace,
        endpoint,
        period: Period::Minute,
        start: Period::Minute.start_of(at),
    };
    let is_full = counted.len() >= PLACES_MAX;
    if is_full && !counted.contains_key(&place) {
        place.endpoint = None;
    }
    if is_full && !counted.contains_key(&place) {
        return None;
    }
    Some(counted.entry(place).or_default())
}

#[cfg(test)]
mod tests;
