//! The walk over a manifest.

use std::collections::HashSet;
use std::hash::Hash;

use crate::manifest::{EndpointSpec, EnvironmentSpec, Manifest, WorkspaceSpec};
use crate::{EndpointKind, EndpointRecord, SecretText};
use nahook_core::id::{ApplicationId, EnvironmentId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{EventTypeName, IdSource, Timestamp};

use super::{Change, ManifestError, Record, Snapshot, Verb};
use crate::rules::ENVIRONMENTS_MAX;

/// The environment that every workspace has.
pub(super) const DEFAULT_SLUG: &str = "production";

/// Applies the declaration to a copy of what exists and notes each difference.
pub(super) struct Planner<'a> {
    pub(super) state: Snapshot,
    pub(super) now: Timestamp,
    pub(super) ids: &'a dyn IdSource,
    changes: Vec<Change>,
}

/// Puts `$desired` in the place of the element of `$rows` at `$found`, or at the end, and notes what that changed.
macro_rules! put {
    ($self:ident, $rows:ident, $found:expr, $desired:expr, $kind:ident, $secret:expr) => {{
        let desired = $desired;
        match $found {
            Some(at) if $self.state.$rows[at] == desired => {}
            Some(at) => {
                $self.state.$rows[at] = desired.clone();
                $self.note(Verb::Update, Record::$kind(desired), $secret);
            }
            None => {
                $self.state.$rows.push(desired.clone());
                $self.note(Verb::Create, Record::$kind(desired), $secret);
            }
        }
    }};
}

pub(super) use put;

impl<'a> Planner<'a> {
    pub(super) fn new(state: Snapshot, now: Timestamp, ids: &'a dyn IdSource) -> Self {
        Self {
            state,
            now,
            ids,
            changes: Vec::new(),
        }
    }

    pub(super) fn plan(mut self, manifest: &Manifest) -> Result<Vec<Change>, ManifestError> {
        let mut seen = HashSet::new();
        for spec in &manifest.workspaces {
            let id = self.workspace(spec)?;
            once(&mut seen, "workspace", id, &spec.name)?;
            self.contents(spec, id)?;
        }
        Ok(self.changes)
    }

    pub(super) fn note(&mut self, verb: Verb, record: Record, drawn_secret: Option<SecretText>) {
        self.changes.push(Change {
            verb,
            record,
            drawn_secret,
        });
    }

    /// Returns true if an endpoint is to be made for that application.
    pub(super) fn gives_an_endpoint_to(&self, application: ApplicationId) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| {
            let is_its = |row: &EndpointRecord| row.application == Some(application);
            change.verb == Verb::Create
                && matches!(&change.record, Record::Endpoint(row) if is_its(row))
        })
    }

    pub(super) fn draw(&self) -> u128 {
        MessageId::from_parts(self.now, self.ids.random()).as_bits()
    }

    fn contents(
        &mut self,
        spec: &WorkspaceSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let default = EnvironmentSpec {
            slug: DEFAULT_SLUG.to_owned(),
            ..EnvironmentSpec::default()
        };
        if !spec.environments.iter().any(|env| env.slug == DEFAULT_SLUG)
            && self.environment_at(DEFAULT_SLUG, workspace).is_none()
        {
            self.environment(&default, workspace)?;
        }
        let mut seen = HashSet::new();
        for env in &spec.environments {
            once(&mut seen, "environment", env.slug.clone(), &env.slug)?;
            self.environment(env, workspace)?;
        }
        if self
            .state
            .environments
            .iter()
            .filter(|row| row.workspace == workspace)
            .count()
            > ENVIRONMENTS_MAX
        {
            let rule = format!("at most {ENVIRONMENTS_MAX} environments");
            return Err(ManifestError::value("workspace", &spec.name, rule));
        }
        let mut seen = HashSet::new();
        for event_type in &spec.event_types {
            once(
                &mut seen,
                "event type",
                &event_type.name,
                event_type.name.as_str(),
            )?;
            self.event_type(event_type, workspace)?;
        }
        for env in &spec.environments {
            self.publications(env, workspace)?;
        }
        let mut seen = HashSet::new();
        for application in &spec.applications {
            let id = self.application(application, workspace)?;
            once(&mut seen, "application", id, &application.name)?;
        }
        let mut seen = HashSet::new();
        for endpoint in &spec.endpoints {
            let id = self.endpoint(endpoint, workspace)?;
            once(&mut seen, "endpoint", id, &name_of(endpoint))?;
            self.subscriptions(endpoint, id, workspace)?;
        }
        self.check_caps(workspace)?;
        let mut seen = HashSet::new();
        for key in &spec.api_keys {
            once(&mut seen, "API key", &key.name, &key.name)?;
            self.api_key(key, workspace)?;
        }
        let mut seen = HashSet::new();
        for token in &spec.management_tokens {
            once(&mut seen, "management token", &token.name, &token.name)?;
            self.management_token(token, workspace)?;
        }
        Ok(())
    }
    pub(super) fn environment_at(&self, slug: &str, workspace: WorkspaceId) -> Option<usize> {
        self.state
            .environments
            .iter()
            .position(|row| row.workspace == workspace && row.slug == slug)
    }

    pub(super) fn environment_id(
        &self,
        slug: &str,
        workspace: WorkspaceId,
    ) -> Result<EnvironmentId, ManifestError> {
        self.environment_at(slug, workspace)
            .map(|at| self.state.environments[at].id)
            .ok_or_else(|| ManifestError::Unknown {
                what: "environment",
                name: slug.to_owned(),
            })
    }

    pub(super) fn event_type_id(
        &self,
        name: &EventTypeName,
        workspace: WorkspaceId,
    ) -> Result<EventTypeId, ManifestError> {
        let mut rows = self.state.event_types.iter();
        rows.find(|row| row.workspace == workspace && row.name == *name)
            .map(|row| row.id)
            .ok_or_else(|| ManifestError::Unknown {
                what: "event type",
                name: name.to_string(),
            })
    }
}

fn once<K: Hash + Eq>(
    seen: &mut HashSet<K>,
    what: &'static str,
    key: K,
    name: &str,
) -> Result<(), ManifestError> {
    let name = name.to_owned();
    if seen.insert(key) {
        Ok(())
    } else {
        Err(ManifestError::Duplicate { what, name })
    }
}

/// Returns the endpoint's name for errors: a Slack endpoint's URL is a secret.
pub(super) fn name_of(spec: &EndpointSpec) -> String {
    match (spec.id, spec.kind) {
        (Some(id), _) => id.into(),
        (None, Some(EndpointKind::Slack)) => "of type slack".to_owned(),
        (None, _) => spec.url.clone(),
    }
}
