//! Endpoints and their subscriptions.

use std::borrow::Cow;

use nahook_core::{BasicAuth, EndpointId, EndpointKind, SecretText, SubscriptionId, WorkspaceId};
use serde_json::{Map, Value};

use super::planner::{DEFAULT_SLUG, Planner, put};
use super::{ManifestError, Record, Verb};
use crate::manifest::EndpointSpec;
use crate::record::{EndpointRecord, SubscriptionRecord};
use crate::{rules, secrets};

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
        let url = match checked_url(spec, kind, &config) {
            Ok(url) => url,
            Err(rule) => {
                let rule = rule.into();
                return Err(ManifestError::Value { what, name, rule });
            }
        };
        if let Err(rule) = check_fields(spec) {
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
            application: before.map_or(application, |row| row.application),
            url,
            kind,
            config,
            metadata: kept(
                spec.metadata.as_ref().map(nahook_core::Metadata::as_map),
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

/// What the endpoint is called in errors: a Slack endpoint's URL is a secret.
pub(super) fn name_of(spec: &EndpointSpec) -> String {
    match (spec.id, spec.kind) {
        (Some(id), _) => id.into(),
        (None, Some(EndpointKind::Slack)) => "of type slack".to_owned(),
        (None, _) => spec.url.clone(),
    }
}

/// Where an endpoint of that kind is delivered to.
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

/// Where it is delivered to, or which rule the declaration breaks.
fn checked_url(
    spec: &EndpointSpec,
    kind: EndpointKind,
    config: &Map<String, Value>,
) -> Result<String, &'static str> {
    let url = declared_url(spec, kind, Some(config)).ok_or(rules::SLACK_URL_REQUIRED)?;
    let secret = spec.secret.as_deref();
    if let Some(rule) = rules::endpoint_url(url) {
        Err(rule)
    } else if let Some(rule) = secret.and_then(rules::signing_secret) {
        Err(rule)
    } else if spec.auth_username.is_some() != spec.auth_password.is_some() {
        Err("auth_username and auth_password go together")
    } else {
        Ok(url.to_owned())
    }
}

/// Checks what is declared beside the URL; what is not declared was checked when it was.
fn check_fields(spec: &EndpointSpec) -> Result<(), Cow<'static, str>> {
    if let Some(metadata) = &spec.metadata {
        rules::metadata(metadata).map_err(|error| error.to_string())?;
    }
    let auth = spec
        .auth_username
        .as_deref()
        .zip(spec.auth_password.as_deref());
    let broken = (spec.config.as_ref().and_then(rules::config))
        .or_else(|| spec.description.as_deref().and_then(rules::description))
        .or_else(|| auth.and_then(|(username, password)| rules::basic_auth(username, password)));
    broken.map_or(Ok(()), |rule| Err(rule.into()))
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

    #[test]
    fn declared_fields_have_the_bounds_of_the_api() {
        let long = |len: usize| "x".repeat(len);
        for (field, value) in [
            ("metadata", json!({"a": long(1_025)})),
            ("metadata", json!({(long(129)): ""})),
            ("config", json!({"a": long(8_192)})),
            ("description", json!(long(1_025))),
            ("description", json!("a\u{0}")),
            ("secret", json!(format!("whsec_{}", "AAAA".repeat(200)))),
            ("url", json!("http://a\u{200d}b.test/")),
            ("url", json!("http://localhost%00.test/")),
        ] {
            let mut spec = json!({"url": "https://a.example/"});
            spec[field] = value;
            let refused = plan(&Snapshot::default(), &spec).unwrap_err();
            assert!(matches!(refused, ManifestError::Value { .. }), "{field}");
        }
        for (username, password) in [("a:b", "p"), ("", "p"), ("u", "p\n"), (&*long(256), "p")] {
            let spec = json!({
                "url": "https://a.example/", "auth_username": username, "auth_password": password,
            });
            plan(&Snapshot::default(), &spec).unwrap_err();
        }
        for contents in [
            json!({"name": long(256)}),
            json!({"event_types": [{"name": "a", "description": long(1_025)}]}),
            json!({"applications": [{"name": "a", "metadata": {"a": long(1_025)}}]}),
            json!({"api_keys": [{"name": long(256)}]}),
            json!({"api_keys": [{"name": "a", "key": "nhk_a b"}]}),
            json!({"management_tokens": [{"name": "a", "token": format!("nhm_{}", long(512))}]}),
        ] {
            let mut workspace = json!({"id": "ws_a", "name": "a"});
            workspace
                .as_object_mut()
                .unwrap()
                .extend(contents.as_object().unwrap().clone());
            let manifest: Manifest =
                serde_json::from_value(json!({"workspaces": [workspace]})).unwrap();
            let planned = manifest.changes(&Snapshot::default(), Timestamp::default(), &RandomIds);
            assert!(
                matches!(planned, Err(ManifestError::Value { .. })),
                "{planned:?}"
            );
        }
    }
}
