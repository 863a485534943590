//! Audit entries: written in the transaction that makes the change.

use nahook_control::AuditEntry;

use super::{Write, write_of};
use crate::row::nanos;

const TELL: &str = "
INSERT INTO audit_entry (workspace, created_at, id, actor_kind, actor_id, actor_label, action, resource_type,
    resource_id, metadata)
SELECT w.row, u.created_at, u.id, u.actor_kind, u.actor_id, u.actor_label, u.action, u.resource_type,
    u.resource_id, u.metadata
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[]) WITH ORDINALITY AS u (workspace, created_at, id, actor_kind, actor_id, actor_label, action,
    resource_type, resource_id, metadata, place)
JOIN workspace w ON w.id = u.workspace ORDER BY u.place";

/// Builds the statement that writes the entries; `None` if there are none.
pub(crate) fn tell(entries: &[AuditEntry]) -> Option<Write> {
    if entries.is_empty() {
        return None;
    }
    let texts = |of: fn(&AuditEntry) -> String| entries.iter().map(of).collect::<Vec<_>>();
    let instants: Vec<_> = entries
        .iter()
        .map(|entry| nanos(entry.created_at))
        .collect();
    Some(write_of!(
        TELL,
        texts(|entry| entry.workspace.to_string()),
        instants,
        texts(|entry| entry.id.to_string()),
        texts(|entry| entry.actor.kind.as_str().to_owned()),
        texts(|entry| entry.actor.id.clone()),
        texts(|entry| entry.actor.label.clone()),
        texts(|entry| entry.action.clone()),
        texts(|entry| entry.resource_type.clone()),
        texts(|entry| entry.resource_id.clone()),
        texts(|entry| serde_json::to_string(&entry.metadata).unwrap_or_else(|_| "{}".to_owned())),
    ))
}
