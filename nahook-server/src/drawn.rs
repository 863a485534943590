//! Keys and tokens that are drawn: they are shown first and made afterwards, so that none exists that nobody has seen.

use std::future::ready;

use nahook_control::{
    ApplyMode, Catalog as _, Change, Manifest, Record, SecretText, WorkspaceSpec,
};
use nahook_core::id::WorkspaceId;

use crate::{ServerError, output};
use nahook_embed::Backend;

/// Makes what `manifest` declares exist. Calls `show` before with the keys and tokens that are drawn for it, if there are
/// any; if that fails, nothing is made.
pub(crate) async fn apply<F>(
    backend: &Backend,
    mut manifest: Manifest,
    show: impl FnOnce(Vec<Change>) -> F,
) -> Result<Vec<Change>, ServerError>
where
    F: Future<Output = Result<(), ServerError>>,
{
    let planned = backend.catalog.apply(&manifest, ApplyMode::DryRun).await?;
    let drawn: Vec<_> = planned
        .iter()
        .filter(|change| is_drawn(change))
        .cloned()
        .collect();
    if !drawn.is_empty() {
        declare(backend, &mut manifest, &planned, &drawn).await?;
        show(drawn).await?;
    }
    Ok(backend.catalog.apply(&manifest, ApplyMode::Commit).await?)
}

/// Makes the one key or token of `workspace`, after it was printed with its id.
pub(crate) async fn make(backend: &Backend, workspace: WorkspaceSpec) -> Result<(), ServerError> {
    let manifest = Manifest::from(workspace);
    let line = |change: &Change| {
        let secret = change.drawn_secret.as_ref().map_or("", SecretText::expose);
        match &change.record {
            Record::ApiKey(row) => format!("{}  {secret}\n", row.id),
            Record::ManagementToken(row) => format!("{}  {secret}\n", row.id),
            _ => String::new(),
        }
    };
    let show = |drawn: Vec<Change>| {
        let lines: String = drawn.iter().map(line).collect();
        ready(output::show_secrets(&lines))
    };
    apply(backend, manifest, show).await?;
    Ok(())
}

/// Returns true for a key or token that nobody can see again. A signing secret can be.
fn is_drawn(change: &Change) -> bool {
    let is_key = matches!(
        change.record,
        Record::ApiKey(_) | Record::ManagementToken(_)
    );
    is_key && change.drawn_secret.is_some()
}

/// Puts the keys and tokens that were drawn into the manifest, with their ids.
async fn declare(
    backend: &Backend,
    manifest: &mut Manifest,
    planned: &[Change],
    drawn: &[Change],
) -> Result<(), ServerError> {
    let mut workspaces = backend.catalog.workspaces().await?;
    workspaces.extend(planned.iter().filter_map(|change| match &change.record {
        Record::Workspace(row) => Some(row.clone()),
        _ => None,
    }));
    for spec in &mut manifest.workspaces {
        let named = workspaces.iter().find(|row| row.name == spec.name);
        if let Some(id) = spec.id.or(named.map(|row| row.id)) {
            declare_in(id, spec, drawn);
        }
    }
    Ok(())
}

fn declare_in(workspace: WorkspaceId, spec: &mut WorkspaceSpec, drawn: &[Change]) {
    for change in drawn {
        let secret = change.drawn_secret.as_ref().map(SecretText::expose);
        let secret = secret.map(str::to_owned);
        match &change.record {
            Record::ApiKey(row) if row.workspace == workspace => {
                let mut specs = spec.api_keys.iter_mut();
                if let Some(spec) = specs.find(|spec| spec.name == row.name) {
                    (spec.id, spec.key) = (Some(row.id), secret);
                }
            }
            Record::ManagementToken(row) if row.workspace == workspace => {
                let mut specs = spec.management_tokens.iter_mut();
                if let Some(spec) = specs.find(|spec| spec.name == row.name) {
                    (spec.id, spec.token) = (Some(row.id), secret);
                }
            }
            _ => {}
        }
    }
}
