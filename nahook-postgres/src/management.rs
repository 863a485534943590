//! Reading and changing what is in a workspace: as of one instant, and one decision at a time.

use std::sync::Arc;

use nahook_control::{
    AuditPage, AuditQuery, Change, ChangePlan, EndpointPage, EndpointQuery, ManagementError,
    ManagementStore, Select, Snapshot,
};
use nahook_core::StoreError;
use nahook_core::id::WorkspaceId;
use tokio_postgres::Row;

use crate::catalog::select::Query;
use crate::catalog::{CHANGE, write};
use crate::error::PgError;
use crate::lender::{Asked, Frame, Lent};
use crate::secrets::unsealable;
use crate::statement::Opening;
use crate::store::PostgresStore;

/// All of them see one instant.
const READ: Opening = Opening {
    begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    further: "",
};

#[async_trait::async_trait]
impl ManagementStore for PostgresStore {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        let queries: Vec<_> = selection
            .iter()
            .map(|select| Query::of(workspace, select))
            .collect();
        let mut lent = self.shared().lender.lend().await?;
        // One alone sees one instant anyhow.
        let frame = if queries.len() > 1 {
            Frame {
                opening: Some(READ),
                is_closed: true,
            }
        } else {
            Frame::default()
        };
        let answers = ask(&mut lent, &queries, frame).await?;
        let mut rows = snapshot(&queries, &answers)?;
        let opened = self.secrets().open_snapshot(&mut rows);
        opened.map_err(unsealable)?;
        Ok(rows)
    }

    /// In three round trips: the lock with what is read, what is written with its audit entries, the commit.
    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let lending = self.shared().lender.lend().await;
        let mut lent = lending.map_err(StoreError::from)?;
        let changed = self.change_within(&mut lent, workspace, plan).await;
        let is_kept = changed.is_ok();
        let ended = lent.conclude(is_kept).await;
        // Even if the commit is unclear: what is forgotten without need is looked up again.
        if !changed.as_ref().is_ok_and(Vec::is_empty) {
            self.shared().signals.cache.forget(workspace);
        }
        let done = changed?;
        ended.map_err(StoreError::from)?;
        Ok(done)
    }

    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        self.audit_page(workspace, query).await
    }

    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        self.endpoint_page(workspace, query).await
    }
}

impl PostgresStore {
    async fn change_within(
        &self,
        lent: &mut Lent,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let shared = self.shared();
        let mut queries = vec![Query::lock(workspace)];
        queries.extend(
            plan.reads()
                .iter()
                .map(|select| Query::of(workspace, select)),
        );
        // The lock first: each statement sees what was committed before it begins.
        let frame = Frame {
            opening: Some(CHANGE),
            is_closed: false,
        };
        let answers = ask(lent, &queries, frame).await.map_err(StoreError::from)?;
        let mut rows = snapshot(&queries, &answers).map_err(StoreError::from)?;
        let failed = |error| StoreError::from(unsealable(error));
        shared.secrets.open_snapshot(&mut rows).map_err(failed)?;
        let planned = plan.plan(&rows)?;
        if planned.changes.is_empty() && planned.audit.is_empty() {
            return Ok(planned.changes);
        }
        if answers.first().is_none_or(Vec::is_empty) {
            return Err(ManagementError::NotFound("workspace"));
        }
        let channel = shared.settings.schema.as_str();
        // What only the audit log tells of is in no cache.
        let is_changed = !planned.changes.is_empty();
        let notifications = is_changed.then(|| write::tell_of_changes(channel, [workspace]));
        let mut further: Vec<_> = notifications.into_iter().collect();
        further.extend(write::tell_audit(&planned.audit));
        let now = shared.clock().now();
        let sealed = shared.secrets.seal_changes(&planned.changes);
        write::write(lent, &sealed.map_err(failed)?, further, now).await?;
        Ok(planned.changes)
    }
}

/// Sends the statements without waiting for one another's answers: one round trip, once they are prepared.
async fn ask(lent: &mut Lent, queries: &[Query], frame: Frame) -> Result<Vec<Vec<Row>>, PgError> {
    let asked: Vec<Asked<'_>> = queries
        .iter()
        .map(|query| (query.statement, write::borrowed(&query.parameters)))
        .collect();
    let answers = lent.ask(&asked, frame).await?;
    let rows = answers.into_iter().map(|answer| Ok(answer?.rows));
    rows.collect()
}

fn snapshot(queries: &[Query], answers: &[Vec<Row>]) -> Result<Snapshot, PgError> {
    let mut snapshot = Snapshot::default();
    for (query, rows) in queries.iter().zip(answers) {
        query.take(rows, &mut snapshot)?;
    }
    Ok(snapshot)
}
