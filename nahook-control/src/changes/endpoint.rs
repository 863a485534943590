//! Endpoints and their subscriptions.

use crate::{BasicAuth, EndpointKind, SecretText, secrets};
use nahook_core::id::{EndpointId, PatternId, SubscriptionId, WorkspaceId};
use nahook_core::{EventTypePattern, EventTypeSelector, Metadata};
use serde_json::{Map, Value};

use super::planner::{DEFAULT_SLUG, Planner, name_of, put};
use super::{ManifestError, Record, Verb};
use crate::manifest::EndpointSpec;
use crate::record::{EndpointRecord, PatternRecord, SubscriptionRecord};
use crate::rules::{self, Broken, endpoint};

impl Planner<'_> {
    pub(super) fn endpoint(
        &mut self,
        spec: &EndpointSpec,
        workspace: WorkspaceId,
    ) -> Result<EndpointId, ManifestError> {
        let (what, name) = ("endpoint", name_of(spec));
        let slug = spec.environment.as_deref().unwrap_or(DEFAULT_SLUG);
        let environment = self.environment_id(slug, workspace)?;
        let application = match &spec.application {
            Some(text) => Some(self.application_id(text, workspace)?),
            None => None,
        };
        let rows = &self.state.endpoints;
        let found = if let Some(id) = spec.id {
            let mut rows = rows.iter();
            rows.position(|row| row.id == id && row.workspace == workspace)
        } else {
            let url = declared_url(spec, spec.kind.unwrap_or_default(), spec.config.as_ref());
            let mut rows = rows.iter();
            rows.position(|row| {
                row.environment == environment
                    && Some(&*row.url) == url
                    && (application.is_none() || row.application == application)
            })
        };
        let before = found.map(|at| &rows[at]);
        if let Some(before) = before {
            let moved = spec.environment.is_some() && before.environment != environment;
            let retyped = spec.kind.is_some_and(|kind| kind != before.kind);
            let given_away = application.is_some() && before.application != application;
            let field = if moved {
                Some("environment")
            } else if given_away {
                Some("application")
            } else if retyped {
                Some("type")
            } else {
                None
            };
            if let Some(field) = field {
                return Err(ManifestError::Fixed { what, name, field });
            }
        }
        let kind = spec.kind.or(before.map(|row| row.kind)).unwrap_or_default();
        let config = kept(spec.config.as_ref(), before.map(|row| &row.config)).unwrap_or_default();
        let rule = |rule| ManifestError::value(what, &name, rule);
        let url = declared_url(spec, kind, Some(&config));
        let url = url
            .ok_or_else(|| rule(rules::SLACK_URL_REQUIRED))?
            .to_owned();
        if spec.auth_username.is_some() != spec.auth_password.is_some() {
            return Err(rule("auth_username and auth_password go together"));
        }
        // A URL and a secret from before a rule stay.
        let new_url = (before.is_none_or(|row| row.url != url)).then_some(&*url);
        let is_kept = |given: &&str| before.is_some_and(|row| row.secret.expose() == *given);
        let new_secret = spec.secret.as_deref().filter(|given| !is_kept(given));
        check(spec, kind, new_url, new_secret).map_err(ManifestError::broken(what, &name))?;
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
            application: before.map_or(application, |row| row.application),
            url,
            kind,
            config,
            metadata: kept(
                spec.metadata.as_ref().map(Metadata::as_map),
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
        let Some(selectors) = &spec.event_types else {
            return Ok(());
        };
        let (mut wanted, mut patterns) = (Vec::new(), Vec::new());
        for selector in selectors {
            match selector {
                EventTypeSelector::Name(name) => wanted.push(self.event_type_id(name, workspace)?),
                EventTypeSelector::Pattern(pattern) => patterns.push(pattern),
            }
        }
        self.patterns(&patterns, endpoint, workspace);
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

    fn patterns(
        &mut self,
        wanted: &[&EventTypePattern],
        endpoint: EndpointId,
        workspace: WorkspaceId,
    ) {
        let there = self.state.patterns.iter().cloned();
        let there: Vec<_> = there.filter(|row| row.endpoint == endpoint).collect();
        for row in there {
            if !wanted.contains(&&row.pattern) {
                self.state.patterns.retain(|other| other.id != row.id);
                self.note(Verb::Remove, Record::Pattern(row), None);
            }
        }
        for pattern in wanted {
            let mut rows = self.state.patterns.iter();
            if !rows.any(|row| row.endpoint == endpoint && row.pattern == **pattern) {
                let row = PatternRecord {
                    id: PatternId::from_bits(self.draw()),
                    workspace,
                    endpoint,
                    pattern: (*pattern).clone(),
                    created_at: self.now,
                };
                self.state.patterns.push(row.clone());
                self.note(Verb::Create, Record::Pattern(row), None);
            }
        }
    }
}

/// Returns the URL that an endpoint of that kind is delivered to.
fn declared_url<'a>(
    spec: &'a EndpointSpec,
    kind: EndpointKind,
    config: Option<&'a Map<String, Value>>,
) -> Option<&'a str> {
    match kind {
        EndpointKind::Slack => config.and_then(rules::slack_url),
        EndpointKind::Webhook => Some(&spec.url),
    }
}

/// Checks what is declared; the rest was checked when it was.
fn check(
    spec: &EndpointSpec,
    kind: EndpointKind,
    new_url: Option<&str>,
    new_secret: Option<&str>,
) -> Result<(), Broken> {
    rules::url_field(kind).check(new_url)?;
    endpoint::SECRET.check(new_secret)?;
    endpoint::METADATA.check(spec.metadata.as_ref().map(Metadata::as_map))?;
    endpoint::CONFIG.check(spec.config.as_ref())?;
    endpoint::DESCRIPTION.check(spec.description.as_deref())?;
    endpoint::AUTH_USERNAME.check(spec.auth_username.as_deref())?;
    endpoint::AUTH_PASSWORD.check(spec.auth_password.as_deref())
}

fn kept<T: Clone>(declared: Option<&T>, before: Option<&T>) -> Option<T> {
    declared.or(before).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Change, EndpointRecord, Manifest, ManifestError, Record, Snapshot};

    use nahook_core::{RandomIds, Timestamp};

    fn plan(existing: &Snapshot, endpoint: &Value) -> Result<Vec<Change>, ManifestError> {
        let manifest =
            json!({"workspaces": [{"id": "ws_a", "name": "a", "endpoints": [endpoint]}]});
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        manifest.changes(existing, Timestamp::default(), &RandomIds)
    }

    /// The only endpoint among the changes, and what exists once they are made.
    fn planned(existing: &Snapshot, endpoint: &Value) -> (EndpointRecord, Snapshot) {
        let mut after = existing.clone();
        for change in plan(existing, endpoint).unwrap() {
            match change.record {
                Record::Workspace(row) => after.workspaces.push(row),
                Record::Environment(row) => after.environments.push(row),
                Record::Endpoint(row) => after.endpoints = vec![row],
                other => panic!("{other:?}"),
            }
        }
        (after.endpoints[0].clone(), after)
    }

    #[test]
    fn a_slack_endpoint_has_its_url_in_its_configuration() {
        let none = Snapshot::default();
        let slack = |config: Value| json!({"type": "slack", "config": config});
        let (row, after) = planned(
            &none,
            &slack(json!({"webhookUrl": "https://slack.example/x"})),
        );
        assert_eq!(row.url, "https://slack.example/x");
        // It is recognised by that URL, so declaring it again changes nothing.
        let again = slack(json!({"webhookUrl": "https://slack.example/x"}));
        assert_eq!(plan(&after, &again), Ok(Vec::new()));
        // By its id it may move; what the configuration does not say stays.
        let moved =
            json!({"id": row.id.as_str(), "config": {"webhookUrl": "https://slack.example/y"}});
        let (moved, after) = planned(&after, &moved);
        assert_eq!((moved.id, &*moved.url), (row.id, "https://slack.example/y"));
        let same = json!({"id": row.id.as_str(), "url": "https://not-used.example/"});
        assert_eq!(plan(&after, &same), Ok(Vec::new()));
    }

    #[test]
    fn a_slack_endpoint_without_a_url_to_post_to_is_refused_and_no_secret_is_named() {
        let secret = "slack.example/T/B/hunter2";
        for config in [
            json!({}),
            json!({"webhookUrl": null}),
            json!({"webhookUrl": 1}),
            json!({"webhookurl": format!("https://{secret}")}),
            json!({"webhookUrl": ""}),
            json!({"webhookUrl": format!("ftp://{secret}")}),
        ] {
            let url = format!("https://{secret}");
            let spec = json!({"type": "slack", "url": url, "config": config});
            let refused = plan(&Snapshot::default(), &spec).unwrap_err();
            assert!(
                matches!(
                    refused,
                    ManifestError::Value {
                        what: "endpoint",
                        ..
                    }
                ),
                "{config}"
            );
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
        let bare = plan(&Snapshot::default(), &json!({"type": "slack"})).unwrap_err();
        assert!(bare.to_string().contains("config.webhookUrl"), "{bare}");
        let webhook = plan(
            &Snapshot::default(),
            &json!({"config": {"webhookUrl": "https://a/"}}),
        );
        webhook.unwrap_err();
    }
}
