//! The port of a workspace's rows, which changes them one decision at a time.

use std::sync::Arc;

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::id::{
    ApiKeyId, ApplicationId, EndpointId, EnvironmentId, EventTypeId, ManagementTokenId, PatternId,
    WorkspaceId,
};
use nahook_core::{EventTypePattern, StoreError, Timestamp};

use crate::{
    ActorKind, AuditEntry, CatalogError, Change, EndpointRecord, ManagementError, Snapshot,
};

/// Rows of one workspace that are to be read. What does not exist is absent from the answer; what was removed does not
/// exist.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Select {
    /// One endpoint of this environment, if it has any.
    AnyEndpointIn(EnvironmentId),
    /// The ingestion key with this id, also if it is revoked.
    ApiKey(ApiKeyId),
    /// The ingestion key of that name, also if it is revoked.
    ApiKeyCalled(String),
    /// Its ingestion keys, revoked ones included.
    ApiKeys,
    /// Its applications: at most `limit`, after the first `offset`, the oldest first.
    Applications {
        /// Number of entries passed over.
        offset: u64,
        /// Largest number of them.
        limit: u64,
    },
    /// Its applications with this text in the name or the external id, where ASCII letters of either case are alike, and the one with
    /// this id: at most `limit`, the oldest first.
    ApplicationsLike {
        /// The text.
        text: String,
        /// Largest number of them.
        limit: u64,
    },
    /// The application with this id.
    Application(ApplicationId),
    /// The application that the workspace calls so.
    ApplicationCalled(String),
    /// The endpoint with this id.
    Endpoint(EndpointId),
    /// Number of endpoints of that application, counted up to the number that it may have; zero if it may have any number.
    EndpointCountOf(ApplicationId),
    /// Every endpoint.
    Endpoints,
    /// Every endpoint of that application.
    EndpointsOf(ApplicationId),
    /// Every environment.
    Environments,
    /// The event types with these ids.
    EventTypesWith(Vec<EventTypeId>),
    /// Every event type.
    EventTypes,
    /// The management token with this id, also if it is revoked.
    ManagementToken(ManagementTokenId),
    /// The management token of that name, also if it is revoked.
    ManagementTokenCalled(String),
    /// Its management tokens, revoked ones included.
    ManagementTokens,
    /// This endpoint's pattern with that id.
    Pattern(EndpointId, PatternId),
    /// This endpoint's pattern of that text.
    PatternCalled(EndpointId, EventTypePattern),
    /// Every pattern that an endpoint is subscribed to.
    Patterns,
    /// This endpoint's patterns, the oldest first.
    PatternsOf(EndpointId),
    /// The publication of that event type in this environment.
    Publication(EnvironmentId, EventTypeId),
    /// The event types that this environment publishes.
    PublicationsIn(EnvironmentId),
    /// Number of rows of each [kind](crate::RowKind) that is counted.
    RowCounts,
    /// Number of endpoints subscribed, by name or by pattern, to each of these event types; to each of all, if absent.
    SubscriberCounts(Option<Vec<EventTypeId>>),
    /// The endpoints subscribed to that event type, by its name or by a pattern, in the order of subscribing.
    SubscribersTo(EventTypeId),
    /// This endpoint's subscriptions by name to these event types.
    Subscriptions(EndpointId, Vec<EventTypeId>),
    /// This endpoint's subscriptions by name, the oldest first.
    SubscriptionsOf(EndpointId),
    /// The workspace itself.
    Workspace,
}

/// The result of a [`ChangePlan`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// The rows to write and remove, in an order in which each row's references exist before it.
    pub changes: Vec<Change>,
    /// The entries of the audit log.
    pub audit: Vec<AuditEntry>,
}

/// A decision: which rows it needs, and what follows from them.
pub trait ChangePlan: Send + Sync {
    /// The rows that [`plan`](Self::plan) decides by.
    fn reads(&self) -> &[Select];

    /// Returns the changes that follow from those rows. It may be called again, with newer rows, before anything is changed:
    /// the last answer counts.
    fn plan(&self, snapshot: &Snapshot) -> Result<Planned, ManagementError>;
}

/// A query for entries of a workspace's audit log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditQuery {
    /// Number of matching entries passed over.
    pub offset: u64,
    /// Largest number of them.
    pub limit: u64,
    /// Not before that.
    pub from: Option<Timestamp>,
    /// Before that.
    pub to: Option<Timestamp>,
    /// Only this action.
    pub action: Option<String>,
    /// Only this kind of resource.
    pub resource_type: Option<String>,
    /// Only this kind of actor.
    pub actor_kind: Option<ActorKind>,
}

/// The answer to an [`AuditQuery`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// Number of matching entries in all.
    pub total: u64,
}

/// A query for endpoints of a workspace, as a list shows them to people.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndpointQuery {
    /// Only this application's.
    pub application: Option<ApplicationId>,
    /// Only those with this text in the URL or the description, and the one with this id. A Slack URL is a secret, and not looked into.
    pub text: Option<String>,
    /// Only those of this health.
    pub health: Option<EndpointHealth>,
    /// Number of matching endpoints passed over.
    pub offset: u64,
    /// Largest number of them.
    pub limit: u64,
}

/// States of an endpoint that lists are chosen by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EndpointHealth {
    /// Active, and no attempt has succeeded since one failed.
    Failing,
    /// Not active.
    Disabled,
}

/// The answer to an [`EndpointQuery`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointPage {
    /// The newest first.
    pub endpoints: Vec<EndpointRecord>,
    /// Number of matching endpoints in all.
    pub total: u64,
}

/// Reads and changes what is in a workspace. Nothing of another workspace is ever read or changed.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait ManagementStore: Send + Sync {
    /// The selected rows, all as of one instant; of a workspace that does not exist, none.
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError>;

    /// Reads what the plan needs, lets it decide, and writes what it decided together with its audit entries: one
    /// transaction, during which no other changes the workspace.
    ///
    /// # Behaviour
    /// * Whole or not at all. What was changed is seen by the next look-up of any port (a cache states its bound).
    /// * A row whose id, name, slug, hash or external id is taken is [`ManagementError::Conflict`], whatever the plan knew.
    /// * A row to update or remove that is gone is [`ManagementError::NotFound`].
    ///
    /// # Errors
    /// The plan's own, unchanged; [`ManagementError::Store`] if the store could not be asked: then the change may have been
    /// made.
    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError>;

    /// The workspace's audit log.
    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError>;

    /// Some of the workspace's endpoints, as a list shows them: no more rows are read whole than it shows.
    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError>;
}

impl From<CatalogError> for ManagementError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Manifest(error) => Self::Conflict(error.to_string()),
            CatalogError::NotFound(what) => Self::NotFound(what),
            CatalogError::Store(error) => Self::Store(error),
        }
    }
}
