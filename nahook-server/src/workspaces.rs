//! Helps the commands that manage keys and tokens.

use nahook_control::{Catalog as _, WorkspaceRecord};

use crate::ServerError;
use nahook_embed::Backend;

/// The workspace with that id or name, or all of them.
pub(crate) async fn chosen(
    backend: &Backend,
    workspace: Option<&str>,
) -> Result<Vec<WorkspaceRecord>, ServerError> {
    let mut workspaces = backend.catalog.workspaces().await?;
    if let Some(wanted) = workspace {
        workspaces.retain(|row| row.id.as_str() == wanted || row.name == wanted);
    }
    if workspaces.is_empty() {
        return Err(ServerError::Usage("there is no such workspace".to_owned()));
    }
    Ok(workspaces)
}

/// The workspace with that id or name, or the only one there is.
pub(crate) async fn only(
    backend: &Backend,
    workspace: Option<&str>,
) -> Result<WorkspaceRecord, ServerError> {
    let mut workspaces = chosen(backend, workspace).await?;
    match (workspaces.pop(), workspaces.is_empty()) {
        (Some(workspace), true) => Ok(workspace),
        _ => Err(ServerError::Usage(
            "there are several workspaces: choose one with --workspace".to_owned(),
        )),
    }
}
