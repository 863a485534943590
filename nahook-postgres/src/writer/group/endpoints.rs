//! The rows by which records name endpoints. An endpoint keeps its row for good, so that what was found once holds.

use std::collections::HashMap;

use nahook_core::id::{EndpointId, WorkspaceId};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::row::{parsed_at, value_at};

/// Finds the rows of endpoints.
pub(super) const FIND_ENDPOINTS: &str = "
SELECT p.id, p.row, w.id FROM endpoint p JOIN workspace w ON w.row = p.workspace WHERE p.id = ANY ($1::text[])";

/// Number of endpoints from which on those that are known are forgotten.
const LEN_MAX: usize = 1_000_000;

/// Rows of endpoints that were asked for before.
#[derive(Debug, Default)]
pub(super) struct EndpointRows {
    rows: HashMap<EndpointId, (i64, WorkspaceId)>,
}

impl EndpointRows {
    /// Forgets all rows where too many are known.
    pub(super) fn make_room(&mut self) {
        if self.rows.len() > LEN_MAX {
            self.rows = HashMap::new();
        }
    }

    /// Keeps what [`FIND_ENDPOINTS`] has found.
    pub(super) fn keep(&mut self, found: &[Row]) -> Result<(), PgError> {
        for row in found {
            self.insert(parsed_at(row, 0)?, value_at(row, 1)?, parsed_at(row, 2)?);
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, id: EndpointId, row: i64, workspace: WorkspaceId) {
        self.rows.insert(id, (row, workspace));
    }

    /// The row of an endpoint, if the workspace has it.
    pub(super) fn row(&self, id: &EndpointId, workspace: WorkspaceId) -> Option<i64> {
        let (row, of) = self.rows.get(id)?;
        (*of == workspace).then_some(*row)
    }
}
