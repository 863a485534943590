//! Endpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    Actor, BasicAuth, EndpointKind, EndpointPage, EndpointQuery, EndpointRecord, ManagementError,
    ManagementStore, Record, RetiredSecret, SecretText, Select, new_signing_secret,
};
use nahook_core::StoreError;
use nahook_core::id::{ApplicationId, EndpointId, EnvironmentId, WorkspaceId};
use serde_json::{Map, Value};

use super::Management;
use super::draft::Draft;
use crate::rules::{self, Broken, endpoint};

/// Time for which a secret that was rotated out signs beside the new one (contract, section 2).
const PREVIOUS_SECRET_SIGNS: Duration = Duration::from_hours(24);

/// An endpoint to be made.
#[derive(Clone, Debug, Default)]
pub struct NewEndpoint {
    /// URL to POST to; a Slack endpoint has its URL in its configuration instead.
    pub url: Option<String>,
    /// Kind of receiver.
    pub kind: EndpointKind,
    /// For people.
    pub description: Option<String>,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// Settings of the kind.
    pub config: Map<String, Value>,
    /// The user name for basic authentication.
    pub auth_username: Option<String>,
    /// The password for basic authentication.
    pub auth_password: Option<SecretText>,
    /// Its environment; the default one if absent.
    pub environment: Option<EnvironmentId>,
    /// The application it belongs to.
    pub application: Option<ApplicationId>,
}

/// Changes to an endpoint; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct EndpointPatch {
    /// URL to POST to.
    pub url: Option<String>,
    /// For people; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// Labels, all of them.
    pub metadata: Option<BTreeMap<String, String>>,
    /// True if deliveries are queued and attempted.
    pub is_active: Option<bool>,
    /// The user name for basic authentication; `Some(None)` removes the authentication.
    pub auth_username: Option<Option<String>>,
    /// The password for basic authentication; `Some(None)` removes the authentication.
    pub auth_password: Option<Option<SecretText>>,
    /// Settings of the kind, all of them.
    pub config: Option<Map<String, Value>>,
}

impl<S: ManagementStore> Management<S> {
    /// The workspace's endpoints, the oldest first.
    pub async fn endpoints(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<EndpointRecord>, StoreError> {
        Ok(self.read(workspace, &[Select::Endpoints]).await?.endpoints)
    }

    /// Some of the workspace's endpoints, the newest first.
    pub async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        self.store.find_endpoints(workspace, query).await
    }

    /// The endpoint.
    pub async fn endpoint(
        &self,
        workspace: &WorkspaceId,
        id: EndpointId,
    ) -> Result<EndpointRecord, ManagementError> {
        let rows = self.read(workspace, &[Select::Endpoint(id)]).await?;
        let found = rows.endpoints.into_iter().next();
        found.ok_or(ManagementError::NotFound("endpoint"))
    }

    /// Says in the audit log that `actor` reads the secret of the endpoint.
    pub async fn record_secret_read(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EndpointId,
    ) -> Result<(), ManagementError> {
        let resource = ("endpoint", id.to_string());
        self.record(workspace, actor, resource, "secret_read", Vec::new())
            .await
    }

    /// Makes an endpoint, active and with a secret of its own. No name is resolved.
    pub async fn create_endpoint(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        new: NewEndpoint,
    ) -> Result<EndpointRecord, ManagementError> {
        let mut reads = vec![Select::Environments];
        if let Some(id) = new.application {
            reads.extend([Select::Application(id), Select::EndpointCountOf(id)]);
        }
        self.change(workspace, actor, reads, move |draft| create(draft, &new))
            .await
    }

    /// Changes an endpoint. One that is enabled again starts without failures.
    pub async fn update_endpoint(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EndpointId,
        patch: EndpointPatch,
    ) -> Result<EndpointRecord, ManagementError> {
        self.change(workspace, actor, vec![Select::Endpoint(id)], move |draft| {
            update(draft, id, &patch)
        })
        .await
    }

    /// Gives the endpoint a new secret; the old one signs beside it for 24 hours.
    pub async fn rotate_secret(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EndpointId,
    ) -> Result<EndpointRecord, ManagementError> {
        self.change(workspace, actor, vec![Select::Endpoint(id)], move |draft| {
            let mut row = draft.endpoint(id)?.clone();
            let fresh = new_signing_secret(draft.ids);
            row.previous_secret = Some(RetiredSecret {
                secret: std::mem::replace(&mut row.secret, fresh),
                signs_until: draft.now.saturating_add(PREVIOUS_SECRET_SIGNS),
            });
            row.updated_at = draft.now;
            let record = Record::Endpoint(row.clone());
            draft.update_as("secret_rotated", "endpoint", id.to_string(), record);
            Ok(row)
        })
        .await
    }

    /// Removes an endpoint and its subscriptions. What was queued for it ends as failed; its history stays.
    pub async fn delete_endpoint(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EndpointId,
    ) -> Result<(), ManagementError> {
        self.change(workspace, actor, vec![Select::Endpoint(id)], move |draft| {
            draft.remove(Record::Endpoint(draft.endpoint(id)?.clone()));
            Ok(())
        })
        .await
    }
}

fn create(draft: &mut Draft<'_>, new: &NewEndpoint) -> Result<EndpointRecord, ManagementError> {
    let environment = match new.environment {
        Some(id) => draft.environment(id)?.id,
        None => default_environment(draft)?,
    };
    if let Some(id) = new.application {
        let application = draft.application(id)?;
        if let Some(max) = application.max_endpoints
            && draft.rows.endpoint_counts.get(&id).copied().unwrap_or(0) >= u64::from(max)
        {
            return Err(ManagementError::EndpointLimit { max });
        }
    }
    let url = url_of(new.kind, new.url.as_deref(), &new.config)?;
    endpoint::DESCRIPTION.check(new.description.as_deref())?;
    endpoint::METADATA.check(&new.metadata)?;
    endpoint::CONFIG.check(&new.config)?;
    check_auth(new.auth_username.as_ref(), new.auth_password.as_ref())?;
    let auth = match (&new.auth_username, &new.auth_password) {
        (Some(username), Some(password)) => Some(auth(username, password)),
        (None, None) => None,
        _ => return Err(incomplete_auth()),
    };
    let row = EndpointRecord {
        id: EndpointId::from_bits(draft.draw()),
        workspace: draft.workspace,
        environment,
        application: new.application,
        url,
        kind: new.kind,
        config: new.config.clone(),
        metadata: new.metadata.clone(),
        description: new.description.clone(),
        auth,
        secret: new_signing_secret(draft.ids),
        previous_secret: None,
        is_active: true,
        created_at: draft.now,
        updated_at: draft.now,
    };
    draft.create(Record::Endpoint(row.clone()))?;
    Ok(row)
}

fn update(
    draft: &mut Draft<'_>,
    id: EndpointId,
    patch: &EndpointPatch,
) -> Result<EndpointRecord, ManagementError> {
    let before = draft.endpoint(id)?;
    let mut row = before.clone();
    if let Some(description) = &patch.description {
        endpoint::DESCRIPTION.check(description.as_deref())?;
        row.description.clone_from(description);
    }
    if let Some(metadata) = &patch.metadata {
        endpoint::METADATA.check(metadata)?;
        row.metadata.clone_from(metadata);
    }
    if let Some(config) = &patch.config {
        endpoint::CONFIG.check(config)?;
        row.config.clone_from(config);
    }
    // Only what is given is checked: the rest is from before, perhaps from before a rule.
    let is_moved = match row.kind {
        EndpointKind::Slack => patch.config.is_some(),
        EndpointKind::Webhook => patch.url.is_some(),
    };
    if is_moved {
        row.url = url_of(row.kind, patch.url.as_deref(), &row.config)?;
    }
    if let Some(is_active) = patch.is_active {
        row.is_active = is_active;
    }
    row.auth = patched_auth(row.auth.take(), patch)?;
    let fields = differing(before, &row);
    if !fields.is_empty() {
        row.updated_at = draft.now;
        draft.update(Record::Endpoint(row.clone()), &fields);
    }
    Ok(row)
}

/// The names of the fields that differ.
fn differing(before: &EndpointRecord, after: &EndpointRecord) -> Vec<&'static str> {
    let pairs = [
        ("url", before.url != after.url),
        ("description", before.description != after.description),
        ("metadata", before.metadata != after.metadata),
        ("isActive", before.is_active != after.is_active),
        ("auth", before.auth != after.auth),
        ("config", before.config != after.config),
    ];
    let differing = pairs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}

fn default_environment(draft: &Draft<'_>) -> Result<EnvironmentId, ManagementError> {
    let mut rows = draft.rows.environments.iter();
    rows.find(|row| row.is_default)
        .map(|row| row.id)
        .ok_or(ManagementError::NotFound("environment"))
}

/// Returns the URL that an endpoint of that kind is delivered to.
fn url_of(
    kind: EndpointKind,
    url: Option<&str>,
    config: &Map<String, Value>,
) -> Result<String, ManagementError> {
    let url = match kind {
        EndpointKind::Webhook => {
            url.ok_or_else(|| ManagementError::invalid("url is required for a webhook endpoint"))?
        }
        EndpointKind::Slack => rules::slack_url(config)
            .ok_or_else(|| ManagementError::invalid(rules::SLACK_URL_REQUIRED))?,
    };
    rules::url_field(kind).check(url)?;
    Ok(url.to_owned())
}

fn incomplete_auth() -> ManagementError {
    ManagementError::invalid("authUsername and authPassword go together")
}

/// Refusal of one of the two alone, where the other is not there already.
fn no_auth() -> ManagementError {
    ManagementError::conflict(
        "the endpoint has no basic authentication: give authUsername and authPassword",
    )
}

fn patched_auth(
    before: Option<BasicAuth>,
    patch: &EndpointPatch,
) -> Result<Option<BasicAuth>, ManagementError> {
    let (username, password) = (&patch.auth_username, &patch.auth_password);
    check_auth(
        username.as_ref().and_then(Option::as_ref),
        password.as_ref().and_then(Option::as_ref),
    )?;
    let auth = match (username, password) {
        (None, None) => before,
        (Some(None), None | Some(None)) | (None, Some(None)) => None,
        (Some(Some(username)), Some(Some(password))) => Some(auth(username, password)),
        (Some(Some(username)), None) => {
            let before = before.ok_or_else(no_auth)?;
            Some(auth(username, &before.password))
        }
        (None, Some(Some(password))) => {
            let before = before.ok_or_else(no_auth)?;
            Some(auth(&before.username, password))
        }
        (Some(None), Some(Some(_))) | (Some(Some(_)), Some(None)) => return Err(incomplete_auth()),
    };
    Ok(auth)
}

fn check_auth(username: Option<&String>, password: Option<&SecretText>) -> Result<(), Broken> {
    endpoint::AUTH_USERNAME.check(username)?;
    endpoint::AUTH_PASSWORD.check(password.map(SecretText::expose))
}

fn auth(username: &str, password: &SecretText) -> BasicAuth {
    BasicAuth {
        username: username.to_owned(),
        password: password.clone(),
    }
}
