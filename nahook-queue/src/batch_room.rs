//! Keeps a batch in the making within the bounds of its request.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::HashMap;
use nahook_core::id::{EndpointId, WorkspaceId};

use crate::queue::{LeaseRequest, WorkspaceBounds};

/// Room that a batch in the making has left, for queues that know workspaces and endpoints by `W` and `E`.
#[derive(Clone, Debug)]
pub struct BatchRoom<W = WorkspaceId, E = EndpointId> {
    per_endpoint_max: usize,
    exceptions: Arc<HashMap<E, usize>>,
    per_workspace_max: usize,
    workspaces: HashMap<W, Left>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    all: usize,
    unlisted: usize,
}

impl BatchRoom {
    /// The room of an empty batch.
    pub fn of(request: &LeaseRequest) -> Self {
        let bounds = request.workspaces.iter();
        Self::new(
            request,
            request.exceptions.iter().copied(),
            bounds.map(|bounds| (bounds.workspace, *bounds)),
        )
    }
}

impl<W: Copy + Eq + Hash, E: Eq + Hash> BatchRoom<W, E> {
    /// The room of an empty batch, with the request's exceptions as the queue knows them.
    pub fn new(
        request: &LeaseRequest,
        exceptions: impl IntoIterator<Item = (E, usize)>,
        workspaces: impl IntoIterator<Item = (W, WorkspaceBounds)>,
    ) -> Self {
        let left = |bounds: WorkspaceBounds| Left {
            all: bounds.max,
            unlisted: bounds.unlisted_max,
        };
        let workspaces = workspaces.into_iter();
        Self {
            per_endpoint_max: request.per_endpoint_max,
            exceptions: Arc::new(exceptions.into_iter().collect()),
            per_workspace_max: request.per_workspace_max,
            workspaces: workspaces.map(|(id, of)| (id, left(of))).collect(),
        }
    }

    /// Returns the number of leases that the worker may hold for an endpoint.
    pub fn bound(&self, endpoint: &E) -> usize {
        let listed = self.exceptions.get(endpoint);
        listed.copied().unwrap_or(self.per_endpoint_max)
    }

    /// Returns true if the request names the endpoint.
    pub fn is_listed(&self, endpoint: &E) -> bool {
        self.exceptions.contains_key(endpoint)
    }

    /// Returns the number of further deliveries that the workspace's bounds allow: for endpoints that are listed, or not.
    pub fn left(&self, workspace: W, is_listed: bool) -> usize {
        let left = self.left_of(workspace);
        if is_listed {
            left.all
        } else {
            left.all.min(left.unlisted)
        }
    }

    /// Counts deliveries that enter the batch.
    pub fn take(&mut self, workspace: W, is_listed: bool, count: usize) {
        let mut left = self.left_of(workspace);
        left.all = left.all.saturating_sub(count);
        if !is_listed {
            left.unlisted = left.unlisted.saturating_sub(count);
        }
        self.workspaces.insert(workspace, left);
    }

    /// The workspaces with bounds of their own, or with deliveries in the batch: the room of each that is left.
    pub fn workspaces(&self) -> impl Iterator<Item = (W, usize, usize)> {
        let workspaces = self.workspaces.iter();
        workspaces.map(|(id, left)| (*id, left.all, left.unlisted))
    }

    fn left_of(&self, workspace: W) -> Left {
        let left = self.workspaces.get(&workspace);
        left.copied().unwrap_or(Left {
            all: self.per_workspace_max,
            unlisted: self.per_workspace_max,
        })
    }
}
