//! A subscription store that charges for what is fanned out.

use std::sync::Arc;

use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};

use nahook_queue::{DeliverySearch, StatsQuery};

use super::{BudgetKind, Budgets, Refused};

/// Charges the workspace for as many deliveries as a look-up finds endpoints: between the engine's look-up and its publishing, so
/// that no number of concurrent calls gets past.
///
/// The ingestion routes answer the error of a refusal with 429 and the time to wait.
#[derive(Clone)]
pub struct Metered<S> {
    subscriptions: S,
    budgets: Budgets,
    search: Option<Arc<dyn DeliverySearch>>,
}

impl<S> Metered<S> {
    /// Charges `budgets` for what is looked up in `subscriptions`.
    pub fn new(subscriptions: S, budgets: Budgets) -> Self {
        Self {
            subscriptions,
            budgets,
            search: None,
        }
    }

    /// Holds workspaces to the number of pending deliveries that their plans allow, which `search` counts.
    #[must_use]
    pub fn measuring(mut self, search: Arc<dyn DeliverySearch>) -> Self {
        self.search = Some(search);
        self
    }
}

impl<S> std::fmt::Debug for Metered<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metered").finish_non_exhaustive()
    }
}

impl<S: SubscriptionStore> SubscriptionStore for Metered<S> {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let found = self.subscriptions.subscribers(event_type, scope).await?;
        let width = found.as_ref().map_or(0, |found| found.endpoints.len());
        charge(
            &self.budgets,
            self.search.as_deref(),
            scope.workspace,
            width,
        )
        .await?;
        Ok(found)
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        let states = self.subscriptions.endpoint_states(ids, scope).await?;
        let is_active = |state: &&EndpointState| **state == EndpointState::Active;
        let active = states.iter().filter(is_active).count();
        charge(
            &self.budgets,
            self.search.as_deref(),
            scope.workspace,
            active,
        )
        .await?;
        Ok(states)
    }
}

/// Charges the workspace for so many deliveries, or refuses them.
async fn charge(
    budgets: &Budgets,
    search: Option<&dyn DeliverySearch>,
    workspace: WorkspaceId,
    deliveries: usize,
) -> Result<(), StoreError> {
    if deliveries == 0 {
        return Ok(());
    }
    let deliveries = deliveries as u64;
    if let Some(search) = search {
        let kind = BudgetKind::PendingDeliveries;
        let measure = || pending(search, workspace);
        let admitted = budgets.admit(workspace, kind, deliveries, measure);
        admitted.await.map_err(StoreError::unavailable)?;
    }
    budgets
        .spend(workspace, BudgetKind::Deliveries, deliveries)
        .map_err(StoreError::unavailable)
}

/// Number of the workspace's deliveries that are not settled.
async fn pending(search: &dyn DeliverySearch, workspace: WorkspaceId) -> Result<u64, StoreError> {
    let query = StatsQuery {
        workspace,
        endpoint: None,
        count_max: u64::from(u32::MAX),
        is_unsettled_only: true,
    };
    let stats = search.stats(&query).await?;
    Ok(stats.pending + stats.scheduled_retry + stats.delivering)
}

/// Returns the refusal of a budget that is the error's cause, if one is.
pub(crate) fn refusal(error: &StoreError) -> Option<Refused> {
    std::error::Error::source(error)?
        .downcast_ref::<Refused>()
        .copied()
}
