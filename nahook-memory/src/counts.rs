use std::time::Duration;

use nahook_core::{StoreError, Timestamp};
use nahook_queue::{CountsQuery, DeliveryCounts, Period, RollUp};

use super::MemoryStore;

/// Time for which counts are kept.
const KEPT: Duration = Duration::from_hours(7 * 24);

#[async_trait::async_trait]
impl DeliveryCounts for MemoryStore {
    async fn add_counts(&self, roll_ups: &[RollUp]) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        for roll_up in roll_ups {
            let endpoints = &state.catalog.endpoints;
            let is_known = state
                .catalog
                .workspaces
                .iter()
                .any(|it| it.id == roll_up.workspace)
                && roll_up.endpoint.is_none_or(|id| {
                    let mut endpoints = endpoints.iter();
                    endpoints.any(|it| it.id == id && it.workspace == roll_up.workspace)
                });
            if is_known {
                let place = (
                    roll_up.workspace,
                    roll_up.endpoint,
                    roll_up.period,
                    roll_up.start,
                );
                state.counts.entry(place).or_default().add(&roll_up.counts);
            }
        }
        let age = |start: Timestamp| now.saturating_since(start);
        state
            .counts
            .retain(|(_, _, period, start), _| match period {
                Period::Minute => age(*start) < Duration::from_hours(24),
                Period::Hour => age(*start) < KEPT,
            });
        Ok(())
    }

    async fn counts(&self, query: &CountsQuery) -> Result<Vec<RollUp>, StoreError> {
        let state = self.state();
        let first = (query.workspace, query.endpoint, query.period, query.since);
        let found = state.counts.range(first..).take_while(|(place, _)| {
            (place.0, place.1, place.2) == (query.workspace, query.endpoint, query.period)
        });
        let roll_up = |(place, counts): (&(_, _, _, Timestamp), &_)| RollUp {
            workspace: query.workspace,
            endpoint: query.endpoint,
            period: query.period,
            start: place.3,
            counts: *counts,
        };
        Ok(found.map(roll_up).collect())
    }
}
