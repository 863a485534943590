//! Managing what is in a workspace.

use std::sync::Arc;

use nahook_control::{
    AuditPage, AuditQuery, CatalogError, Change, ChangePlan, EndpointPage, EndpointQuery,
    ManagementError, ManagementStore, SecretBox, Select, Snapshot,
};
use nahook_core::id::WorkspaceId;
use nahook_core::{StoreError, Timestamp};

use super::finding;
use super::select::selected;
use super::write;
use crate::SqliteStore;
use crate::audit;
use crate::secrets::unsealable;
use crate::writer::Session;

#[async_trait::async_trait]
impl ManagementStore for SqliteStore {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        let (workspace, selection) = (*workspace, selection.to_vec());
        let mut rows = self
            .shared()
            .readers()
            .read(move |connection| selected(connection, workspace, &selection))
            .await?;
        let opened = self.shared().secrets().open_snapshot(&mut rows);
        opened.map_err(StoreError::internal)?;
        Ok(rows)
    }

    /// Reads, plans and writes on the writer's thread, so that nobody changes anything in between.
    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let (workspace, plan, now) = (*workspace, Arc::clone(plan), self.shared().now());
        let secrets = self.shared().secrets().clone();
        self.shared()
            .writer()
            .run(move |session| {
                session.attempt(|session| change(session, &secrets, workspace, &*plan, now))
            })
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

    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let (workspace, query) = (*workspace, query.clone());
        let readers = self.shared().readers();
        let mut page = readers
            .read(move |connection| finding::page(connection, workspace, &query))
            .await?;
        let secrets = self.shared().secrets();
        let mut rows = page.endpoints.iter_mut();
        let opened = rows.try_for_each(|row| secrets.open_endpoint(row));
        opened.map_err(StoreError::internal)?;
        Ok(page)
    }
}

#[cfg(test)]
mod cost;

fn change(
    session: &mut Session,
    secrets: &SecretBox,
    workspace: WorkspaceId,
    plan: &dyn ChangePlan,
    now: Timestamp,
) -> rusqlite::Result<Result<Vec<Change>, ManagementError>> {
    let mut rows = selected(session.connection(), workspace, plan.reads())?;
    secrets.open_snapshot(&mut rows).map_err(unsealable)?;
    let planned = match plan.plan(&rows) {
        Ok(planned) => planned,
        Err(error) => return Ok(Err(error)),
    };
    let written = write::write_all(session, &planned, secrets, now)?;
    Ok(match written {
        Ok(()) => Ok(planned.changes),
        Err(refusal) => Err(CatalogError::from(refusal).into()),
    })
}
