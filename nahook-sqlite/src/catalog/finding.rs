//! Lists of endpoints, page by page.

use nahook_control::{EndpointHealth, EndpointPage, EndpointQuery};
use nahook_core::id::{ApplicationId, WorkspaceId};
use rusqlite::{Connection, params};

use super::rows::{ENDPOINT, endpoint_at};
use super::select::workspace_row;
use crate::row::count_at;

/// The matching rows: `?1` is the workspace's number, `?2` the application's id and `?3` the text.
fn matching(query: &EndpointQuery) -> String {
    // A plus sign keeps SQLite from the index of a column where another's finds fewer rows.
    let owner = if query.application.is_some() {
        "+workspace = ?1 AND application = (SELECT row FROM nahook_application WHERE id = ?2)"
    } else {
        "workspace = ?1 AND ?2 IS NULL"
    };
    let text = if query.text.is_some() {
        "(id = ?3 OR instr(description, ?3) > 0 OR (kind = 0 AND instr(url, ?3) > 0))"
    } else {
        "?3 IS NULL"
    };
    let health = match query.health {
        None => "",
        Some(EndpointHealth::Failing) => "AND is_active AND failing_since IS NOT NULL",
        Some(EndpointHealth::Disabled) => "AND NOT is_active",
    };
    format!("FROM nahook_endpoint WHERE {owner} AND deleted_at IS NULL AND {text} {health}")
}

fn count_statement(query: &EndpointQuery) -> String {
    format!("SELECT count(*) {}", matching(query))
}

/// Reads whole the rows of the page alone.
fn page_statement(query: &EndpointQuery) -> String {
    let matching = matching(query);
    format!(
        "{ENDPOINT} WHERE endpoint.row IN (SELECT row {matching} ORDER BY row DESC LIMIT ?4 OFFSET ?5)
         ORDER BY endpoint.row DESC"
    )
}

pub(super) fn page(
    connection: &Connection,
    workspace: WorkspaceId,
    query: &EndpointQuery,
) -> rusqlite::Result<EndpointPage> {
    let Some(owner) = workspace_row(connection, workspace)? else {
        return Ok(EndpointPage::default());
    };
    let application = query.application.as_ref().map(ApplicationId::as_str);
    let bounded = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let total = connection
        .prepare_cached(&count_statement(query))?
        .query_row(params![owner, application, query.text], |row| {
            count_at(row, 0)
        })?;
    let (limit, offset) = (bounded(query.limit), bounded(query.offset));
    let endpoints = connection
        .prepare_cached(&page_statement(query))?
        .query_map(
            params![owner, application, query.text, limit, offset],
            |row| endpoint_at(row, workspace),
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(EndpointPage { endpoints, total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{empty, plan_of};

    #[test]
    fn list_of_endpoints_is_read_by_an_index_in_its_order() {
        let connection = empty();
        let all = EndpointQuery::default();
        let one = EndpointQuery {
            application: Some(ApplicationId::from_bits(1)),
            text: Some("text".to_owned()),
            health: Some(EndpointHealth::Failing),
            ..EndpointQuery::default()
        };
        for (query, index) in [(all, "by_workspace"), (one, "by_application")] {
            for statement in [count_statement(&query), page_statement(&query)] {
                let plan = plan_of(&connection, &statement);
                let uses = format!("INDEX nahook_endpoint_{index}");
                assert!(plan.iter().any(|step| step.contains(&uses)), "{plan:?}");
                let is_costly = |step: &String| step.starts_with("SCAN") || step.contains("TEMP");
                assert!(!plan.iter().any(is_costly), "{plan:?}");
            }
        }
    }
}
