use std::sync::Arc;

use nahook_control::{
    Actor, AuditEntry, EndpointDirectory, EndpointTarget, HealthReport, HealthState,
};
use nahook_core::StoreError;
use nahook_core::id::EndpointId;

use super::MemoryStore;

#[async_trait::async_trait]
impl EndpointDirectory for MemoryStore {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        let now = self.shared.clock.now();
        let state = self.state();
        let target = |id: &EndpointId| {
            let row = state.catalog.endpoints.iter().find(|row| row.id == *id)?;
            Some(Arc::new(EndpointTarget {
                id: row.id,
                workspace: row.workspace,
                environment: row.environment,
                url: row.url.clone(),
                kind: row.kind,
                secrets: row.signing_secrets(now),
                auth: row.auth.clone(),
                is_active: row.is_active,
                failing_since: state.failing_since.get(id).copied(),
            }))
        };
        Ok(ids.iter().map(target).collect())
    }

    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        for HealthReport {
            endpoint,
            state: health,
        } in reports
        {
            let Some(at) = state
                .catalog
                .endpoints
                .iter()
                .position(|row| row.id == *endpoint)
            else {
                continue;
            };
            match health {
                HealthState::Disable => {
                    state.look_ups.clear();
                    let row = &mut state.catalog.endpoints[at];
                    if !row.is_active {
                        continue;
                    }
                    row.is_active = false;
                    row.updated_at = now;
                    let (workspace, resource) = (row.workspace, ("endpoint", endpoint.to_string()));
                    let ids = &self.shared.ids;
                    let entry = AuditEntry::new(
                        workspace,
                        &Actor::system(),
                        resource,
                        "disabled",
                        now,
                        ids,
                    );
                    state.audit.push(entry);
                }
                HealthState::FailingSince(since) => {
                    let earliest = state.failing_since.entry(*endpoint).or_insert(*since);
                    *earliest = (*earliest).min(*since);
                }
                HealthState::Healthy => {
                    state.failing_since.remove(endpoint);
                }
            }
        }
        Ok(())
    }
}
