//! `nahook keys`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nahook_control::{Actor, ApiKeySpec, KeyState, ManagementError, MasterKeys, WorkspaceSpec};
use nahook_core::id::{ApiKeyId, EndpointId};

use crate::settings::SettingsArgs;
use crate::workspaces::{chosen, only};
use crate::{ServerError, drawn, output};
use nahook_embed::Backend;

/// Arguments of `nahook keys`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct KeysArgs {
    /// Command for keys.
    #[command(subcommand)]
    pub command: KeysCommand,
    /// Location of the store.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Commands for keys.
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
    /// Seal the store's secrets with the first of the given --secret-key-file from now on. Servers may go on serving.
    RotateMaster,
}

/// Does it.
pub async fn run(args: KeysArgs) -> Result<ExitCode, ServerError> {
    let settings = args.settings.resolve()?;
    let secret_keys = settings.secret_keys.clone();
    let backend = Backend::open_existing(&settings.store, secret_keys).await?;
    let done = dispatch(&backend, args.command, settings.secret_keys.as_ref()).await;
    let shown = done.and_then(|text| output::print(&text));
    backend.close().await?;
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// Does it, and returns what else there is to print.
async fn dispatch(
    backend: &Backend,
    command: KeysCommand,
    secret_keys: Option<&MasterKeys>,
) -> Result<String, ServerError> {
    match command {
        KeysCommand::Create {
            name,
            workspace,
            environment,
            endpoint,
        } => {
            let endpoint = endpoint.map(|id| EndpointId::new(&id)).transpose();
            let endpoint = endpoint.map_err(|error| ServerError::Usage(error.to_string()))?;
            let workspace = workspace.as_deref();
            create(backend, workspace, name, environment.as_deref(), endpoint).await?;
            Ok(String::new())
        }
        KeysCommand::List { workspace } => list(backend, workspace.as_deref()).await,
        KeysCommand::Disable { id } => set_state(backend, &id, KeyState::Disabled).await,
        KeysCommand::Enable { id } => set_state(backend, &id, KeyState::Active).await,
        KeysCommand::Revoke { id } => set_state(backend, &id, KeyState::Revoked).await,
        KeysCommand::RotateMaster => rotate_master(backend, secret_keys).await,
    }
}

/// Wraps the store's own key with the first of the operator's.
async fn rotate_master(
    backend: &Backend,
    keys: Option<&MasterKeys>,
) -> Result<String, ServerError> {
    let Some(keys) = keys else {
        let reason = "the new key and the one before it: give --secret-key-file";
        return Err(ServerError::Usage(reason.to_owned()));
    };
    let fingerprint = keys.fingerprint();
    Ok(if backend.rotate_master_key(keys).await? {
        format!("sealed with {fingerprint} from now on\n")
    } else {
        format!("already sealed with {fingerprint}\n")
    })
}

async fn create(
    backend: &Backend,
    workspace: Option<&str>,
    name: String,
    slug: Option<&str>,
    endpoint: Option<EndpointId>,
) -> Result<(), ServerError> {
    let workspace = only(backend, workspace).await?;
    let management = backend.management();
    if let Some(slug) = slug {
        let environments = management.environments(&workspace.id).await?;
        if !environments.iter().any(|row| row.slug == slug) {
            return Err(ServerError::Usage(format!(
                "there is no environment {slug:?}"
            )));
        }
    }
    let keys = management.api_keys(&workspace.id).await?;
    if keys.iter().any(|row| row.name == name) {
        return Err(ServerError::Usage("a key of that name exists".to_owned()));
    }
    let key = ApiKeySpec {
        name,
        environment: slug.map(str::to_owned),
        endpoint,
        ..ApiKeySpec::default()
    };
    let spec = WorkspaceSpec {
        id: Some(workspace.id),
        name: workspace.name,
        api_keys: vec![key],
        ..WorkspaceSpec::default()
    };
    drawn::make(backend, spec).await
}

async fn list(backend: &Backend, workspace: Option<&str>) -> Result<String, ServerError> {
    let mut text = String::new();
    for workspace in chosen(backend, workspace).await? {
        for key in backend.management().api_keys(&workspace.id).await? {
            let reach = match (key.environment, key.endpoint) {
                (_, Some(endpoint)) => endpoint.to_string(),
                (Some(environment), None) => environment.to_string(),
                (None, None) => "workspace".to_owned(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}  {:8}  {}  {reach}  {}",
                key.id,
                key.state.as_str(),
                workspace.id,
                key.name
            );
        }
    }
    Ok(text)
}

async fn set_state(backend: &Backend, id: &str, state: KeyState) -> Result<String, ServerError> {
    let id = ApiKeyId::new(id).map_err(|error| ServerError::Usage(error.to_string()))?;
    let management = backend.management();
    for workspace in chosen(backend, None).await? {
        let actor = Actor::operator();
        let set = management.set_api_key_state(&workspace.id, &actor, id, state);
        match set.await {
            // It is another workspace's, or nobody's.
            Err(ManagementError::NotFound(_)) => {}
            set => return Ok(set.map(|_| String::new())?),
        }
    }
    Err(ManagementError::NotFound("API key").into())
}
