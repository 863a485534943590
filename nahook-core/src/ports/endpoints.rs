//! What a worker and a sender must know of an endpoint, and what a worker learns of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{EndpointId, EnvironmentId, SecretText, StoreError, Timestamp, WorkspaceId};
use async_trait::async_trait;
use auto_impl::auto_impl;

/// What kind of receiver an endpoint is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// A Slack webhook: a POST to `config.webhookUrl`, unsigned.
    Slack,
    /// A signed POST to the endpoint's URL.
    #[default]
    Webhook,
}

/// Where and how to deliver.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointTarget {
    /// The endpoint.
    pub id: EndpointId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its environment.
    pub environment: EnvironmentId,
    /// Where to POST to.
    pub url: String,
    /// What kind of receiver it is.
    pub kind: EndpointKind,
    /// `whsec_…` secrets that sign now, the newest first.
    pub secrets: Vec<SecretText>,
    /// Basic authentication, if the endpoint has it.
    pub auth: Option<BasicAuth>,
    /// Whether deliveries are to be attempted.
    pub is_active: bool,
    /// Since when every attempt has failed; absent after a success.
    pub failing_since: Option<Timestamp>,
}

/// A user name and password for basic authentication.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BasicAuth {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretText,
}

/// What a worker has learnt of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HealthReport {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// How it does.
    pub state: HealthState,
}

/// How an endpoint does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HealthState {
    /// To be disabled: it said 410 Gone, or has only failed for too long.
    Disable,
    /// An attempt failed then; the earliest since the last success counts.
    FailingSince(Timestamp),
    /// An attempt succeeded.
    Healthy,
}

/// Looks endpoints up, for workers and for what is sent to one directly.
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
