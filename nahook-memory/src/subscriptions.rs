use nahook_control::{EndpointRecord, endpoint_states};
use nahook_core::id::EndpointId;
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};

use super::MemoryStore;
use super::state::State;

impl SubscriptionStore for MemoryStore {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let mut state = self.state();
        let key = (*scope, event_type.clone());
        if let Some(known) = state.look_ups.get(&key) {
            return Ok(known.clone());
        }
        let found = look_up(&state, event_type, scope);
        // Names that do not exist are without number, and callers make them up.
        if found.is_some() {
            state.look_ups.insert(key, found.clone());
        }
        Ok(found)
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        endpoint_states(self, ids, scope).await
    }
}

fn look_up(state: &State, name: &EventTypeName, scope: &Scope) -> Option<Subscribers> {
    let catalog = &state.catalog;
    let of_workspace = |workspace| workspace == scope.workspace;
    let mut event_types = catalog.event_types.iter();
    let event_type = event_types
        .find(|row| of_workspace(row.workspace) && row.name == *name)?
        .id;
    let is_published = scope.environment.is_none_or(|environment| {
        catalog
            .environments
            .iter()
            .any(|row| row.id == environment && row.is_default)
            || catalog
                .publications
                .iter()
                .any(|row| row.environment == environment && row.event_type == event_type)
    });
    let is_reached = |endpoint: &EndpointRecord| {
        endpoint.is_active
            && of_workspace(endpoint.workspace)
            && scope
                .environment
                .is_none_or(|environment| environment == endpoint.environment)
    };
    let subscribed = catalog
        .subscribers
        .iter()
        .filter(|row| is_published && row.event_type == event_type)
        .map(|row| row.endpoint)
        .filter(|id| {
            catalog
                .endpoints
                .iter()
                .any(|row| row.id == *id && is_reached(row))
        });
    Some(Subscribers {
        event_type,
        endpoints: subscribed.collect(),
    })
}
