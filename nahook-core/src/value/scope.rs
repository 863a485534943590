//! The part of a workspace that a call reaches.

use crate::id::{EnvironmentId, WorkspaceId};

/// The part of a workspace that a call reaches: one environment, or all of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Scope {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The only environment that is reached; all of the workspace's when absent.
    pub environment: Option<EnvironmentId>,
}

impl From<WorkspaceId> for Scope {
    /// The whole workspace.
    fn from(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            environment: None,
        }
    }
}
