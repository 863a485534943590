//! From a declaration and what exists to what has to change: one pure function that every catalog shares.

mod application;
mod endpoint;
mod key;
mod planner;
#[cfg(test)]
mod tests;
mod workspace;

use std::borrow::Cow;
use std::collections::HashMap;

use crate::{RowKind, SecretText};
use nahook_core::id::{ApplicationId, EventTypeId, WorkspaceId};
use nahook_core::{IdSource, Timestamp};
use thiserror::Error;

use self::planner::Planner;
use super::manifest::Manifest;
use super::record::{
    ApiKeyRecord, ApplicationRecord, EndpointRecord, EnvironmentRecord, EventTypeRecord,
    ManagementTokenRecord, PatternRecord, PortalSessionRecord, PublicationRecord, SubscriberRecord,
    SubscriptionRecord, WorkspaceRecord,
};
use super::rules::Broken;

/// Existing rows, each kind in the order of its making: of the workspaces that a manifest names, or what a
/// [selection](crate::Select) asked for.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The workspaces.
    pub workspaces: Vec<WorkspaceRecord>,
    /// Their environments.
    pub environments: Vec<EnvironmentRecord>,
    /// Their event types.
    pub event_types: Vec<EventTypeRecord>,
    /// Their endpoints.
    pub endpoints: Vec<EndpointRecord>,
    /// Their subscriptions by name.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// Their subscriptions by pattern.
    pub patterns: Vec<PatternRecord>,
    /// The endpoints that event types fan out to, in the order of subscribing; only where a selection asked for them.
    pub subscribers: Vec<SubscriberRecord>,
    /// The event types that their environments publish.
    pub publications: Vec<PublicationRecord>,
    /// Their ingestion keys, revoked ones included.
    pub api_keys: Vec<ApiKeyRecord>,
    /// Their management tokens, revoked ones included.
    pub management_tokens: Vec<ManagementTokenRecord>,
    /// Their applications.
    pub applications: Vec<ApplicationRecord>,
    /// Number of endpoints subscribed to each event type that has any; only where a selection asked for it.
    pub subscriber_counts: HashMap<EventTypeId, u64>,
    /// Number of rows of each kind; only where a selection asked for it.
    pub row_counts: HashMap<RowKind, u64>,
    /// Number of endpoints of each application; only where a selection asked for it.
    pub endpoint_counts: HashMap<ApplicationId, u64>,
}

/// One row to write or remove.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The kind of change.
    pub verb: Verb,
    /// The row.
    pub record: Record,
    /// The key, token or signing secret that was drawn for it, to be shown this once.
    pub drawn_secret: Option<SecretText>,
}

impl Change {
    /// Do that with the row, for which no secret was drawn.
    pub fn new(verb: Verb, record: Record) -> Self {
        Self {
            verb,
            record,
            drawn_secret: None,
        }
    }
}

/// The kinds of changes to a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// It is new. A new event type has the endpoints whose patterns match it as subscribers, a new pattern the event types that it
    /// matches.
    Create,
    /// It goes, and what makes no sense without it: what a subscription or a pattern alone subscribed to, an endpoint's patterns, an
    /// endpoint's or event type's subscriptions, an event type's or environment's publications, an application's endpoints and portal sessions, and the keys that are bound to an
    /// endpoint or environment are revoked. What has already been queued keeps its history.
    Remove,
    /// It replaces the one with its id.
    Update,
}

/// Any row.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is its record")]
pub enum Record {
    ApiKey(ApiKeyRecord),
    Application(ApplicationRecord),
    Endpoint(EndpointRecord),
    Environment(EnvironmentRecord),
    EventType(EventTypeRecord),
    ManagementToken(ManagementTokenRecord),
    Pattern(PatternRecord),
    PortalSession(PortalSessionRecord),
    Publication(PublicationRecord),
    Subscription(SubscriptionRecord),
    Workspace(WorkspaceRecord),
}

impl Record {
    /// Returns the workspace that the row is of.
    pub fn workspace(&self) -> WorkspaceId {
        match self {
            Self::ApiKey(row) => row.workspace,
            Self::Application(row) => row.workspace,
            Self::Endpoint(row) => row.workspace,
            Self::Environment(row) => row.workspace,
            Self::EventType(row) => row.workspace,
            Self::ManagementToken(row) => row.workspace,
            Self::Pattern(row) => row.workspace,
            Self::PortalSession(row) => row.workspace,
            Self::Publication(row) => row.workspace,
            Self::Subscription(row) => row.workspace,
            Self::Workspace(row) => row.id,
        }
    }

    /// Returns the kind and the name of the row in words, for errors.
    pub fn described(&self) -> (&'static str, &str) {
        match self {
            Self::ApiKey(row) => ("API key", &row.name),
            Self::Application(row) => ("application", &row.name),
            Self::Endpoint(row) => ("endpoint", row.id.as_str()),
            Self::Environment(row) => ("environment", &row.slug),
            Self::EventType(row) => ("event type", row.name.as_str()),
            Self::ManagementToken(row) => ("management token", &row.name),
            Self::Pattern(row) => ("pattern", row.pattern.as_str()),
            Self::PortalSession(row) => ("portal session", row.application.as_str()),
            Self::Publication(row) => ("publication", row.event_type.as_str()),
            Self::Subscription(row) => ("subscription", row.id.as_str()),
            Self::Workspace(row) => ("workspace", &row.name),
        }
    }

    /// Returns the kind of the row, if rows of its kind are counted. Environments have a limit of their own, publications have
    /// theirs by those and event types, and portal sessions end within the hour.
    pub(crate) fn kind(&self) -> Option<RowKind> {
        match self {
            Self::ApiKey(_) => Some(RowKind::ApiKey),
            Self::Application(_) => Some(RowKind::Application),
            Self::Endpoint(_) => Some(RowKind::Endpoint),
            Self::EventType(_) => Some(RowKind::EventType),
            Self::ManagementToken(_) => Some(RowKind::ManagementToken),
            Self::Pattern(_) => Some(RowKind::Pattern),
            Self::Subscription(_) => Some(RowKind::Subscription),
            Self::Environment(_)
            | Self::PortalSession(_)
            | Self::Publication(_)
            | Self::Workspace(_) => None,
        }
    }
}

/// Reasons for which a manifest cannot be put into effect.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ManifestError {
    /// Something is declared twice.
    #[error("{what} {name:?} is declared twice")]
    Duplicate {
        /// Kind of the thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something that cannot change once it exists would change.
    #[error("{what} {name:?} exists with another {field}, which cannot be changed")]
    Fixed {
        /// Kind of the thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// Field that would change.
        field: &'static str,
    },
    /// An id or a key belongs to something else already.
    #[error("an id or key of {what} {name:?} is taken")]
    Taken {
        /// Kind of the thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something is named that is neither declared nor there.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// Kind of the thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value that is not allowed.
    #[error("{what} {name:?}: {rule}")]
    Value {
        /// Kind of the thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// The rule it breaks.
        rule: Cow<'static, str>,
    },
}

impl ManifestError {
    /// Makes the error of a row of which something belongs to another already.
    pub fn taken(record: &Record) -> Self {
        let (what, name) = record.described();
        let name = name.to_owned();
        Self::Taken { what, name }
    }

    fn value(what: &'static str, name: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        let (name, rule) = (name.to_owned(), rule.into());
        Self::Value { what, name, rule }
    }

    /// Makes an error of the rule that a field of the thing of that name breaks.
    fn broken(what: &'static str, name: &str) -> impl Fn(Broken) -> Self {
        move |broken| Self::value(what, name, broken.in_manifest())
    }
}

impl Manifest {
    /// Returns the changes to `existing` that make everything as declared; nothing if it is already.
    ///
    /// The order of the changes is one in which each row's references exist before it.
    pub fn changes(
        &self,
        existing: &Snapshot,
        now: Timestamp,
        ids: &dyn IdSource,
    ) -> Result<Vec<Change>, ManifestError> {
        Planner::new(existing.clone(), now, ids).plan(self)
    }
}
