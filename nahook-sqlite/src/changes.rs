//! Whose changes of the catalog were seen.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use nahook_core::id::WorkspaceId;
use rusqlite::Connection;
use tokio::time::Instant;

use crate::row::parsed_at;

/// State of the catalog at a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CatalogState {
    pub(crate) version: i64,
    /// How many of its versions do not say whose change they are.
    pub(crate) unnamed: i64,
}

impl CatalogState {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("SELECT version, version - named FROM nahook_catalog_state")?
            .query_row([], |row| {
                Ok(Self {
                    version: row.get(0)?,
                    unnamed: row.get(1)?,
                })
            })
    }
}

/// The version of the catalog that changed each workspace last, as far as this process has seen.
#[derive(Debug, Default)]
pub(crate) struct CatalogChanges {
    seen: RwLock<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    state: Option<CatalogState>,
    /// Moment of the last look, and number of changes that this process had made before.
    last_look: Option<(Instant, u64)>,
    /// Any workspace may have changed in this version.
    all: i64,
    workspaces: HashMap<WorkspaceId, i64>,
}

/// What the file says of changes.
#[derive(Debug)]
pub(crate) struct Found {
    state: CatalogState,
    /// Workspaces that have changed, each with the version of its last change; absent where any may have.
    changed: Option<Vec<(WorkspaceId, i64)>>,
}

impl Found {
    /// Reads what has changed since `known`. The connection is in a transaction.
    pub(crate) fn since(
        connection: &Connection,
        known: Option<CatalogState>,
    ) -> rusqlite::Result<Self> {
        let state = CatalogState::read(connection)?;
        let changed = match known {
            Some(known) if known == state => Some(Vec::new()),
            Some(known) if known.unnamed == state.unnamed => Some(
                connection
                    .prepare_cached(
                        "SELECT id, changed_in FROM nahook_workspace WHERE changed_in > ?1",
                    )?
                    .query_map([known.version], |row| Ok((parsed_at(row, 0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?,
            ),
            _ => None,
        };
        Ok(Self { state, changed })
    }
}

impl CatalogChanges {
    /// Returns the version of the catalog that changed the workspace last, or a later one.
    pub(crate) fn changed_in(&self, workspace: &WorkspaceId) -> i64 {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let of_workspace = seen.workspaces.get(workspace).copied();
        seen.all.max(of_workspace.unwrap_or_default())
    }

    /// Returns true if the last look was less than `within` before `now`, after this process's last change.
    pub(crate) fn is_seen(&self, changes: u64, now: Instant, within: Duration) -> bool {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.last_look.is_some_and(|(at, before)| {
            before == changes && now.saturating_duration_since(at) < within
        })
    }

    /// Returns the state of the catalog at the last look.
    pub(crate) fn known(&self) -> Option<CatalogState> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.state
    }

    /// Adds what a look has found that began at `at`. Looks may end in another order than they began.
    pub(crate) fn add(&self, found: Found, changes: u64, at: Instant) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.state = Some(found.state);
        seen.last_look = Some((at, changes));
        match found.changed {
            None => seen.all = seen.all.max(found.state.version),
            Some(workspaces) => {
                for (workspace, version) in workspaces {
                    let last = seen.workspaces.entry(workspace).or_default();
                    *last = version.max(*last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nahook_testkit::declare::workspace_id;

    use super::*;
    use crate::schema;

    fn seen(file: &Connection, catalog: &CatalogChanges) -> [i64; 2] {
        let found = Found::since(file, catalog.known()).unwrap();
        catalog.add(found, 0, Instant::now());
        ["ws_a", "ws_b"].map(|id| catalog.changed_in(&workspace_id(id)))
    }

    #[test]
    fn change_is_that_of_its_workspace_and_an_unnamed_one_everybodys() {
        let file = schema::empty();
        let workspaces = "INSERT INTO nahook_workspace (id, name, payload_len_max, created_at)
            VALUES ('ws_a', 'a', 1, 1), ('ws_b', 'b', 1, 1)";
        file.execute_batch(workspaces).unwrap();
        let catalog = CatalogChanges::default();
        assert_eq!(seen(&file, &catalog), [1, 1]);
        let named = "UPDATE nahook_workspace SET changed_in = 2 WHERE id = 'ws_a';
            UPDATE nahook_catalog_state SET version = 2, named = 1";
        file.execute_batch(named).unwrap();
        assert_eq!(seen(&file, &catalog), [2, 1]);
        let unnamed = "UPDATE nahook_catalog_state SET version = 3";
        file.execute_batch(unnamed).unwrap();
        assert_eq!(seen(&file, &catalog), [3, 3]);
    }
}
