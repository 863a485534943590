//! Endpoints and their subscriptions.

use super::planner::{DEFAULT_SLUG, Planner, put};
use super::{ManifestError, Record, Verb};
use crate::catalog::manifest::EndpointSpec;
use crate::catalog::record::{EndpointKind, EndpointRecord, SubscriptionRecord};
use crate::catalog::{rules, secrets};
use crate::{BasicAuth, EndpointId, SecretText, SubscriptionId, WorkspaceId};

impl Planner<'_> {
    pub(super) fn endpoint(
        &mut self,
        spec: &EndpointSpec,
        workspace: WorkspaceId,
    ) -> Result<EndpointId, ManifestError> {
        let (what, name) = (
            "endpoint",
            spec.id.map_or_else(|| spec.url.clone(), String::from),
        );
        let slug = spec.environment.as_deref().unwrap_or(DEFAULT_SLUG);
        let environment = self.environment_id(slug, workspace)?;
        let rows = &self.state.endpoints;
        let found = rows.iter().position(|row| match spec.id {
            Some(id) => row.id == id && row.workspace == workspace,
            None => row.environment == environment && row.url == spec.url,
        });
        let before = found.map(|at| &rows[at]);
        if let Some(before) = before {
            let moved = spec.environment.is_some() && before.environment != environment;
            let retyped = spec.kind.is_some_and(|kind| kind != before.kind);
            let field = if moved {
                Some("environment")
            } else if retyped {
                Some("type")
            } else {
                None
            };
            if let Some(field) = field {
                return Err(ManifestError::Fixed { what, name, field });
            }
        }
        if let Some(rule) = broken_endpoint_rule(spec) {
            return Err(ManifestError::Value { what, name, rule });
        }
        let given = spec.secret.as_ref().map(SecretText::new);
        let secret = given.or_else(|| before.map(|row| row.secret.clone()));
        let drawn = secret
            .is_none()
            .then(|| secrets::new_signing_secret(self.ids));
        let auth = match (&spec.auth_username, &spec.auth_password) {
            (Some(username), Some(password)) => Some(BasicAuth {
                username: username.clone(),
                password: SecretText::new(password),
            }),
            _ => before.and_then(|row| row.auth.clone()),
        };
        let id = before.map(|row| row.id).or(spec.id);
        let mut desired = EndpointRecord {
            id: id.unwrap_or_else(|| EndpointId::from_bits(self.draw())),
            workspace,
            environment: before.map_or(environment, |row| row.environment),
            application: before.and_then(|row| row.application),
            url: spec.url.clone(),
            kind: spec.kind.or(before.map(|row| row.kind)).unwrap_or_default(),
            config: kept(spec.config.as_ref(), before.map(|row| &row.config)).unwrap_or_default(),
            metadata: kept(
                spec.metadata.as_ref().map(crate::Metadata::as_map),
                before.map(|row| &row.metadata),
            )
            .unwrap_or_default(),
            description: kept(
                spec.description.as_ref(),
                before.and_then(|row| row.description.as_ref()),
            ),
            auth,
            secret: secret
                .or_else(|| drawn.clone())
                .unwrap_or_else(|| SecretText::new("")),
            previous_secret: before.and_then(|row| row.previous_secret.clone()),
            is_active: spec
                .is_active
                .or(before.map(|row| row.is_active))
                .unwrap_or(true),
            created_at: before.map_or(self.now, |row| row.created_at),
            updated_at: before.map_or(self.now, |row| row.updated_at),
        };
        if before.is_some_and(|row| *row != desired) {
            desired.updated_at = self.now;
        }
        let id = desired.id;
        put!(self, endpoints, found, desired, Endpoint, drawn);
        Ok(id)
    }
    pub(super) fn subscriptions(
        &mut self,
        spec: &EndpointSpec,
        endpoint: EndpointId,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let Some(names) = &spec.event_types else {
            return Ok(());
        };
        let mut wanted = Vec::new();
        for name in names {
            wanted.push(self.event_type_id(name, workspace)?);
        }
        let there: Vec<_> = self
            .state
            .subscriptions
            .iter()
            .copied()
            .filter(|row| row.endpoint == endpoint)
            .collect();
        for row in there.iter().filter(|row| !wanted.contains(&row.event_type)) {
            self.state.subscriptions.retain(|other| other.id != row.id);
            self.note(Verb::Remove, Record::Subscription(*row), None);
        }
        for event_type in wanted {
            let mut rows = self.state.subscriptions.iter();
            if !rows.any(|row| row.endpoint == endpoint && row.event_type == event_type) {
                let id = SubscriptionId::from_bits(self.draw());
                let created_at = self.now;
                let row = SubscriptionRecord {
                    id,
                    workspace,
                    endpoint,
                    event_type,
                    created_at,
                };
                self.state.subscriptions.push(row);
                self.note(Verb::Create, Record::Subscription(row), None);
            }
        }
        Ok(())
    }
}

fn broken_endpoint_rule(spec: &EndpointSpec) -> Option<&'static str> {
    // A Slack endpoint needs no URL of its own.
    let is_bare = spec.url.is_empty() && spec.kind == Some(EndpointKind::Slack);
    if !is_bare && let Some(rule) = rules::endpoint_url(&spec.url) {
        Some(rule)
    } else if spec
        .secret
        .as_deref()
        .is_some_and(|secret| !secrets::signing_secret_is_valid(secret))
    {
        Some("its secret must be whsec_ followed by base64")
    } else if spec.auth_username.is_some() != spec.auth_password.is_some() {
        Some("auth_username and auth_password go together")
    } else {
        None
    }
}

fn kept<T: Clone>(declared: Option<&T>, before: Option<&T>) -> Option<T> {
    declared.or(before).cloned()
}
