//! Endpoints as a worker and a sender need them, and their health as a worker finds it.

use std::sync::Arc;

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{EndpointId, EnvironmentId, WorkspaceId};
use nahook_core::{EndpointState, Scope, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::SecretText;
use crate::coded::coded;

/// Kind of receiver.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// A Slack webhook: a POST to `config.webhookUrl`, unsigned.
    Slack,
    /// A signed POST to the endpoint's URL.
    #[default]
    Webhook,
}

coded!(EndpointKind {
    Webhook = 0 "webhook",
    Slack = 1 "slack",
});

/// An endpoint's address and the settings of its deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointTarget {
    /// The endpoint.
    pub id: EndpointId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its environment.
    pub environment: EnvironmentId,
    /// URL to POST to.
    pub url: String,
    /// Kind of receiver.
    pub kind: EndpointKind,
    /// `whsec_…` secrets that sign now, the newest first.
    pub secrets: Vec<SecretText>,
    /// Basic authentication, if the endpoint has it.
    pub auth: Option<BasicAuth>,
    /// True if deliveries are to be attempted.
    pub is_active: bool,
    /// Since when every attempt has failed; absent after a success.
    pub failing_since: Option<Timestamp>,
}

impl EndpointTarget {
    /// State within `scope` of an endpoint that was looked up.
    fn state_within(found: Option<&Self>, scope: &Scope) -> EndpointState {
        let is_reached = |target: &&Self| {
            target.workspace == scope.workspace
                && scope
                    .environment
                    .is_none_or(|environment| environment == target.environment)
        };
        match found.filter(is_reached) {
            None => EndpointState::Unknown,
            Some(target) if target.is_active => EndpointState::Active,
            Some(_) => EndpointState::Disabled,
        }
    }
}

/// A user name and password for basic authentication.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BasicAuth {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretText,
}

/// A worker's report on the health of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HealthReport {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its health.
    pub state: HealthState,
}

/// The health of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HealthState {
    /// To be disabled: it said 410 Gone, or has only failed for too long.
    Disable,
    /// An attempt failed then; the earliest since the last success counts.
    FailingSince(Timestamp),
    /// An attempt succeeded.
    Healthy,
}

/// States of these endpoints within `scope`: [`SubscriptionStore::endpoint_states`](nahook_core::SubscriptionStore::endpoint_states)
/// of a store that is a directory.
pub async fn endpoint_states(
    directory: &dyn EndpointDirectory,
    ids: &[EndpointId],
    scope: &Scope,
) -> Result<Vec<EndpointState>, StoreError> {
    let found = directory.targets(ids).await?;
    let state = |target: &Option<_>| EndpointTarget::state_within(target.as_deref(), scope);
    Ok(found.iter().map(state).collect())
}

/// Looks endpoints up for workers.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait EndpointDirectory: Send + Sync {
    /// The endpoints with these ids, in this order; `None` for one that is gone.
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError>;

    /// Records what was learnt. Repeating a report is harmless; one about an endpoint that is gone is dropped.
    ///
    /// What is recorded here ends when the endpoint is enabled again: it then starts without failures.
    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_unknown_beyond_their_workspace_and_environment() {
        let (workspace, environment) = (WorkspaceId::from_bits(1), EnvironmentId::from_bits(1));
        let target = |is_active| EndpointTarget {
            id: EndpointId::from_bits(1),
            workspace,
            environment,
            url: String::new(),
            kind: EndpointKind::Webhook,
            secrets: Vec::new(),
            auth: None,
            is_active,
            failing_since: None,
        };
        let (other_workspace, other) = (WorkspaceId::from_bits(2), EnvironmentId::from_bits(2));
        for (workspace, environment, is_reached) in [
            (workspace, None, true),
            (workspace, Some(environment), true),
            (workspace, Some(other), false),
            (other_workspace, None, false),
            (other_workspace, Some(environment), false),
        ] {
            let scope = Scope {
                workspace,
                environment,
            };
            for (is_active, state) in [
                (true, EndpointState::Active),
                (false, EndpointState::Disabled),
            ] {
                let expected = if is_reached {
                    state
                } else {
                    EndpointState::Unknown
                };
                let target = target(is_active);
                assert_eq!(
                    EndpointTarget::state_within(Some(&target), &scope),
                    expected
                );
            }
        }
        let scope = Scope::from(workspace);
        let gone = EndpointTarget::state_within(None, &scope);
        assert_eq!(gone, EndpointState::Unknown);
    }
}
