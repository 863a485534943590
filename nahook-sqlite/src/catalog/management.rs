//! Managing what is in a workspace.

use std::sync::Arc;

use nahook_control::{
    AuditPage, AuditQuery, CatalogError, Change, ChangePlan, ManagementError, ManagementStore,
    Select, Snapshot,
};
use nahook_core::id::WorkspaceId;
use nahook_core::{StoreError, Timestamp};

use super::select::selected;
use super::write;
use crate::SqliteStore;
use crate::audit;
use crate::writer::Session;

#[async_trait::async_trait]
impl ManagementStore for SqliteStore {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        let (workspace, selection) = (*workspace, selection.to_vec());
        self.shared()
            .readers()
            .read(move |connection| selected(connection, workspace, &selection))
            .await
    }

    /// Reads, plans and writes on the writer's thread, so that nobody changes anything in between.
    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let (workspace, plan, now) = (*workspace, Arc::clone(plan), self.shared().now());
        self.shared()
            .writer()
            .run(move |session| session.attempt(|session| change(session, workspace, &*plan, now)))
            .await?
    }

    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        let (workspace, query) = (*workspace, query.clone());
        self.shared()
            .readers()
            .read(move |connection| audit::page(connection, workspace, &query))
            .await
    }
}

fn change(
    session: &mut Session,
    workspace: WorkspaceId,
    plan: &dyn ChangePlan,
    now: Timestamp,
) -> rusqlite::Result<Result<Vec<Change>, ManagementError>> {
    let rows = selected(session.connection(), workspace, plan.reads())?;
    let planned = match plan.plan(&rows) {
        Ok(planned) => planned,
        Err(error) => return Ok(Err(error)),
    };
    let written = write::write_all(session, &planned, now)?;
    Ok(match written {
        Ok(()) => Ok(planned.changes),
        Err(refusal) => Err(CatalogError::from(refusal).into()),
    })
}
