//! From a declaration and what exists to what has to change: one pure function that every catalog shares.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;

use super::manifest::{
    ApiKeySpec, EndpointSpec, EnvironmentSpec, EventTypeSpec, ManagementTokenSpec, Manifest,
    PlanSpec, RateSpec, WorkspaceSpec,
};
use super::record::{
    ApiKeyRecord, EndpointRecord, EnvironmentRecord, EventTypeRecord, KeyState,
    ManagementTokenRecord, PublicationRecord, SubscriptionRecord, WorkspaceRecord,
};
use super::secrets;
use crate::{
    ApiKeyId, BasicAuth, EndpointId, EndpointKind, EnvironmentId, EventTypeId, EventTypeName,
    IdSource, KeyHash, ManagementTokenId, MessageId, Plan, Rate, SecretText, SubscriptionId,
    Timestamp, WorkspaceId,
};

/// The existing rows of the workspaces that a manifest names, in the order of their making.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every adapter with a literal"
)]
pub struct Snapshot {
    /// The workspaces.
    pub workspaces: Vec<WorkspaceRecord>,
    /// Their environments.
    pub environments: Vec<EnvironmentRecord>,
    /// Their event types.
    pub event_types: Vec<EventTypeRecord>,
    /// Their endpoints.
    pub endpoints: Vec<EndpointRecord>,
    /// Their subscriptions.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// What their environments publish.
    pub publications: Vec<PublicationRecord>,
    /// Their ingestion keys, revoked ones included.
    pub api_keys: Vec<ApiKeyRecord>,
    /// Their management tokens, revoked ones included.
    pub management_tokens: Vec<ManagementTokenRecord>,
}

/// One row to write or remove.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// What to do.
    pub verb: Verb,
    /// With what.
    pub record: Record,
    /// The key, token or signing secret that was drawn for it, to be shown this once.
    pub drawn_secret: Option<SecretText>,
}

/// What to do with a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new verb must be answered by every adapter"
)]
pub enum Verb {
    /// It is new.
    Create,
    /// It goes; only subscriptions and publications do.
    Remove,
    /// It replaces the one with its id.
    Update,
}

/// Any row.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new kind of row must be answered by every adapter"
)]
#[expect(missing_docs, reason = "each variant is its record")]
pub enum Record {
    ApiKey(ApiKeyRecord),
    Endpoint(EndpointRecord),
    Environment(EnvironmentRecord),
    EventType(EventTypeRecord),
    ManagementToken(ManagementTokenRecord),
    Publication(PublicationRecord),
    Subscription(SubscriptionRecord),
    Workspace(WorkspaceRecord),
}

/// Why a manifest cannot be put into effect.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ManifestError {
    /// Something is declared twice.
    #[error("{what} {name:?} is declared twice")]
    Duplicate {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        name: String,
    },
    /// Something that cannot change once it exists would change.
    #[error("{what} {name:?} exists with another {field}, which cannot be changed")]
    Fixed {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        name: String,
        /// What would change.
        field: &'static str,
    },
    /// An id or a key belongs to something else already.
    #[error("an id or key of {what} {name:?} is taken")]
    Taken {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        name: String,
    },
    /// Something is named that is neither declared nor there.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        name: String,
    },
    /// A value that is not allowed.
    #[error("{what} {name:?}: {rule}")]
    Value {
        /// What kind of thing.
        what: &'static str,
        /// Which one.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
}

/// How many environments a workspace may have (contract, section 2).
const ENVIRONMENTS_MAX: usize = 10;
const DEFAULT_SLUG: &str = "production";
const DEFAULT_NAME: &str = "Production";

impl Manifest {
    /// What has to change in `existing` so that everything is as declared; nothing if it is already.
    ///
    /// The order of the changes is one in which each row's references exist before it.
    pub fn changes(
        &self,
        existing: &Snapshot,
        now: Timestamp,
        ids: &dyn IdSource,
    ) -> Result<Vec<Change>, ManifestError> {
        let mut planner = Planner {
            state: existing.clone(),
            changes: Vec::new(),
            now,
            ids,
        };
        let mut seen = HashSet::new();
        for spec in &self.workspaces {
            let id = planner.workspace(spec)?;
            once(&mut seen, "workspace", id, &spec.name)?;
            planner.contents(spec, id)?;
        }
        Ok(planner.changes)
    }
}

/// Applies the declaration to a copy of what exists and notes each difference.
struct Planner<'a> {
    state: Snapshot,
    changes: Vec<Change>,
    now: Timestamp,
    ids: &'a dyn IdSource,
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

impl Planner<'_> {
    fn note(&mut self, verb: Verb, record: Record, drawn_secret: Option<SecretText>) {
        self.changes.push(Change {
            verb,
            record,
            drawn_secret,
        });
    }

    fn draw(&self) -> u128 {
        MessageId::from_parts(self.now, self.ids.random()).as_bits()
    }

    fn workspace(&mut self, spec: &WorkspaceSpec) -> Result<WorkspaceId, ManifestError> {
        let rule = |rule| {
            Err(ManifestError::Value {
                what: "workspace",
                name: spec.name.clone(),
                rule,
            })
        };
        if spec.name.is_empty() {
            return rule("a name is required");
        }
        let found = self.state.workspaces.iter().position(|row| match spec.id {
            Some(id) => row.id == id,
            None => row.name == spec.name,
        });
        let before = found.map(|at| &self.state.workspaces[at]);
        let plan = match spec.plan {
            Some(plan) => match plan_of(plan) {
                Some(plan) => plan,
                None => return rule("a rate of its plan is out of range"),
            },
            None => before.map(|row| row.plan).unwrap_or_default(),
        };
        let id = before.map(|row| row.id).or(spec.id);
        let id = id.unwrap_or_else(|| WorkspaceId::from_bits(self.draw()));
        let created_at = before.map_or(self.now, |row| row.created_at);
        let desired = WorkspaceRecord {
            id,
            name: spec.name.clone(),
            plan,
            created_at,
        };
        put!(self, workspaces, found, desired, Workspace, None);
        Ok(id)
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
            let (what, name) = ("workspace", spec.name.clone());
            return Err(ManifestError::Value {
                what,
                name,
                rule: "at most 10 environments",
            });
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
        for endpoint in &spec.endpoints {
            let id = self.endpoint(endpoint, workspace)?;
            once(&mut seen, "endpoint", id, &endpoint.url)?;
            self.subscriptions(endpoint, id, workspace)?;
        }
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

    fn environment_at(&self, slug: &str, workspace: WorkspaceId) -> Option<usize> {
        self.state
            .environments
            .iter()
            .position(|row| row.workspace == workspace && row.slug == slug)
    }

    fn environment_id(
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

    fn event_type_id(
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

    fn environment(
        &mut self,
        spec: &EnvironmentSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let (what, slug) = ("environment", spec.slug.clone());
        let is_default = slug == DEFAULT_SLUG;
        let found = self.environment_at(&slug, workspace);
        let before = found.map(|at| &self.state.environments[at]);
        if let Some((before, id)) = before.zip(spec.id)
            && before.id != id
        {
            return Err(ManifestError::Fixed {
                what,
                name: slug,
                field: "id",
            });
        }
        let name = spec
            .name
            .clone()
            .or_else(|| before.map(|row| row.name.clone()))
            .unwrap_or_else(|| {
                if is_default {
                    DEFAULT_NAME.to_owned()
                } else {
                    slug.clone()
                }
            });
        let slug_is_fine = (2..=50).contains(&slug.len())
            && slug
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let broken = if !slug_is_fine {
            Some("a slug is 2 to 50 lower-case letters, digits and hyphens")
        } else if !(1..=50).contains(&name.chars().count()) {
            Some("a name has 1 to 50 characters")
        } else if is_default && spec.published.is_some() {
            Some("the default environment publishes every event type")
        } else {
            None
        };
        if let Some(rule) = broken {
            return Err(ManifestError::Value {
                what,
                name: slug,
                rule,
            });
        }
        let id = before.map(|row| row.id).or(spec.id);
        let id = id.unwrap_or_else(|| EnvironmentId::from_bits(self.draw()));
        let created_at = before.map_or(self.now, |row| row.created_at);
        let unchanged = before
            .filter(|row| row.name == name)
            .map(|row| row.updated_at);
        let updated_at = unchanged.unwrap_or(self.now);
        let desired = EnvironmentRecord {
            id,
            workspace,
            name,
            slug,
            is_default,
            created_at,
            updated_at,
        };
        put!(self, environments, found, desired, Environment, None);
        Ok(())
    }

    fn event_type(
        &mut self,
        spec: &EventTypeSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let rows = &self.state.event_types;
        let found = rows
            .iter()
            .position(|row| row.workspace == workspace && row.name == spec.name);
        let before = found.map(|at| &rows[at]);
        if let Some((before, id)) = before.zip(spec.id)
            && before.id != id
        {
            let (what, name) = ("event type", spec.name.to_string());
            return Err(ManifestError::Fixed {
                what,
                name,
                field: "id",
            });
        }
        let id = before.map(|row| row.id).or(spec.id);
        let desired = EventTypeRecord {
            id: id.unwrap_or_else(|| EventTypeId::from_bits(self.draw())),
            workspace,
            name: spec.name.clone(),
            description: kept(
                spec.description.as_ref(),
                before.and_then(|row| row.description.as_ref()),
            ),
            created_at: before.map_or(self.now, |row| row.created_at),
        };
        put!(self, event_types, found, desired, EventType, None);
        Ok(())
    }

    fn publications(
        &mut self,
        spec: &EnvironmentSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let Some(names) = &spec.published else {
            return Ok(());
        };
        let environment = self.environment_id(&spec.slug, workspace)?;
        let mut wanted = Vec::new();
        for name in names {
            let event_type = self.event_type_id(name, workspace)?;
            wanted.push(PublicationRecord {
                workspace,
                environment,
                event_type,
            });
        }
        let there: Vec<_> = self
            .state
            .publications
            .iter()
            .copied()
            .filter(|row| row.environment == environment)
            .collect();
        for row in there.iter().filter(|row| !wanted.contains(row)) {
            self.state.publications.retain(|other| other != row);
            self.note(Verb::Remove, Record::Publication(*row), None);
        }
        for row in wanted {
            if !self.state.publications.contains(&row) {
                self.state.publications.push(row);
                self.note(Verb::Create, Record::Publication(row), None);
            }
        }
        Ok(())
    }

    fn endpoint(
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

    fn subscriptions(
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

    fn api_key(&mut self, spec: &ApiKeySpec, workspace: WorkspaceId) -> Result<(), ManifestError> {
        let (what, name) = ("API key", spec.name.clone());
        check_secret(what, &name, spec.key.as_deref(), secrets::API_KEY_PREFIX)?;
        let slug = spec.environment.as_deref();
        let environment = slug
            .map(|slug| self.environment_id(slug, workspace))
            .transpose()?;
        if let Some(id) = spec.endpoint {
            let mut rows = self.state.endpoints.iter();
            if !rows.any(|row| row.workspace == workspace && row.id == id) {
                return Err(ManifestError::Unknown {
                    what: "endpoint",
                    name: id.to_string(),
                });
            }
        }
        let rows = &self.state.api_keys;
        let found = rows
            .iter()
            .position(|row| row.workspace == workspace && row.name == name);
        let before = found.map(|at| &rows[at]);
        let given = spec.key.as_deref().map(KeyHash::of);
        if let Some(row) = before {
            let field = fixed_field(
                spec.id.is_some_and(|id| id != row.id),
                given,
                row.hash,
                row.state,
            )
            .or(
                (spec.environment.is_some() && row.environment != environment)
                    .then_some("environment"),
            )
            .or((spec.endpoint.is_some() && row.endpoint != spec.endpoint).then_some("endpoint"));
            if let Some(field) = field {
                return Err(ManifestError::Fixed { what, name, field });
            }
        }
        let known = before.map(|row| row.hash).or(given);
        let drawn = known.is_none().then(|| secrets::new_api_key(self.ids));
        let id = before.map(|row| row.id).or(spec.id);
        let desired = ApiKeyRecord {
            id: id.unwrap_or_else(|| ApiKeyId::from_bits(self.draw())),
            workspace,
            environment: before.map_or(environment, |row| row.environment),
            endpoint: before.map_or(spec.endpoint, |row| row.endpoint),
            name,
            hash: known
                .unwrap_or_else(|| KeyHash::of(drawn.as_ref().map_or("", SecretText::expose))),
            state: state_of(spec.disabled, before.map(|row| row.state)),
            created_at: before.map_or(self.now, |row| row.created_at),
        };
        put!(self, api_keys, found, desired, ApiKey, drawn);
        Ok(())
    }

    fn management_token(
        &mut self,
        spec: &ManagementTokenSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let (what, name) = ("management token", spec.name.clone());
        check_secret(
            what,
            &name,
            spec.token.as_deref(),
            secrets::MANAGEMENT_TOKEN_PREFIX,
        )?;
        let rows = &self.state.management_tokens;
        let found = rows
            .iter()
            .position(|row| row.workspace == workspace && row.name == name);
        let before = found.map(|at| &rows[at]);
        let given = spec.token.as_deref().map(KeyHash::of);
        if let Some(row) = before
            && let Some(field) = fixed_field(
                spec.id.is_some_and(|id| id != row.id),
                given,
                row.hash,
                row.state,
            )
        {
            return Err(ManifestError::Fixed { what, name, field });
        }
        let known = before.map(|row| row.hash).or(given);
        let drawn = known
            .is_none()
            .then(|| secrets::new_management_token(self.ids));
        let id = before.map(|row| row.id).or(spec.id);
        let desired = ManagementTokenRecord {
            id: id.unwrap_or_else(|| ManagementTokenId::from_bits(self.draw())),
            workspace,
            name,
            hash: known
                .unwrap_or_else(|| KeyHash::of(drawn.as_ref().map_or("", SecretText::expose))),
            state: state_of(spec.disabled, before.map(|row| row.state)),
            created_at: before.map_or(self.now, |row| row.created_at),
        };
        put!(
            self,
            management_tokens,
            found,
            desired,
            ManagementToken,
            drawn
        );
        Ok(())
    }
}

fn once<K: std::hash::Hash + Eq>(
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

fn kept<T: Clone>(declared: Option<&T>, before: Option<&T>) -> Option<T> {
    declared.or(before).cloned()
}

fn plan_of(spec: PlanSpec) -> Option<Plan> {
    let rate = |spec: Option<RateSpec>| match spec {
        Some(RateSpec {
            count,
            period_secs,
            burst,
        }) => {
            let period = Duration::from_secs(period_secs.map_or(1, NonZeroU32::get).into());
            Rate::new(count, period, burst.unwrap_or(count)).map(Some)
        }
        None => Some(None),
    };
    Some(Plan {
        payload_len_max: spec
            .payload_len_max
            .unwrap_or(Plan::PAYLOAD_LEN_MAX_DEFAULT),
        workspace_rate: rate(spec.workspace_rate)?,
        key_rate: rate(spec.key_rate)?,
    })
}

fn broken_endpoint_rule(spec: &EndpointSpec) -> Option<&'static str> {
    let host = spec
        .url
        .strip_prefix("https://")
        .or_else(|| spec.url.strip_prefix("http://"));
    let host_is_there =
        host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
    if spec.kind != Some(EndpointKind::Slack) && !host_is_there {
        Some("its URL must be an http or https URL")
    } else if spec
        .url
        .chars()
        .any(|c| c.is_whitespace() || c.is_control())
    {
        Some("its URL contains white space")
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

fn check_secret(
    what: &'static str,
    name: &str,
    secret: Option<&str>,
    prefix: &'static str,
) -> Result<(), ManifestError> {
    let rule = if name.is_empty() {
        "a name is required"
    } else if secret.is_some_and(|secret| !secret.starts_with(prefix)) {
        "a given secret must begin with the prefix of its kind"
    } else {
        return Ok(());
    };
    Err(ManifestError::Value {
        what,
        name: name.to_owned(),
        rule,
    })
}

fn fixed_field(
    other_id: bool,
    given: Option<KeyHash>,
    hash: KeyHash,
    state: KeyState,
) -> Option<&'static str> {
    if other_id {
        Some("id")
    } else if given.is_some_and(|given| given != hash) {
        Some("secret")
    } else if state == KeyState::Revoked {
        Some("state (it is revoked)")
    } else {
        None
    }
}

fn state_of(disabled: Option<bool>, before: Option<KeyState>) -> KeyState {
    match disabled {
        Some(true) => KeyState::Disabled,
        Some(false) => KeyState::Active,
        None => before.unwrap_or(KeyState::Active),
    }
}
