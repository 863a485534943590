//! `nahook keys`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nahook_core::{
    ApiKeyId, ApiKeySpec, ApplyMode, Catalog as _, EndpointId, KeyState, Manifest, Record,
    WorkspaceRecord, WorkspaceSpec,
};

use crate::ServerError;
use crate::backend::Backend;
use crate::settings::SettingsArgs;

/// What `nahook keys` is told.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
    /// Where the store is.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum KeysCommand {
    /// Make an ingestion key and print it, this once.
    Create {
        /// A name for people, unique in the workspace.
        name: String,
        /// The workspace's id or name; not needed if there is only one.
        #[arg(long)]
        workspace: Option<String>,
        /// The slug of the only environment the key shall reach.
        #[arg(long, value_name = "SLUG")]
        environment: Option<String>,
        /// The id of the only endpoint the key may send to.
        #[arg(long, value_name = "ID")]
        endpoint: Option<String>,
    },
    /// List the ingestion keys, without their secrets.
    List {
        /// The workspace's id or name; all workspaces if absent.
        #[arg(long)]
        workspace: Option<String>,
    },
    /// Switch a key off until it is enabled again.
    Disable {
        /// The key's id, as `list` shows it.
        id: String,
    },
    /// Switch a key on again.
    Enable {
        /// The key's id, as `list` shows it.
        id: String,
    },
    /// End a key for good.
    Revoke {
        /// The key's id, as `list` shows it.
        id: String,
    },
}

/// Does it.
pub async fn run(args: KeysArgs) -> Result<ExitCode, ServerError> {
    let backend = Backend::open_existing(&args.settings.resolve()?.store).await?;
    let done = dispatch(&backend, args.command).await;
    let shown = done.map(|text| print!("{text}"));
    // Shown first: a key that was drawn must not be lost to an error in closing.
    backend.close().await?;
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// Does it and answers what to print.
async fn dispatch(backend: &Backend, command: KeysCommand) -> Result<String, ServerError> {
    match command {
        KeysCommand::Create {
            name,
            workspace,
            environment,
            endpoint,
        } => {
            let endpoint = endpoint.map(|id| EndpointId::new(&id)).transpose();
            let endpoint = endpoint.map_err(|error| usage(error.to_string()))?;
            let spec = ApiKeySpec {
                name,
                environment,
                endpoint,
                ..ApiKeySpec::default()
            };
            create(backend, workspace.as_deref(), spec).await
        }
        KeysCommand::List { workspace } => list(backend, workspace.as_deref()).await,
        KeysCommand::Disable { id } => set_state(backend, &id, KeyState::Disabled).await,
        KeysCommand::Enable { id } => set_state(backend, &id, KeyState::Active).await,
        KeysCommand::Revoke { id } => set_state(backend, &id, KeyState::Revoked).await,
    }
}

async fn create(
    backend: &Backend,
    workspace: Option<&str>,
    spec: ApiKeySpec,
) -> Result<String, ServerError> {
    let workspaces = chosen(backend, workspace).await?;
    let [workspace] = workspaces.as_slice() else {
        return Err(usage(
            "there are several workspaces: choose one with --workspace".to_owned(),
        ));
    };
    let name = spec.name.clone();
    let manifest = Manifest {
        workspaces: vec![WorkspaceSpec {
            id: Some(workspace.id),
            name: workspace.name.clone(),
            api_keys: vec![spec],
            ..WorkspaceSpec::default()
        }],
    };
    let changes = backend.catalog.apply(&manifest, ApplyMode::Commit).await?;
    for change in changes {
        if let (Record::ApiKey(row), Some(secret)) = (change.record, change.drawn_secret) {
            return Ok(format!("{}  {}\n", row.id, secret.expose()));
        }
    }
    Err(usage(format!("there is a key {name:?} already")))
}

async fn list(backend: &Backend, workspace: Option<&str>) -> Result<String, ServerError> {
    let mut text = String::new();
    for workspace in chosen(backend, workspace).await? {
        for key in backend.catalog.api_keys(&workspace.id).await? {
            let state = match key.state {
                KeyState::Active => "active",
                KeyState::Disabled => "disabled",
                KeyState::Revoked => "revoked",
            };
            let reach = match (key.environment, key.endpoint) {
                (_, Some(endpoint)) => endpoint.to_string(),
                (Some(environment), None) => environment.to_string(),
                (None, None) => "workspace".to_owned(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}  {state:8}  {}  {reach}  {}",
                key.id, workspace.id, key.name
            );
        }
    }
    Ok(text)
}

async fn set_state(backend: &Backend, id: &str, state: KeyState) -> Result<String, ServerError> {
    let id = ApiKeyId::new(id).map_err(|error| usage(error.to_string()))?;
    backend.catalog.set_api_key_state(&id, state).await?;
    Ok(String::new())
}

/// The workspace with that id or name, or all of them.
async fn chosen(
    backend: &Backend,
    workspace: Option<&str>,
) -> Result<Vec<WorkspaceRecord>, ServerError> {
    let mut workspaces = backend.catalog.workspaces().await?;
    if let Some(wanted) = workspace {
        workspaces.retain(|row| row.id.as_str() == wanted || row.name == wanted);
    }
    if workspaces.is_empty() {
        return Err(usage("there is no such workspace".to_owned()));
    }
    Ok(workspaces)
}

fn usage(reason: String) -> ServerError {
    ServerError::Usage(reason)
}
