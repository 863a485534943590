//! `nahook import`: the history of another server, brought along.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nahook_control::Actor;
use nahook_core::id::{EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{Clock as _, EventTypeRef, StoreError, SystemClock};
use nahook_queue::{
    AttemptRecord, DeliveryLog as _, DeliveryRecord, DeliveryRecorder as _, LogEntry,
};

use self::line::Line;
use crate::settings::SettingsArgs;
use crate::workspaces::only;
use crate::{ServerError, output, text_file};
use nahook_embed::Backend;

/// Deliveries that are compared in one step, and entries that are recorded by one call.
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

/// Reads all of the file, and records it if all of it can be used. Doing it again changes nothing, and says so.
pub async fn run(args: ImportArgs) -> Result<ExitCode, ServerError> {
    let lines = read(&args.file)?;
    let settings = args.settings.resolve()?;
    let backend = Backend::open_existing(&settings.store, settings.secret_keys).await?;
    let done = import(&backend, args.workspace.as_deref(), &args.file, lines).await;
    backend.close().await?;
    output::print(&format!("{}\n", done?))?;
    Ok(ExitCode::SUCCESS)
}

/// Records of the workspace that lines may refer to.
struct Known {
    workspace: WorkspaceId,
    endpoints: HashSet<EndpointId>,
    event_types: HashMap<EventTypeId, EventTypeRef>,
}

/// Numbers of deliveries that an import changed and left as they were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Imported {
    changed: usize,
    unchanged: usize,
}

impl fmt::Display for Imported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.changed, self.unchanged) {
            (0, 0) => formatter.write_str("nothing changed: the file has no deliveries"),
            (0, 1) => formatter.write_str("nothing changed: the delivery is recorded already"),
            (0, all) => write!(
                formatter,
                "nothing changed: all {all} deliveries are recorded already"
            ),
            (changed, unchanged) => {
                let plural = if changed == 1 {
                    "delivery"
                } else {
                    "deliveries"
                };
                write!(formatter, "{changed} {plural} imported")?;
                match unchanged {
                    0 => Ok(()),
                    _ => write!(formatter, ", {unchanged} recorded already"),
                }
            }
        }
    }
}

async fn import(
    backend: &Backend,
    workspace: Option<&str>,
    file: &Path,
    lines: Vec<(usize, Line)>,
) -> Result<Imported, ServerError> {
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
    let now = SystemClock.now();
    let mut deliveries: Vec<Vec<LogEntry>> = Vec::new();
    for (number, line) in lines {
        let entries = line.entries(&known, now);
        deliveries.push(entries.map_err(|reason| wrong(file, number, &reason))?);
    }
    let mut changed = 0;
    for step in deliveries.chunks(STEP) {
        let before = shown(backend, step).await?;
        for entries in step.concat().chunks(STEP) {
            backend.recorder.record(entries).await?;
        }
        let after = shown(backend, step).await?;
        let pairs = before.iter().zip(&after);
        changed += pairs.filter(|(before, after)| before != after).count();
    }
    if changed > 0 {
        let details = vec![("count", changed.to_string())];
        let resource = ("workspace", workspace.to_string());
        let (actor, done) = (Actor::operator(), "history_imported");
        management
            .record(&workspace, &actor, resource, done, details)
            .await?;
    }
    Ok(Imported {
        changed,
        unchanged: deliveries.len() - changed,
    })
}

/// A delivery and its attempts, if the log has it.
type Shown = Option<(DeliveryRecord, Option<Vec<AttemptRecord>>)>;

/// Returns what the log shows of each delivery that has these entries.
async fn shown(backend: &Backend, deliveries: &[Vec<LogEntry>]) -> Result<Vec<Shown>, StoreError> {
    let mut all = Vec::with_capacity(deliveries.len());
    for entry in deliveries.iter().filter_map(|entries| entries.first()) {
        let (delivery, workspace) = (entry.delivery, &entry.event.workspace);
        all.push(match backend.log.delivery(delivery, workspace).await? {
            None => None,
            Some(record) => Some((record, backend.log.attempts(delivery, workspace).await?)),
        });
    }
    Ok(all)
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
