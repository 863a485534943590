//! `nahook import`: the history of another server, brought along.

mod line;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nahook_control::Actor;
use nahook_core::{EndpointId, EventTypeId, EventTypeRef, WorkspaceId};
use nahook_queue::{DeliveryRecorder as _, LogEntry};

use self::line::Line;
use crate::backend::Backend;
use crate::settings::SettingsArgs;
use crate::workspaces::only;
use crate::{ServerError, output, text_file};

/// Entries that are recorded in one step.
const STEP: usize = 500;

/// Arguments of `nahook import`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct ImportArgs {
    /// The deliveries, one JSON object a line, with the fields that the Management API shows and `payload` and `attempts`.
    pub file: PathBuf,
    /// The workspace's id or name; not needed if there is only one.
    #[arg(long)]
    pub workspace: Option<String>,
    /// Location of the store.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Reads all of the file, and records it if all of it can be used. Doing it again changes nothing.
pub async fn run(args: ImportArgs) -> Result<ExitCode, ServerError> {
    let lines = read(&args.file)?;
    let backend = Backend::open_existing(&args.settings.resolve()?.store).await?;
    let done = import(&backend, args.workspace.as_deref(), &args.file, lines).await;
    backend.close().await?;
    output::print(&format!("{} deliveries imported\n", done?))?;
    Ok(ExitCode::SUCCESS)
}

/// Records of the workspace that lines may refer to.
struct Known {
    workspace: WorkspaceId,
    endpoints: HashSet<EndpointId>,
    event_types: HashMap<EventTypeId, EventTypeRef>,
}

async fn import(
    backend: &Backend,
    workspace: Option<&str>,
    file: &Path,
    lines: Vec<(usize, Line)>,
) -> Result<usize, ServerError> {
    let workspace = only(backend, workspace).await?.id;
    let management = backend.management();
    let endpoints = management.endpoints(&workspace).await?;
    let event_types = management.event_types(&workspace).await?;
    let known = Known {
        workspace,
        endpoints: endpoints.into_iter().map(|row| row.id).collect(),
        event_types: event_types
            .into_iter()
            .map(|view| {
                let (id, name) = (view.event_type.id, view.event_type.name);
                (id, EventTypeRef { id, name })
            })
            .collect(),
    };
    let count = lines.len();
    let mut entries: Vec<LogEntry> = Vec::new();
    for (number, line) in lines {
        let told = line
            .entries(&known)
            .map_err(|reason| wrong(file, number, &reason))?;
        entries.extend(told);
    }
    for step in entries.chunks(STEP) {
        backend.recorder.record(step).await?;
    }
    let details = vec![("count", count.to_string())];
    let resource = ("workspace", workspace.to_string());
    let (actor, done) = (Actor::operator(), "history_imported");
    management
        .record(&workspace, &actor, resource, done, details)
        .await?;
    Ok(count)
}

/// Returns every line that is not blank, with its number.
fn read(path: &Path) -> Result<Vec<(usize, Line)>, ServerError> {
    let text = text_file::read(path)?;
    let numbered = (1..).zip(text.lines());
    let lines = numbered.filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(number, line)| match serde_json::from_str(line) {
        Ok(line) => Ok((number, line)),
        Err(error) => Err(wrong(path, number, &error.to_string())),
    });
    read.collect()
}

fn wrong(path: &Path, number: usize, reason: &str) -> ServerError {
    ServerError::File {
        path: path.to_owned(),
        reason: format!("line {number}: {reason}"),
    }
}
