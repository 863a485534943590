//! `nahook tokens`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nahook_control::{Actor, KeyState, ManagementError, ManagementTokenSpec, WorkspaceSpec};
use nahook_core::id::ManagementTokenId;

use crate::settings::SettingsArgs;
use crate::workspaces::{chosen, only};
use crate::{ServerError, drawn, output};
use nahook_embed::Backend;

/// Arguments of `nahook tokens`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct TokensArgs {
    /// Command for tokens.
    #[command(subcommand)]
    pub command: TokensCommand,
    /// Location of the store.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Commands for tokens.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum TokensCommand {
    /// Make a management token and print it, this once.
    Create {
        /// A name for people, unique in the workspace.
        name: String,
        /// The workspace's id or name; not needed if there is only one.
        #[arg(long)]
        workspace: Option<String>,
        /// Let it read only, and show it no secret.
        #[arg(long)]
        read_only: bool,
    },
    /// List the management tokens, without their secrets.
    List {
        /// The workspace's id or name; all workspaces if absent.
        #[arg(long)]
        workspace: Option<String>,
    },
    /// Switch a token off until it is enabled again.
    Disable {
        /// The token's id, as `list` shows it.
        id: String,
    },
    /// Switch a token on again.
    Enable {
        /// The token's id, as `list` shows it.
        id: String,
    },
    /// End a token for good.
    Revoke {
        /// The token's id, as `list` shows it.
        id: String,
    },
}

/// Does it.
pub async fn run(args: TokensArgs) -> Result<ExitCode, ServerError> {
    let settings = args.settings.resolve()?;
    let backend = Backend::open_existing(&settings.store, settings.secret_keys).await?;
    let done = dispatch(&backend, args.command).await;
    let shown = done.and_then(|text| output::print(&text));
    backend.close().await?;
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// Does it, and returns what else there is to print.
async fn dispatch(backend: &Backend, command: TokensCommand) -> Result<String, ServerError> {
    match command {
        TokensCommand::Create {
            name,
            workspace,
            read_only,
        } => {
            create(backend, workspace.as_deref(), name, read_only).await?;
            Ok(String::new())
        }
        TokensCommand::List { workspace } => list(backend, workspace.as_deref()).await,
        TokensCommand::Disable { id } => set_state(backend, &id, KeyState::Disabled).await,
        TokensCommand::Enable { id } => set_state(backend, &id, KeyState::Active).await,
        TokensCommand::Revoke { id } => set_state(backend, &id, KeyState::Revoked).await,
    }
}

async fn create(
    backend: &Backend,
    workspace: Option<&str>,
    name: String,
    read_only: bool,
) -> Result<(), ServerError> {
    let workspace = only(backend, workspace).await?;
    let tokens = backend
        .management()
        .management_tokens(&workspace.id)
        .await?;
    if tokens.iter().any(|row| row.name == name) {
        return Err(ServerError::Usage("a token of that name exists".to_owned()));
    }
    let token = ManagementTokenSpec {
        name,
        read_only: Some(read_only),
        ..ManagementTokenSpec::default()
    };
    let spec = WorkspaceSpec {
        id: Some(workspace.id),
        name: workspace.name,
        management_tokens: vec![token],
        ..WorkspaceSpec::default()
    };
    drawn::make(backend, spec).await
}

async fn list(backend: &Backend, workspace: Option<&str>) -> Result<String, ServerError> {
    let mut text = String::new();
    for workspace in chosen(backend, workspace).await? {
        for token in backend
            .management()
            .management_tokens(&workspace.id)
            .await?
        {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}  {:8}  {}  {}  {}",
                token.id,
                token.state.as_str(),
                if token.is_read_only { "reads" } else { "all  " },
                workspace.id,
                token.name
            );
        }
    }
    Ok(text)
}

async fn set_state(backend: &Backend, id: &str, state: KeyState) -> Result<String, ServerError> {
    let id = ManagementTokenId::new(id).map_err(|error| ServerError::Usage(error.to_string()))?;
    let (management, actor) = (backend.management(), Actor::operator());
    for workspace in chosen(backend, None).await? {
        let set = management.set_management_token_state(&workspace.id, &actor, id, state);
        match set.await {
            // It is another workspace's, or nobody's.
            Err(ManagementError::NotFound(_)) => {}
            set => return Ok(set.map(|_| String::new())?),
        }
    }
    Err(ManagementError::NotFound("management token").into())
}
