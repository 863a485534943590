//! Rows that the writer has looked up, each workspace's by themselves.

use foldhash::{HashMap, HashMapExt as _};
use nahook_core::id::{EndpointId, EventTypeId, WorkspaceId};

use crate::record::Endpoints;

/// Upper bound on remembered rows; beyond it all are forgotten.
const ROWS_MAX: usize = 200_000;

/// Rows by ids.
#[derive(Debug, Default)]
pub(super) struct Rows {
    workspaces: HashMap<WorkspaceId, i64>,
    /// By the workspace's row.
    of_workspace: HashMap<i64, OfWorkspace>,
    len: usize,
    audiences: HashMap<Endpoints, i64>,
    /// Number of their endpoints.
    audiences_len: usize,
}

#[derive(Debug, Default)]
struct OfWorkspace {
    event_types: HashMap<EventTypeId, i64>,
    endpoints: HashMap<EndpointId, i64>,
}

impl Rows {
    pub(super) fn workspace(&self, id: WorkspaceId) -> Option<i64> {
        self.workspaces.get(&id).copied()
    }

    pub(super) fn endpoint(&self, workspace: i64, id: EndpointId) -> Option<i64> {
        let of_workspace = self.of_workspace.get(&workspace)?;
        of_workspace.endpoints.get(&id).copied()
    }

    pub(super) fn event_type(&self, workspace: i64, id: EventTypeId) -> Option<i64> {
        let of_workspace = self.of_workspace.get(&workspace)?;
        of_workspace.event_types.get(&id).copied()
    }

    pub(super) fn add_workspace(&mut self, id: WorkspaceId, row: i64) {
        self.workspaces.insert(id, row);
    }

    pub(super) fn add_endpoint(&mut self, workspace: i64, id: EndpointId, row: i64) {
        let endpoints = &mut self.room_in(workspace).endpoints;
        let is_new = endpoints.insert(id, row).is_none();
        self.len += usize::from(is_new);
    }

    pub(super) fn add_event_type(&mut self, workspace: i64, id: EventTypeId, row: i64) {
        let event_types = &mut self.room_in(workspace).event_types;
        let is_new = event_types.insert(id, row).is_none();
        self.len += usize::from(is_new);
    }

    pub(super) fn audience(&self, endpoints: &Endpoints) -> Option<i64> {
        self.audiences.get(endpoints).copied()
    }

    pub(super) fn add_audience(&mut self, endpoints: Endpoints, row: i64) {
        if self.audiences_len >= ROWS_MAX {
            self.forget_audiences();
        }
        self.audiences_len += endpoints.len();
        self.audiences.insert(endpoints, row);
    }

    pub(super) fn forget_audiences(&mut self) {
        (self.audiences, self.audiences_len) = (HashMap::new(), 0);
    }

    /// Forgets what is of the workspace.
    pub(super) fn forget(&mut self, workspace: i64) {
        if let Some(gone) = self.of_workspace.remove(&workspace) {
            self.len -= gone.event_types.len() + gone.endpoints.len();
        }
    }

    fn room_in(&mut self, workspace: i64) -> &mut OfWorkspace {
        if self.len >= ROWS_MAX {
            self.of_workspace = HashMap::new();
            self.len = 0;
        }
        self.of_workspace.entry(workspace).or_default()
    }
}
