//! The audit log: written with what it tells of, and read page by page.

use nahook_control::{Actor, ActorKind, AuditEntry, AuditPage, AuditQuery};
use nahook_core::id::WorkspaceId;
use rusqlite::{Connection, Row, params};

use crate::row::{count_at, instant_at, json_at, nanos, parsed_at, unreadable};

pub(crate) const INSERT: &str =
    "INSERT INTO nahook_audit_entry (id, workspace, actor_kind, actor_id, actor_label, action,
         resource_type, resource_id, metadata, created_at)
     VALUES (?1, (SELECT row FROM nahook_workspace WHERE id = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Adds the entries. One of a workspace that does not exist fails.
pub(crate) fn insert(connection: &Connection, entries: &[AuditEntry]) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(INSERT)?;
    for entry in entries {
        let metadata = serde_json::to_string(&entry.metadata)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        insert.execute(params![
            entry.id.as_str(),
            entry.workspace.as_str(),
            entry.actor.kind.as_str(),
            entry.actor.id,
            entry.actor.label,
            entry.action,
            entry.resource_type,
            entry.resource_id,
            metadata,
            nanos(entry.created_at),
        ])?;
    }
    Ok(())
}

/// The condition of a query, with its parameters' names: those that are null let everything through.
const MATCHING: &str = "workspace = (SELECT row FROM nahook_workspace WHERE id = ?1)
    AND (?2 IS NULL OR created_at >= ?2) AND (?3 IS NULL OR created_at < ?3)
    AND (?4 IS NULL OR action = ?4) AND (?5 IS NULL OR resource_type = ?5)
    AND (?6 IS NULL OR actor_kind = ?6)";

pub(crate) fn page(
    connection: &Connection,
    workspace: WorkspaceId,
    query: &AuditQuery,
) -> rusqlite::Result<AuditPage> {
    let (from, to) = (query.from.map(nanos), query.to.map(nanos));
    let kind = query.actor_kind.map(ActorKind::as_str);
    let bounded = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let total = connection.prepare_cached(&count_statement())?.query_row(
        params![
            workspace.as_str(),
            from,
            to,
            query.action,
            query.resource_type,
            kind
        ],
        |row| count_at(row, 0),
    )?;
    let entries = connection
        .prepare_cached(&page_statement())?
        .query_map(
            params![
                workspace.as_str(),
                from,
                to,
                query.action,
                query.resource_type,
                kind,
                bounded(query.limit),
                bounded(query.offset),
            ],
            |row| entry_at(row, workspace),
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(AuditPage { entries, total })
}

fn count_statement() -> String {
    format!("SELECT count(*) FROM nahook_audit_entry WHERE {MATCHING}")
}

/// Finds the rows in the index alone and reads those of the page only.
fn page_statement() -> String {
    format!(
        "SELECT id, actor_kind, actor_id, actor_label, action, resource_type, resource_id, metadata,
             created_at
         FROM nahook_audit_entry WHERE row IN
             (SELECT row FROM nahook_audit_entry WHERE {MATCHING} ORDER BY row DESC LIMIT ?7 OFFSET ?8)
         ORDER BY row DESC"
    )
}

fn entry_at(row: &Row<'_>, workspace: WorkspaceId) -> rusqlite::Result<AuditEntry> {
    let kind = row.get_ref(1)?.as_str()?;
    let kind = ActorKind::ALL.into_iter().find(|it| it.as_str() == kind);
    Ok(AuditEntry {
        id: parsed_at(row, 0)?,
        workspace,
        actor: Actor {
            kind: kind.ok_or_else(|| unreadable(1, "not a kind of actor"))?,
            id: row.get(2)?,
            label: row.get(3)?,
        },
        action: row.get(4)?,
        resource_type: row.get(5)?,
        resource_id: row.get(6)?,
        metadata: json_at(row, 7)?,
        created_at: instant_at(row, 8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{empty, plan_of};

    #[test]
    fn a_page_and_its_count_are_found_in_the_index_alone() {
        let connection = empty();
        for statement in [count_statement(), page_statement()] {
            let plan = plan_of(&connection, &statement);
            let index = "COVERING INDEX nahook_audit_entry_by_workspace (workspace=?)";
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
            let is_costly = |step: &String| step.starts_with("SCAN") || step.contains("TEMP");
            assert!(!plan.iter().any(is_costly), "{plan:?}");
        }
    }
}
