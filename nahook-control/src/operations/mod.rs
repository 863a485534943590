//! Managing what is in a workspace: every decision of the Management API (contract, section 2), over any
//! [`ManagementStore`].
//!
//! Each operation says which rows it needs and decides by them alone; the store runs that decision in a transaction.

mod applications;
mod draft;
mod dry_run;
mod endpoints;
mod environments;
mod event_types;
mod keys;
mod patterns;
mod portal;
mod subscriptions;

use std::sync::{Arc, Mutex, PoisonError};

pub use self::applications::{ApplicationPatch, NewApplication};
use self::draft::Draft;
pub use self::dry_run::{DryRun, WouldBe};
pub use self::endpoints::{EndpointPatch, NewEndpoint};
pub use self::environments::{NewEnvironment, Visibility};
pub use self::event_types::EventTypeView;
pub use self::keys::{NewApiKey, NewManagementToken};
pub use self::portal::{NewPortalSession, PortalSession};
pub use self::subscriptions::SubscriptionView;
use crate::{
    Actor, AuditPage, AuditQuery, ChangePlan, ManagementError, ManagementStore, Planned, Select,
    Snapshot,
};

use nahook_core::id::WorkspaceId;
use nahook_core::{Clock, IdSource, RandomIds, StoreError, SystemClock};

/// Manages workspaces over a store; a clone is a handle.
#[derive(Clone)]
pub struct Management<S> {
    store: S,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl<S: ManagementStore> Management<S> {
    /// Manages what is in `store`, by the system's clock.
    pub fn new(store: S) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        }
    }

    /// Reads the time of day from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Draws ids and secrets from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The workspace's audit log.
    pub async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        self.store.audit_log(workspace, query).await
    }

    /// Says in the audit log that `done` was done to the resource of that kind and id, where no row changes with it.
    pub async fn record(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        (kind, id): (&'static str, String),
        done: &'static str,
        details: Vec<(&'static str, String)>,
    ) -> Result<(), ManagementError> {
        self.change(workspace, actor, Vec::new(), move |draft| {
            draft.note_only(kind, &id, done, &details);
            Ok(())
        })
        .await
    }

    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        self.store.read(workspace, selection).await
    }

    /// Runs a decision in a transaction and answers what it answers.
    async fn change<T>(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        mut reads: Vec<Select>,
        decide: impl Fn(&mut Draft<'_>) -> Result<T, ManagementError> + Send + Sync + 'static,
    ) -> Result<T, ManagementError>
    where
        T: Send + 'static,
    {
        // For the limits of what is made.
        if !reads.is_empty() {
            reads.push(Select::RowCounts);
            if !reads.contains(&Select::Workspace) {
                reads.push(Select::Workspace);
            }
        }
        let decision = Arc::new(Decision {
            workspace: *workspace,
            actor: actor.clone(),
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
            reads,
            decide,
            answer: Mutex::new(None),
        });
        let plan: Arc<dyn ChangePlan> = Arc::clone(&decision) as Arc<dyn ChangePlan>;
        self.store.change(workspace, &plan).await?;
        let answer = decision
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        answer.ok_or_else(|| ManagementError::Store(StoreError::internal("no plan was asked for")))
    }
}

impl<S> std::fmt::Debug for Management<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Management").finish_non_exhaustive()
    }
}

/// An operation as the store runs it: keeps the last answer of its decision for the caller.
struct Decision<T, F> {
    workspace: WorkspaceId,
    actor: Actor,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    reads: Vec<Select>,
    decide: F,
    answer: Mutex<Option<T>>,
}

impl<T, F> ChangePlan for Decision<T, F>
where
    T: Send,
    F: Fn(&mut Draft<'_>) -> Result<T, ManagementError> + Send + Sync,
{
    fn reads(&self) -> &[Select] {
        &self.reads
    }

    fn plan(&self, snapshot: &Snapshot) -> Result<Planned, ManagementError> {
        let mut draft = Draft::new(
            self.workspace,
            snapshot,
            &self.actor,
            self.clock.now(),
            &self.ids,
        );
        let answer = (self.decide)(&mut draft)?;
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Ok(draft.into_planned())
    }
}
