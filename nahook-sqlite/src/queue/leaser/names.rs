//! Ids and rows of endpoints and workspaces: they never change, and are read once.

use foldhash::HashMap;
use nahook_core::id::{EndpointId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension as _};

use crate::row::parsed_at;

#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<i64, EndpointId>,
    rows: HashMap<EndpointId, i64>,
    workspaces: HashMap<WorkspaceId, i64>,
}

impl Names {
    pub(super) fn id_of(
        &mut self,
        connection: &Connection,
        row: i64,
    ) -> rusqlite::Result<EndpointId> {
        if let Some(id) = self.ids.get(&row) {
            return Ok(*id);
        }
        let id: EndpointId = connection
            .prepare_cached("SELECT id FROM nahook_endpoint WHERE row = ?1")?
            .query_row([row], |found| parsed_at(found, 0))?;
        self.ids.insert(row, id);
        Ok(id)
    }

    pub(super) fn workspace_row_of(
        &mut self,
        connection: &Connection,
        id: WorkspaceId,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.workspaces.get(&id) {
            return Ok(Some(*row));
        }
        let row: Option<i64> = connection
            .prepare_cached("SELECT row FROM nahook_workspace WHERE id = ?1")?
            .query_row([id.as_str()], |found| found.get(0))
            .optional()?;
        if let Some(row) = row {
            self.workspaces.insert(id, row);
        }
        Ok(row)
    }

    pub(super) fn row_of(
        &mut self,
        connection: &Connection,
        id: EndpointId,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.rows.get(&id) {
            return Ok(Some(*row));
        }
        let row: Option<i64> = connection
            .prepare_cached("SELECT row FROM nahook_endpoint WHERE id = ?1")?
            .query_row([id.as_str()], |found| found.get(0))
            .optional()?;
        if let Some(row) = row {
            self.rows.insert(id, row);
        }
        Ok(row)
    }
}

/// Returns the row of an endpoint's workspace. An endpoint without a row, whose deliveries cannot be read, counts as of none.
pub(super) fn workspace_of(
    connection: &Connection,
    endpoint: i64,
) -> rusqlite::Result<Option<i64>> {
    let found = connection
        .prepare_cached("SELECT workspace FROM nahook_endpoint WHERE row = ?1")?
        .query_row([endpoint], |found| found.get(0))
        .optional()?;
    Ok(Some(found.unwrap_or(0)))
}
