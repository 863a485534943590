//! A subscription store that charges for what is fanned out.

use nahook_core::id::EndpointId;
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};

use super::{BudgetKind, Budgets, Refused};

/// Charges the workspace for as many deliveries as a look-up finds endpoints: between the engine's look-up and its publishing, so
/// that no number of concurrent calls gets past.
///
/// The ingestion routes answer the error of a refusal with 429 and the time to wait.
#[derive(Clone, Debug)]
pub struct Metered<S> {
    subscriptions: S,
    budgets: Budgets,
}

impl<S> Metered<S> {
    /// Charges `budgets` for what is looked up in `subscriptions`.
    pub fn new(subscriptions: S, budgets: Budgets) -> Self {
        Self {
            subscriptions,
            budgets,
        }
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
        self.charge(scope, width)?;
        Ok(found)
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        let states = self.subscriptions.endpoint_states(ids, scope).await?;
        let is_active = |state: &&EndpointState| **state == EndpointState::Active;
        self.charge(scope, states.iter().filter(is_active).count())?;
        Ok(states)
    }
}

impl<S> Metered<S> {
    fn charge(&self, scope: &Scope, deliveries: usize) -> Result<(), StoreError> {
        if deliveries == 0 {
            return Ok(());
        }
        self.budgets
            .spend(scope.workspace, BudgetKind::Deliveries, deliveries as u64)
            .map_err(StoreError::unavailable)
    }
}

/// Returns the refusal of a budget that is the error's cause, if one is.
pub(crate) fn refusal(error: &StoreError) -> Option<Refused> {
    std::error::Error::source(error)?
        .downcast_ref::<Refused>()
        .copied()
}
