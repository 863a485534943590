//! `nahook apply`.

use std::fmt::Write as _;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nahook_control::{
    ApplyMode, Catalog as _, Change, EndpointKind, Manifest, Record, SecretText, Verb,
};

use crate::settings::SettingsArgs;
use crate::{ServerError, drawn, output, text_file};
use nahook_embed::Backend;

/// Arguments of `nahook apply`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct ApplyArgs {
    /// The manifest: TOML, or JSON if it is named *.json.
    pub file: PathBuf,
    /// Only say what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Location of the store.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Makes what the manifest declares exist, all of it or nothing, and prints what changed.
pub async fn run(args: ApplyArgs) -> Result<ExitCode, ServerError> {
    let manifest = read(&args.file)?;
    let settings = args.settings.resolve()?;
    let backend = Backend::open_tool(&settings.store, settings.secret_keys).await?;
    let applied = if args.dry_run {
        let planned = backend.catalog.apply(&manifest, ApplyMode::DryRun).await;
        planned.map_err(ServerError::from)
    } else {
        let show = |drawn: Vec<Change>| ready(output::show_secrets(&secrets(&drawn)));
        drawn::apply(&backend, manifest, show).await
    };
    let mode = if args.dry_run {
        ApplyMode::DryRun
    } else {
        ApplyMode::Commit
    };
    let shown = applied.and_then(|changes| output::print(&summary(&changes, mode)));
    // Printed first: whoever reads is to know what was done even if closing fails.
    backend.close().await?;
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a manifest.
///
/// # Errors
/// Names the file and the place in it that cannot be used.
pub fn read(path: &Path) -> Result<Manifest, ServerError> {
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    {
        serde_json::from_str(&text_file::read(path)?).map_err(|error| ServerError::File {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    } else {
        text_file::read_toml(path)
    }
}

/// A line for each key and token that was drawn. It is the only one that shows it.
fn secrets(drawn: &[Change]) -> String {
    let line = |change: &Change| {
        let secret = change.drawn_secret.as_ref().map_or("", SecretText::expose);
        let what = describe(&change.record);
        format!("{what}  secret (shown this once): {secret}\n")
    };
    drawn.iter().map(line).collect()
}

/// A line for each change, with the signing secrets that were drawn.
pub fn summary(changes: &[Change], mode: ApplyMode) -> String {
    let mut text = String::new();
    for change in changes {
        let verb = match (change.verb, mode) {
            (Verb::Create, ApplyMode::Commit) => "created",
            (Verb::Create, ApplyMode::DryRun) => "would create",
            (Verb::Remove, ApplyMode::Commit) => "removed",
            (Verb::Remove, ApplyMode::DryRun) => "would remove",
            (Verb::Update, ApplyMode::Commit) => "updated",
            (Verb::Update, ApplyMode::DryRun) => "would update",
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{verb} {}", describe(&change.record));
        if let Some(secret) = &change.drawn_secret
            && mode == ApplyMode::Commit
        {
            let _ = write!(text, "  secret: {}", secret.expose());
        }
        text.push('\n');
    }
    let count = |verb| changes.iter().filter(|change| change.verb == verb).count();
    let (created, updated) = (count(Verb::Create), count(Verb::Update));
    let removed = count(Verb::Remove);
    let suffix = if mode == ApplyMode::DryRun {
        " (dry run: nothing was changed)"
    } else {
        ""
    };
    let _ = writeln!(
        text,
        "{created} created, {updated} updated, {removed} removed{suffix}"
    );
    text
}

fn describe(record: &Record) -> String {
    match record {
        Record::ApiKey(row) => format!("API key {:?} ({})", row.name, row.id),
        Record::Application(row) => format!("application {:?} ({})", row.name, row.id),
        // Its whole URL is a secret.
        Record::Endpoint(row) if row.kind == EndpointKind::Slack => {
            format!("endpoint {} -> Slack", row.id)
        }
        Record::Endpoint(row) => {
            // A query may hold a token.
            let url = row.url.split('?').next().unwrap_or_default();
            format!("endpoint {} -> {url}", row.id)
        }
        Record::Environment(row) => format!("environment {:?} ({})", row.slug, row.id),
        Record::EventType(row) => format!("event type {:?} ({})", row.name.as_str(), row.id),
        Record::ManagementToken(row) => format!("management token {:?} ({})", row.name, row.id),
        Record::Pattern(row) => format!("subscription of {} to {}", row.endpoint, row.pattern),
        Record::PortalSession(row) => format!("portal session of {}", row.application),
        Record::Publication(row) => {
            format!("publication of {} in {}", row.event_type, row.environment)
        }
        Record::Subscription(row) => {
            format!("subscription of {} to {}", row.endpoint, row.event_type)
        }
        Record::Workspace(row) => format!("workspace {:?} ({})", row.name, row.id),
    }
}
