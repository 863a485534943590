//! Reading the audit log.

use nahook_control::{Actor, ActorKind, AuditEntry, AuditPage, AuditQuery};
use nahook_core::StoreError;
use nahook_core::id::WorkspaceId;
use tokio_postgres::Row;

use crate::catalog::read::json_at;
use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{instant_at, nanos, parsed_at, value_at};
use crate::store::PostgresStore;

/// A page of a workspace's entries that match, and how many match. One row comes in any case. Of entries of the same
/// instant the one written last is the newest. The instants are compared together with the workspace, so that no plan goes
/// by an index of everybody's entries.
const ENTRIES: &str = "
WITH matching AS NOT MATERIALIZED (
    SELECT a.* FROM audit_entry a
    WHERE a.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1)
        AND (a.workspace, a.created_at) >= ((SELECT w.row FROM workspace w WHERE w.id = $1), $2)
        AND (a.workspace, a.created_at) < ((SELECT w.row FROM workspace w WHERE w.id = $1), $3)
        AND ($4::text IS NULL OR a.action = $4) AND ($5::text IS NULL OR a.resource_type = $5)
        AND ($6::text IS NULL OR a.actor_kind = $6)
)
SELECT c.total, p.id, p.created_at, p.actor_kind, p.actor_id, p.actor_label, p.action, p.resource_type,
    p.resource_id, p.metadata
FROM (SELECT count(*) AS total FROM matching) c
LEFT JOIN (SELECT m.* FROM matching m ORDER BY m.created_at DESC, m.row DESC OFFSET $7 LIMIT $8) p ON true
ORDER BY p.created_at DESC, p.row DESC";

impl PostgresStore {
    pub(crate) async fn audit_page(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let parameters: [&dyn Parameter; 8] = [
            &workspace.as_str(),
            &query.from.map_or(0, nanos),
            &query.to.map_or(i64::MAX, nanos),
            &query.action,
            &query.resource_type,
            &query.actor_kind.map(ActorKind::as_str),
            &number(query.offset),
            &number(query.limit),
        ];
        let rows = self.shared().lender.query(ENTRIES, &parameters).await?;
        let mut page = AuditPage::default();
        for row in &rows {
            page.total = u64::try_from(value_at::<i64>(row, 0)?).unwrap_or(0);
            page.entries.extend(entry_at(*workspace, row)?);
        }
        Ok(page)
    }
}

/// `None` if there is none.
fn entry_at(workspace: WorkspaceId, row: &Row) -> Result<Option<AuditEntry>, PgError> {
    if value_at::<Option<&str>>(row, 1)?.is_none() {
        return Ok(None);
    }
    let kind: &str = value_at(row, 3)?;
    let kind = ActorKind::ALL.into_iter().find(|it| it.as_str() == kind);
    Ok(Some(AuditEntry {
        id: parsed_at(row, 1)?,
        workspace,
        actor: Actor {
            kind: kind.ok_or_else(|| PgError::unreadable("no such kind of actor"))?,
            id: value_at(row, 4)?,
            label: value_at(row, 5)?,
        },
        action: value_at(row, 6)?,
        resource_type: value_at(row, 7)?,
        resource_id: value_at(row, 8)?,
        metadata: json_at(row, 9)?,
        created_at: instant_at(row, 2)?,
    }))
}
