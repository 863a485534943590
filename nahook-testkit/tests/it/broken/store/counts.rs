//! Broken counts.

use nahook_core::{StoreError, Timestamp};
use nahook_queue::{CountsQuery, DeliveryCounts, RollUp};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl DeliveryCounts for Broken {
    async fn add_counts(&self, roll_ups: &[RollUp]) -> Result<(), StoreError> {
        let mut added = Vec::new();
        for roll_up in roll_ups {
            let query = CountsQuery {
                workspace: roll_up.workspace,
                endpoint: roll_up.endpoint,
                period: roll_up.period,
                since: roll_up.start,
            };
            let known = self.inner.counts(&query).await?;
            if !(self.has(LosesRepeatedCounts) && known.iter().any(|it| it.start == roll_up.start))
            {
                added.push(*roll_up);
            }
            let is_unknown = roll_up.workspace == declare::workspace_id("ws_never_made");
            if self.has(RefusesCountsOfTheUnknown) && is_unknown {
                return Err(StoreError::internal("no such workspace"));
            }
        }
        self.inner.add_counts(&added).await
    }

    async fn counts(&self, query: &CountsQuery) -> Result<Vec<RollUp>, StoreError> {
        let mut asked = *query;
        match self.bug {
            ShowsCountsOfOthers => asked.workspace = declare::workspace_id("ws_shop"),
            CountsTheWorkspaceAlone => asked.endpoint = None,
            CountsFromTheStart => asked.since = Timestamp::default(),
            _ => {}
        }
        let mut found = self.inner.counts(&asked).await?;
        if self.has(CountsNewestFirst) {
            found.reverse();
        }
        Ok(found)
    }
}
